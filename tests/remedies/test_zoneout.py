"""Zoneout around a script's own layers: the weights stay, a share of every gradient passes untouched."""

import pytest
import torch
from torch import nn

import longreach
from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent, cells
from longreach.remedies import undo, zoneout

T, B, F, H = 9, 3, 2, 5
LAYERS = [
    nn.RNN(F, H, bias=False),
    nn.GRU(F, H, 2, bidirectional=True),
    nn.LSTM(F, H),
    nn.LSTMCell(F, H),
    nn.RNNCell(F, H, nonlinearity="relu"),
]


def through(layer, x, *, whole):
    """h of every step."""
    if whole:
        return layer(x)[0]
    state, found = None, []
    for row in x:
        state = layer(row, state)
        found.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(found)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_at_rate_0_it_is_the_layer_itself_and_undo_is_exact(layer):
    layer, whole, x = layer.double(), isinstance(layer, nn.RNNBase), torch.randn(T, B, F).double()
    truth = through(layer, x, whole=whole)
    (gradient,) = torch.autograd.grad(through(layer, x.requires_grad_(), whole=whole).sin().sum(), x)
    zoneout(layer, rate=0.0)
    found = through(layer, x, whole=whole)
    torch.testing.assert_close(found, truth)
    torch.testing.assert_close(torch.autograd.grad(found.sin().sum(), x)[0], gradient)
    undo(layer)
    assert torch.equal(through(layer, x, whole=whole), truth)


def test_units_keep_their_old_value_with_the_rate_and_its_mean_in_evaluation():
    layer = nn.RNN(1, 2000).double()
    truth = nn.RNN(1, 2000).double()
    truth.load_state_dict(layer.state_dict())
    zoneout(layer, rate=0.3)
    x = torch.ones(1, 1, 1).double()
    h = layer(x)[0][0, 0]
    assert (h == 0).double().mean().item() == pytest.approx(0.3, abs=0.04)
    torch.testing.assert_close(h[h != 0], truth(x)[0][0, 0][h != 0])
    torch.testing.assert_close(layer.eval()(x)[0], 0.7 * truth(x)[0])


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_reach_grows(kind):
    layer, x = kind(2, 32), torch.randn(80, 4, 2)

    def lag():
        return longreach.measure(layer, (x, None), lambda out, _: out[0][-1].sum()).layers[0].reach.lag

    before = lag()
    zoneout(layer, rate=0.8)
    assert lag() > 2 * before


def test_twice_is_once_also_for_the_cells_of_a_network():
    network = Recurrent(cells.GRU, 2, 3)
    before = network.cells[0]
    zoneout(zoneout(network), rate=0.5)
    assert network.cells[0].rates == (0.1,)
    assert not isinstance(network.cells[0].inner, cells.Zoneout)
    undo(network)
    assert network.cells[0] is before


def test_what_it_cannot_do():
    with pytest.raises(NotApplicable, match="zoneout: expected an RNN, GRU or LSTM, its cell, or a model"):
        zoneout(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="rate: expected a share between 0 and 1, got 2"):
        zoneout(nn.RNN(2, 2), rate=2)
