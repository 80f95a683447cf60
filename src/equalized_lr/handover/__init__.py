"""What becomes of an optimizer whose parameters are rescaled: {Parameter: scale} and a direction.

This wing knows no modules: who asks says which Parameters are rescaled, and by how much.
"""
