"""Recurrent layers, which keep lists of their weights."""

import copy
import io

import torch
from torch import nn

from tests.support.mechanisms import close, common_hook, x

SEQUENCE = x(5, 2, 6)


class Loop(nn.Module):
    """A cell called once per time step."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(6, 4)

    def forward(self, sequence):
        state = sequence.new_zeros(sequence.shape[1], 4)
        for inputs in sequence:
            state = self.cell(inputs, state)
        return state


@common_hook("holds")
def test_an_lstm_trains(mechanism):
    """Three steps of two layers."""
    model, plain = mechanism.twins(nn.LSTM(6, 4, num_layers=2))
    for _ in range(3):
        mechanism.assert_alike(model, plain, SEQUENCE)


@common_hook("error")
def test_deepcopy_after_a_forward(mechanism):
    """The list of weights does not keep a copy from being made, nor does the copy share it."""
    model, plain = mechanism.twins(nn.LSTM(6, 4))
    mechanism.assert_alike(model, plain, SEQUENCE)
    twin, plain_twin = copy.deepcopy(model), copy.deepcopy(plain)
    mechanism.assert_alike(twin, plain_twin, SEQUENCE)
    close(first_weight(twin), plain_twin.weight_hh_l0)
    close(first_weight(model), plain.weight_hh_l0)


def first_weight(lstm):
    lstm(SEQUENCE)
    return lstm.weight_hh_l0


@common_hook("holds")
def test_saved_and_loaded_twice(mechanism):
    """Saved as a whole, loaded, saved and loaded again, a layer trains on."""
    model, plain = mechanism.twins(nn.LSTM(6, 4))
    for _ in range(2):
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        model = torch.load(file, weights_only=False)
    for _ in range(2):
        mechanism.assert_alike(model, plain, SEQUENCE)


@common_hook("holds")
def test_flatten_parameters(mechanism):
    """A bidirectional GRU may be told to flatten its weights at any time."""
    model, plain = mechanism.twins(nn.GRU(6, 4, bidirectional=True))
    for _ in range(2):
        model.flatten_parameters()
        mechanism.assert_alike(model, plain, SEQUENCE)


@common_hook("holds")
def test_a_cell_in_a_loop(mechanism):
    """The gradients of all time steps arrive."""
    model, plain = mechanism.twins(Loop())
    for _ in range(2):
        mechanism.assert_alike(model, plain, SEQUENCE)
