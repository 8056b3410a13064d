"""orthogonal: W_hh stays a rotation while it learns."""

import copy
import io

import pytest
import torch
from torch import nn

from longreach import nn as ours
from longreach import remedies
from longreach.errors import NotApplicable
from longreach.nn import Recurrent, cells
from longreach.remedies.orthogonal import nearest_orthogonal

BUILDS = {
    "RNN": (lambda: nn.RNN(3, 6), ["weight_hh_l0"]),
    "deep": (
        lambda: nn.RNN(3, 6, 2, bidirectional=True, nonlinearity="relu", bias=False),
        ["weight_hh_l0", "weight_hh_l0_reverse", "weight_hh_l1", "weight_hh_l1_reverse"],
    ),
    "ours": (lambda: ours.RNN(3, 6, nonlinearity="prelu"), ["weight_hh_l0"]),
    "Recurrent": (lambda: Recurrent(cells.Elman, 3, 6), ["cells.0.weight_hh"]),
}
each_build = pytest.mark.parametrize("name", BUILDS)


def value(model, path):
    for part in path.split("."):
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    return model


@each_build
def test_it_is_orthogonal_after_every_step_of_an_optimizer(name):
    build, paths = BUILDS[name]
    model = remedies.orthogonal(build().double())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    start = [value(model, path).detach().clone() for path in paths]
    for _ in range(20):
        optimizer.zero_grad()
        (model(torch.randn(9, 4, 3, dtype=torch.float64))[0] - 1).square().sum().backward()
        optimizer.step()
        for path in paths:
            square = value(model, path).detach()
            torch.testing.assert_close(square.T @ square, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-12)
    for path, before in zip(paths, start, strict=True):
        assert (value(model, path) - before).norm() > 0.1  # it does learn


def test_values_and_gradients_are_those_of_a_loop():
    layer = remedies.orthogonal(nn.RNN(3, 6, dtype=torch.float64))
    learned = layer.parametrizations.weight_hh_l0.original
    with torch.no_grad():
        learned.add_(torch.randn(6, 6, dtype=torch.float64))
    for steps in (1, 8):  # one step has a way of its own
        x = torch.randn(steps, 4, 3, dtype=torch.float64)
        a = learned.tril()
        w = layer.parametrizations.weight_hh_l0[0].base @ torch.matrix_exp(a - a.T)
        h = torch.zeros(4, 6, dtype=torch.float64)
        for step in x:
            h = torch.tanh(step @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ w.T + layer.bias_hh_l0)
        output, ended = layer(x)
        torch.testing.assert_close(ended[0], h)
        given = [layer.weight_ih_l0, layer.bias_hh_l0, learned]
        naive = torch.autograd.grad(h.square().sum(), given, allow_unused=True, materialize_grads=True)
        found = torch.autograd.grad(output[-1].square().sum(), given, allow_unused=True, materialize_grads=True)
        for one, other in zip(found, naive, strict=True):
            torch.testing.assert_close(one, other)


def test_a_linear_network_neither_fades_nor_grows_while_it_learns():
    layer = remedies.orthogonal(ours.RNN(3, 6, nonlinearity="identity", dtype=torch.float64))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        layer(torch.randn(10, 4, 3, dtype=torch.float64))[0].square().mean().backward()
        optimizer.step()
    h = torch.zeros(1, 1, 6, dtype=torch.float64, requires_grad=True)
    v = torch.randn(1, 1, 6, dtype=torch.float64)
    (back,) = torch.autograd.grad(layer(torch.zeros(500, 1, 3, dtype=torch.float64), h)[1], h, v)
    torch.testing.assert_close(back.norm(), v.norm())


def test_it_begins_at_the_orthogonal_matrix_that_is_closest():
    square = torch.randn(6, 6, dtype=torch.float64)
    closest = nearest_orthogonal(square)
    # of the polar decomposition W = Q P, P = QᵀW is symmetric with eigenvalues above 0 (Higham 1986)
    p = closest.T @ square
    torch.testing.assert_close(p, p.T)
    assert torch.linalg.eigvalsh(p).min() > 0
    layer = nn.RNN(3, 6, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(square)
    torch.testing.assert_close(remedies.orthogonal(layer).weight_hh_l0, closest)


def test_what_is_orthogonal_already_computes_on_as_it_did():
    layer = remedies.orthogonal_init(nn.RNN(3, 6, dtype=torch.float64))
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    before = layer(x)[0]
    torch.testing.assert_close(remedies.orthogonal(layer)(x)[0], before)


@each_build
def test_undo_brings_back_class_names_in_order_and_bits(name):
    model = BUILDS[name][0]()
    x = torch.randn(5, 2, 3)
    before, output = copy.deepcopy(model.state_dict()), model(x)[0]
    kinds = [type(part) for part in model.modules()]
    remedies.orthogonal(model)
    once = [name for name, _ in model.named_parameters()]
    remedies.orthogonal(model)
    assert [name for name, _ in model.named_parameters()] == once
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x)[0].sum().backward()
    optimizer.step()
    remedies.undo(model)
    assert [type(part) for part in model.modules()] == kinds
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(own, before[key]) for key, own in model.state_dict().items())
    assert torch.equal(model(x)[0], output)


def test_a_cell_of_torchs():
    cell = remedies.orthogonal(nn.RNNCell(3, 6, dtype=torch.float64))
    torch.testing.assert_close(cell.weight_hh.T @ cell.weight_hh, torch.eye(6, dtype=torch.float64))
    assert type(remedies.undo(cell)) is nn.RNNCell


def test_it_is_saved_by_its_state_dict():
    layer, other = remedies.orthogonal(nn.RNN(3, 6)), remedies.orthogonal(nn.RNN(3, 6))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(other(x)[0], layer(x)[0])
    assert torch.equal(copy.deepcopy(layer)(x)[0], layer(x)[0])


def test_what_it_does_not_fit():
    with pytest.raises(NotApplicable, match=r"orthogonal: expected a torch RNN, its cell.*got LSTM"):
        remedies.orthogonal(nn.LSTM(3, 6))

    class Mine(nn.RNN):
        pass

    with pytest.raises(NotApplicable, match=r"orthogonal: expected a layer of torch or of longreach.nn, got Mine"):
        remedies.orthogonal(Mine(3, 6))
