"""Checkpoints of other code bases: into plain effective weights, and back.

>>> stored = {"linear.linear.weight_orig": torch.ones(1, 2), "linear.linear.bias": torch.ones(1)}
>>> to_plain(stored, "rosinality-stylegan")["linear.linear.weight"]  # sqrt(2) / sqrt(2)
tensor([[1., 1.]])
"""

from equalized_lr.checkpoint.convert import explain, families, from_plain, guess, to_plain

__all__ = ["explain", "families", "from_plain", "guess", "to_plain"]
