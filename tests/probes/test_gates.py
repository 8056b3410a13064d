"""Slopes inside fused layers against a loop that writes the equations down."""

import pytest
import torch
from torch import nn

from longreach.probes import gates
from longreach.probes.fused import FusedCall


def found(layer, inputs, lengths=None):
    lengths = torch.full((inputs.shape[1],), len(inputs)) if lengths is None else lengths
    call = FusedCall(layer, inputs, lengths, None, None, ())
    return {kind: (slope, shut) for kind, slope, shut in gates.slopes(call, torch.Generator())}


def lstm(layer, inputs):
    h = c = torch.zeros(inputs.shape[1], layer.hidden_size).double()
    slopes, writes, reads = [], [], []
    for x in inputs:
        z = x @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
        i, f, g, o = z.chunk(4, dim=1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        slopes.append((4 * i * (1 - i) + 4 * o * (1 - o) + 1 - g**2) / 3)
        writes.append(i)
        reads.append(o)
    return torch.stack(slopes), torch.stack(writes), torch.stack(reads)


def gru(layer, inputs):
    h = torch.zeros(inputs.shape[1], layer.hidden_size).double()
    slopes, updates = [], []
    for x in inputs:
        a = (x @ layer.weight_ih_l0.T + layer.bias_ih_l0).chunk(3, dim=1)
        b = (h @ layer.weight_hh_l0.T + layer.bias_hh_l0).chunk(3, dim=1)
        r, z = (a[0] + b[0]).sigmoid(), (a[1] + b[1]).sigmoid()
        n = (a[2] + r * b[2]).tanh()
        h = (1 - z) * n + z * h
        slopes.append((4 * r * (1 - r) + 1 - n**2) / 2)
        updates.append(1 - z)
    return torch.stack(slopes), torch.stack(updates)


def test_lstm_gates_are_those_of_the_equations():
    layer, inputs = nn.LSTM(3, 5).double(), 3 * torch.randn(7, 4, 3).double()
    slopes, *_ = lstm(layer, inputs)
    (slope, shut) = found(layer, inputs)["LSTM"]
    torch.testing.assert_close(slope, slopes.flatten(0, 1))
    assert not shut.any()


def test_gru_gates_are_those_of_the_equations():
    layer, inputs = nn.GRU(3, 5).double(), 3 * torch.randn(7, 4, 3).double()
    slopes, _ = gru(layer, inputs)
    torch.testing.assert_close(found(layer, inputs)["GRU"][0], slopes.flatten(0, 1))


def test_a_tanh_layer_and_its_reverse():
    layer, inputs = nn.RNN(3, 5, bidirectional=True).double(), torch.randn(7, 4, 3).double()
    output = layer(inputs)[0].detach()
    kinds = found(layer, inputs)
    assert set(kinds) == {"RNN tanh", "RNN tanh, reverse"}
    torch.testing.assert_close(kinds["RNN tanh"][0], (1 - output[..., :5] ** 2).flatten(0, 1))
    in_own_time = output[..., 5:].flip(0)
    torch.testing.assert_close(kinds["RNN tanh, reverse"][0], (1 - in_own_time**2).flatten(0, 1))


def test_padding_is_no_input():
    layer, inputs = nn.RNN(3, 5).double(), torch.randn(7, 2, 3).double()
    slope, _ = found(layer, inputs, torch.tensor([7, 2]))["RNN tanh"]
    assert len(slope) == 9


@pytest.mark.parametrize(
    ("kind", "where", "shut"),
    [
        (nn.LSTM, slice(0, 5), True),  # input gates
        (nn.LSTM, slice(5, 10), False),  # forget gates: closed, the unit is one without memory
        (nn.LSTM, slice(15, 20), True),  # output gates
        (nn.GRU, slice(0, 5), False),  # reset gates
    ],
)
def test_gates_that_never_open(kind, where, shut):
    layer = kind(3, 5).double()
    layer.bias_ih_l0.data[where] = -100.0
    (_, flags), *_ = found(layer, torch.randn(7, 4, 3).double()).values()
    assert flags.tolist() == [shut] * 5


def test_an_update_gate_that_always_keeps_is_shut_and_an_open_forget_gate_is_not():
    layer = nn.GRU(3, 5).double()
    layer.bias_ih_l0.data[5:10] = 100.0
    assert found(layer, torch.randn(7, 4, 3).double())["GRU"][1].all()
    layer = nn.LSTM(3, 5).double()
    layer.bias_ih_l0.data[5:10] = 100.0
    assert not found(layer, torch.randn(7, 4, 3).double())["LSTM"][1].any()


def test_dead_units_of_a_relu_layer():
    layer = nn.RNN(3, 5, nonlinearity="relu").double()
    layer.bias_ih_l0.data[2] = -100.0
    slope, shut = found(layer, torch.randn(7, 4, 3).double())["RNN relu"]
    assert shut.tolist() == [False, False, True, False, False]
    assert (slope == 1).all()  # it dies, and does not saturate


def test_layers_of_a_stack_are_told_apart():
    assert set(found(nn.LSTM(3, 4, num_layers=2), torch.randn(5, 2, 3))) == {"LSTM, layer 0", "LSTM, layer 1"}
