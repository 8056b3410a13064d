"""Leaky integration from outside: near the identity at each step, with the layer's own weights."""

import math

import pytest
import torch
from torch import nn

import longreach
from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent, cells
from longreach.remedies import leaky_integration, undo


@pytest.mark.parametrize("kind", [nn.RNN, longreach.nn.RNN])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_it_is_the_formula_and_undo_is_exact(kind, nonlinearity):
    layer = kind(2, 5, nonlinearity=nonlinearity, bias=nonlinearity == "relu").double()
    x = torch.randn(9, 3, 2).double().requires_grad_()
    plain = layer(x)[0]
    step = nn.RNNCell(2, 5, nonlinearity=nonlinearity, bias=nonlinearity == "relu").double()
    step.load_state_dict({name.removesuffix("_l0"): own for name, own in layer.state_dict().items()})
    h, truth = torch.zeros(3, 5).double(), []
    for row in x:
        h = 0.7 * h + 0.3 * step(row, h)
        truth.append(h)
    leaky_integration(leaky_integration(layer, a=0.3), a=0.9)
    found = layer(x)[0]
    torch.testing.assert_close(found, torch.stack(truth))
    gradients = [torch.autograd.grad(y.sin().sum(), x)[0] for y in (found, torch.stack(truth))]
    torch.testing.assert_close(*gradients)
    undo(layer)
    assert torch.equal(layer(x)[0], plain)


@pytest.mark.parametrize("layer", [nn.RNN(2, 32), Recurrent(cells.Elman, 2, 32)])
def test_the_length_of_the_first_sequences_decides_and_all_of_them_is_reached(layer):
    x = torch.rand(100, 4, 2)

    def reach():
        return longreach.measure(layer, (x, None), lambda out, _: out[0][-1].sum()).layers[0].reach

    assert reach().lag < 15
    leaky_integration(layer)
    after = reach()
    assert layer.inner.cells[0].a == 0.02
    assert after.lag == 99
    assert after.growth > math.log(0.98) - 0.01


def test_single_steps_take_a_hundred_for_their_horizon():
    cell = leaky_integration(nn.RNNCell(2, 5))
    assert cell.inner.a == 0.02
    cell(torch.randn(3, 2), torch.randn(3, 5))


def test_what_it_cannot_do():
    with pytest.raises(NotApplicable, match="leaky-integration: expected an RNN of torch or longreach"):
        leaky_integration(nn.GRU(2, 3))
    with pytest.raises(ArgumentError, match="a: expected 0 < a <= 1, got 0"):
        leaky_integration(nn.RNN(2, 3), a=0)
