"""What a step sends back to the one before it, never longer than a norm."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import longreach.nn as ours
from longreach import remedies
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.clip_state_gradient import clip_state_gradient

T, B, INPUTS, HIDDEN = 30, 3, 2, 4
LAYERS = {
    "rnn": lambda: nn.RNN(INPUTS, HIDDEN),
    "lstm": lambda: nn.LSTM(INPUTS, HIDDEN),
    "ours": lambda: ours.GRU(INPUTS, HIDDEN),
    "recurrent": lambda: ours.Recurrent(ours.cells.Elman, INPUTS, HIDDEN),
}
CELLS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}


def exploding(module):
    """With recurrent weights five times too large."""
    with torch.no_grad():
        for name, own in module.named_parameters():
            own.mul_(5.0 if "hh" in name and "weight" in name else 0.3)
    return module.double()


def naive(x, weights, largest):
    """A tanh network and its gradients by hand: ∂L/∂hₜ from step t + 1 is cut to `largest` for each sequence."""
    w_ih, w_hh, b_ih, b_hh = (own.detach() for own in weights)
    states = [torch.zeros(B, HIDDEN, dtype=torch.float64)]
    for row in x:
        states.append(torch.tanh(row @ w_ih.T + b_ih + states[-1] @ w_hh.T + b_hh))
    sent, longest = torch.zeros_like(states[0]), 0.0
    gradients = [torch.zeros_like(own) for own in (w_ih, w_hh, b_ih)]
    for t in reversed(range(T)):
        error = (torch.ones_like(sent) if t == T - 1 else 0.0) + sent
        net = error * (1 - states[t + 1] ** 2)
        for place, part in enumerate((net.T @ x[t], net.T @ states[t], net.sum(0))):
            gradients[place] += part
        sent = net @ w_hh
        norms = sent.norm(dim=1, keepdim=True)
        longest = max(longest, norms.max().item())
        sent = sent * (largest / norms).clamp(max=1.0)
    return gradients, longest


@pytest.mark.parametrize("through", ["layer", "cell"])
def test_the_gradient_is_that_of_the_naive_loop(through):
    layer = exploding(nn.RNN(INPUTS, HIDDEN))
    x = torch.randn(T, B, INPUTS, dtype=torch.float64)
    weights = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]
    wanted, longest = naive(x, weights, 0.1)
    assert longest > 0.2  # it does bind
    if through == "layer":
        clip_state_gradient(layer, max_norm=0.1)(x)[0][-1].sum().backward()
    else:
        cell = nn.RNNCell(INPUTS, HIDDEN).double()
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
        clip_state_gradient(cell, max_norm=0.1)
        h = torch.zeros(B, HIDDEN, dtype=torch.float64)
        for place, row in enumerate(x):
            h = cell(row, h) if place % 2 else cell(row, hx=h)
        h.sum().backward()
        weights = [cell.weight_ih, cell.weight_hh, cell.bias_ih]
    for own, theirs in zip(weights, wanted, strict=False):
        assert_close(own.grad, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_keep_their_values_and_come_back(kind):
    torch.manual_seed(1)
    layer = exploding(LAYERS[kind]())
    x = torch.randn(T, B, INPUTS, dtype=torch.float64).requires_grad_()
    before = type(layer), set(vars(layer)), list(layer.state_dict()), layer(x)[0]
    before[3][-1].square().sum().backward()
    unclipped, x.grad = x.grad[0], None
    model = nn.Sequential(layer)
    assert clip_state_gradient(model, max_norm=1e-3) is model
    output = layer(x)[0]
    output[-1].square().sum().backward()
    assert_close(output, before[3])
    assert x.grad[0].norm() < unclipped.norm()
    remedies.undo(model)
    assert (type(layer), set(vars(layer)), list(layer.state_dict())) == before[:3]
    x.grad = None
    layer(x)[0][-1].square().sum().backward()
    assert_close(x.grad[0], unclipped)


@pytest.mark.parametrize("kind", CELLS)
def test_cells_send_back_no_more(kind):
    cell = clip_state_gradient(CELLS[kind](INPUTS, HIDDEN).double(), max_norm=0.5)
    given = [torch.randn(B, HIDDEN, dtype=torch.float64).requires_grad_() for _ in range(2 if kind == "lstm" else 1)]
    x = torch.randn(B, INPUTS, dtype=torch.float64)
    result = cell(x, tuple(given) if kind == "lstm" else given[0])
    sum((100 * entry).sum() for entry in (result if kind == "lstm" else [result])).backward()
    norms = torch.cat([entry.grad for entry in given], dim=1).norm(dim=1)
    assert_close(norms, torch.full((B,), 0.5, dtype=torch.float64))  # of h and c together
    cell(x)  # without a state
    lone = cell(x[0], tuple(entry[0] for entry in given) if kind == "lstm" else given[0][0])
    assert_close(lone, tuple(entry[0] for entry in result) if kind == "lstm" else result[0])
    assert not remedies.undo(cell)._forward_pre_hooks


def test_the_promise_holds_where_training_explodes():
    """Thirty steps that stretch it: without a limit the gradient explodes; with one it is T steps' worth at most."""
    torch.manual_seed(0)
    layer = exploding(nn.RNN(INPUTS, HIDDEN))
    with torch.no_grad():
        for own in (layer.weight_ih_l0, layer.bias_ih_l0, layer.bias_hh_l0):
            own.mul_(1e-12)  # near zero, where f' = 1
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    x = torch.randn(T, 1, INPUTS, dtype=torch.float64)
    found = []
    for treat in (lambda layer: layer, clip_state_gradient):
        optimizer.zero_grad()
        treat(layer)(x)[0][-1].sum().backward()
        optimizer.step()
        found.append(layer.bias_ih_l0.grad.norm().item())
    assert found[0] > 1e4
    assert found[1] <= T


def test_twice_is_once_the_smaller_holds_and_bad_arguments():
    for module in (nn.GRU(2, 3), nn.GRUCell(2, 3)):
        clip_state_gradient(clip_state_gradient(module, max_norm=2.0), max_norm=3.0)
        assert remedies.applied(module) == ("clip-state-gradient",)
        hooks = module._forward_pre_hooks.values()
        assert [hook.max_norm for hook in hooks] == [2.0] if hooks else module.clip == 2.0
    with pytest.raises(ArgumentError, match="max_norm: expected a norm above 0, got 0"):
        clip_state_gradient(nn.GRU(2, 3), max_norm=0)
    with pytest.raises(NotApplicable, match="clip-state-gradient: expected a torch RNN, GRU or LSTM, a cell"):
        clip_state_gradient(nn.Linear(2, 3))
    assert math.isinf(ours.GRU(2, 3).clip)
