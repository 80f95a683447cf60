"""Weights that several layers share."""

import torch
from torch import nn

from tests.support.mechanisms import EQUALIZED, close, common_hook

TOKENS = torch.arange(6).reshape(2, 3)


class LanguageModel(nn.Module):
    """An embedding whose weight is the output layer's, too."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.tie()

    def tie(self):
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(torch.tanh(self.mix(self.embed(tokens))))


@common_hook("silent")
def test_tied_weights_stay_tied(mechanism):
    """One Parameter before, one after, and both ends move in each step."""
    model, plain = mechanism.twins(LanguageModel())
    mechanism.assert_alike(model, plain, TOKENS)
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    mechanism.assert_alike(model, plain, TOKENS)
    close(model.embed.weight, model.head.weight)


def test_tying_again():
    """`tie_weights()` after equalizing leaves the tie as it is."""
    model, plain = EQUALIZED.twins(LanguageModel())
    model.tie()
    EQUALIZED.assert_alike(model, plain, TOKENS)
    assert model.head.weight_orig is model.embed.weight_orig
    EQUALIZED.assert_alike(model, plain, TOKENS)


def test_a_tie_is_given_back_once():
    """Removal scales the shared Parameter once, and leaves it shared."""
    model, plain = EQUALIZED.twins(LanguageModel())
    EQUALIZED.unwrap(model)
    assert model.head.weight is model.embed.weight
    EQUALIZED.assert_alike(model, plain, TOKENS)
