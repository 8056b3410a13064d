"""A linear recurrence where any recurrent layer stood: it keeps what it promises, and learns over a hundred steps."""

import pytest
import torch
from torch import nn

import longreach
from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent
from longreach.remedies import linear_recurrent, undo
from longreach.remedies.linear_recurrent import BetweenActivations

T, B, F, H = 9, 3, 2, 5
LAYERS = [nn.RNN(F, H, 2), nn.GRU(F, H), nn.LSTM(F, H, bidirectional=True), nn.LSTMCell(F, H)]


def naive(cell, x):
    """The equations of the docstring, step by step."""
    rate, gamma = torch.exp(-torch.exp(cell.nu)) * torch.exp(1j * torch.exp(cell.theta)), torch.exp(cell.gamma)
    into, out = torch.complex(*cell.B), torch.complex(*cell.C)
    h, found = torch.zeros(x.shape[1], cell.hidden_size, dtype=torch.complex128), []
    for row in x:
        u = torch.relu(row @ cell.weight.T + cell.bias)
        h = rate * h + gamma * (u.to(h.dtype) @ into.T)
        found.append(torch.tanh((h @ out.T).real + cell.bias_shown))
    return torch.stack(found)


def test_it_is_the_equations_values_and_gradients():
    layer, x = linear_recurrent(nn.RNN(F, H).double()), torch.randn(T, B, F).double()
    (cell,) = layer.inner.cells
    with torch.no_grad():
        for own in (cell.bias, cell.bias_shown):
            own.normal_()
    found, truth = layer(x)[0], naive(cell, x)
    torch.testing.assert_close(found, truth)
    gradients = [torch.autograd.grad(y.sin().sum(), list(cell.parameters())) for y in (found, truth)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_gradient_comes_back_over_hundreds_of_steps_and_never_blows_up(kind):
    layer, x = kind(2, 64), torch.rand(400, 4, 2)

    def reach():
        return longreach.measure(layer, (x, None), lambda out, _: out[0][-1].sum()).layers[0].reach

    assert reach().lag < 15
    linear_recurrent(layer)
    optimizer = torch.optim.SGD(layer.parameters(), 10.0)  # far too long a step
    for _ in range(3):
        after = reach()
        assert after.lag == 399
        assert max(after.log_gain) < 0.5
        optimizer.zero_grad()
        layer(x)[0].square().mean().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
        optimizer.step()
        assert (layer.inner.cells[0].factors().abs() < 1).all()


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_twice_is_once_and_undo_is_exact(layer):
    before, kind = {name: own.clone() for name, own in layer.state_dict().items()}, type(layer)
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    linear_recurrent(layer)
    assert torch.equal(torch.rand(2), expected)
    inner = layer.inner
    linear_recurrent(layer)
    assert layer.inner is inner
    undo(layer)
    assert type(layer) is kind
    assert all(torch.equal(own, before[name]) for name, own in layer.state_dict().items())


def test_the_ring_is_where_it_is_asked_for():
    layer = linear_recurrent(nn.RNN(F, 400), r_min=0.5, r_max=0.6)
    cell = layer.inner.cells[0]
    assert isinstance(layer.inner, Recurrent)
    assert isinstance(cell, BetweenActivations)
    rate = cell.factors().abs()
    assert rate.min() >= 0.5 - 1e-6
    assert rate.max() <= 0.6 + 1e-6
    angle = torch.exp(cell.theta.detach())
    assert angle[:200].max() < 0.1 * torch.pi < torch.pi < angle[200:].max() < 2 * torch.pi


def test_what_it_cannot_do():
    with pytest.raises(NotApplicable, match="linear-recurrent: expected an RNN or GRU or LSTM of torch or longreach"):
        linear_recurrent(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match=r"r_min, r_max: expected 0 <= r_min < r_max <= 1, got 1\.0 and 0\.9"):
        linear_recurrent(nn.RNN(2, 2), r_min=1.0, r_max=0.9)


def test_adding_over_a_hundred_steps_is_learned():
    """What an RNN does not learn (0.1667 is the loss of the mean): the sum of two marked numbers of a hundred."""
    torch.manual_seed(0)
    rnn, head = linear_recurrent(nn.RNN(2, 64)), nn.Linear(64, 1)
    optimizer, losses = torch.optim.Adam([*rnn.parameters(), *head.parameters()], 2e-3), []
    for _ in range(600):
        values, marks, rows = torch.rand(100, 64), torch.zeros(100, 64), torch.arange(64)
        marks[torch.randint(50, (64,)), rows] = 1
        marks[50 + torch.randint(50, (64,)), rows] = 1
        found = head(rnn(torch.stack([values, marks], 2))[0][-1])[:, 0]
        loss = (found - (values * marks).sum(0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-60:]) / 60 < 0.03
