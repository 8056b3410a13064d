"""scaled-init: every plain layer begins at the scale of what it is given."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from longreach import remedies
from longreach.errors import NotApplicable


class Deep(nn.Module):
    """Layers whose activations nobody sees: they are called as functions."""

    def __init__(self, f, depth=20, width=400):
        super().__init__()
        self.f = f
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        self.outputs = []
        for layer in self.layers:
            x = layer(x)
            x.retain_grad()
            self.outputs.append(x)
            x = self.f(x)
        return x


@pytest.mark.parametrize("f", [torch.relu, torch.tanh, torch.sigmoid, functional.gelu])
def test_outputs_have_variance_1_and_the_gradient_the_factor_of_theory_a_layer(f):
    model = remedies.scaled_init(Deep(f).double())
    x = 100 + 30 * torch.randn(400, 400, dtype=torch.float64)
    end = model(x)
    for output in model.outputs[1:]:  # those of the first pass are scaled already
        units = output.detach()
        torch.testing.assert_close(units.mean(0), torch.zeros(400, dtype=torch.float64))
        torch.testing.assert_close(units.var(correction=0), torch.ones((), dtype=torch.float64))
    end.backward(torch.randn_like(end))
    norms = [output.grad.norm() for output in model.outputs]
    z, weight = np.polynomial.hermite_e.hermegauss(201)
    z, weight = torch.tensor(z, requires_grad=True), torch.tensor(weight / math.sqrt(2 * math.pi))
    value = f(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    spread = (weight * value.square()).sum() - (weight * value).sum().square()
    theory = ((weight * slope.square()).sum() / spread).sqrt().item()
    found = (norms[0] / norms[-1]).item() ** (1 / (len(norms) - 1))
    assert found == pytest.approx(theory, rel=0.05)


def test_as_torch_starts_it_the_same_gradient_fades():
    model = Deep(torch.sigmoid)
    end = model(torch.randn(400, 400))
    end.backward(torch.randn_like(end))
    assert model.outputs[0].grad.norm() < 1e-12 * model.outputs[-1].grad.norm()


def test_convolutions_too_whose_units_are_channels():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.ConvTranspose2d(8, 8, 3, stride=2), nn.Conv1d(8, 4, 3))
    model[3] = nn.Conv2d(8, 4, 3)
    remedies.scaled_init(model)
    out = model(5 + torch.randn(16, 3, 12, 12))
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(correction=0), torch.ones(()))


def test_weights_are_orthogonal_but_for_the_scale():
    layers = nn.Sequential(nn.Linear(6, 9).double(), nn.Linear(9, 4).double())
    remedies.scaled_init(layers)(torch.randn(50, 6, dtype=torch.float64))
    for square in (layers[0].weight.T @ layers[0].weight, layers[1].weight @ layers[1].weight.T):
        torch.testing.assert_close(square, square[0, 0] * torch.eye(len(square), dtype=torch.float64))


def test_it_happens_once_in_training_and_twice_is_once_and_undo_brings_back_the_bits():
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4, bias=False))
    before = copy.deepcopy(model.state_dict())
    x = 3 * torch.randn(50, 6)
    assert remedies.scaled_init(model) is model
    remedies.scaled_init(model)
    started = copy.deepcopy(model.state_dict())
    model.eval()(x)
    assert all(torch.equal(own, started[key]) for key, own in model.state_dict().items())
    model.train()(x)
    scaled = copy.deepcopy(model.state_dict())
    assert not torch.equal(scaled["0.weight"], started["0.weight"])
    model(10 * x)
    assert all(torch.equal(own, scaled[key]) for key, own in model.state_dict().items())
    remedies.undo(model)
    assert all(torch.equal(own, before[key]) for key, own in model.state_dict().items())
    assert not model[0]._forward_pre_hooks


def test_a_layer_that_is_given_zeros_keeps_its_scale():
    model = remedies.scaled_init(nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 4)))
    assert model(torch.zeros(5, 6)).isfinite().all()
    assert all(own.isfinite().all() for own in model.parameters())


def test_deep_sigmoid_nets_learn_where_they_did_not():
    torch.manual_seed(0)
    angle = 2 * torch.pi * torch.rand(600)
    ring = torch.randint(3, (600,))
    x = torch.stack([angle.cos(), angle.sin()], 1) * (ring + 1)[:, None]
    losses = {}
    for treated in (False, True):
        torch.manual_seed(1)
        parts = [part for n in range(10) for part in (nn.Linear(32 if n else 2, 32), nn.Sigmoid())]
        model = nn.Sequential(*parts, nn.Linear(32, 3))
        if treated:
            remedies.scaled_init(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(200):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), ring)
            loss.backward()
            optimizer.step()
        losses[treated] = loss.item()
    assert losses[False] > 1.09  # ln 3 = 1.0986: it guesses
    assert losses[True] < 0.1


def test_what_it_does_not_fit():
    with pytest.raises(NotApplicable, match=r"scaled-init: expected two or more .* got 1 in ModuleList"):
        remedies.scaled_init(nn.ModuleList([nn.LSTM(3, 4), nn.Linear(4, 2)]))
