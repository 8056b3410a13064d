"""Updates against what the optimizer's own formula says, in float64."""

import math

import pytest
import torch
from torch import nn

from longreach.watching import Watch


class Two(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


def watched(model, optimizer, steps=4, x=None, seen=None):
    x = torch.linspace(-1, 1, 12, dtype=next(model.parameters()).dtype).view(4, 3) if x is None else x
    with Watch(model, optimizer, budget=1.0) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            if seen is not None:
                seen.append([(p.detach().clone(), p.grad.clone()) for p in model.parameters() if p.grad is not None])
            optimizer.step()
    assert not [note for note in watch.store.notes() if "could not be followed" in note]
    return watch.record().updates


def test_gradient_descent_in_closed_form():
    torch.manual_seed(0)
    model, seen = Two().double(), []
    found = watched(model, torch.optim.SGD(model.parameters(), lr=0.3), seen=seen)
    assert [(u.parameter, u.module, u.size, u.dtype, u.optimizer, u.lr) for u in found] == [
        ("first.weight", "first", 15, "float64", "SGD", 0.3),
        ("last.weight", "last", 10, "float64", "SGD", 0.3),
    ]
    for place, update in zip((0, 2), found, strict=True):
        weights, grads = zip(*(step[place] for step in seen), strict=True)
        ratios = [0.3 * float(g.norm() / w.norm()) for w, g in zip(weights, grads, strict=True)]
        assert update.early == pytest.approx(ratios[0], rel=1e-12)
        assert update.ratio == pytest.approx((ratios[2] + ratios[3]) / 2, rel=1e-12)
        end = weights[3] - 0.3 * grads[3]
        assert update.moved == pytest.approx(float((end - weights[0]).norm() / weights[0].norm()), rel=1e-12)
        assert (update.unmoved, update.samples) == (0.0, 4)


def test_large_matrices_are_read_in_part_and_evenly():
    torch.manual_seed(0)
    model, seen = Two(width=3000).double(), []
    first, _ = watched(model, torch.optim.SGD(model.parameters(), lr=0.3), steps=1, seen=seen)
    weight, grad = seen[0][0]
    assert first.ratio == pytest.approx(0.3 * float(grad.norm() / weight.norm()), rel=0.1)


@pytest.mark.parametrize(("dtype", "lost"), [(torch.float64, 0.0), (torch.bfloat16, 1.0)])
def test_updates_below_the_resolution_of_the_weights_are_lost(dtype, lost):
    torch.manual_seed(0)
    model = Two().to(dtype)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    found = watched(model, torch.optim.SGD(model.parameters(), lr=1e-6))
    assert [u.unmoved for u in found] == [lost, lost]
    assert [u.ratio == 0 for u in found] == [bool(lost)] * 2


def test_what_cannot_be_measured_is_left_out_or_nan():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 3, sparse=True)
            self.turn = nn.Parameter(torch.randn(3, 3, dtype=torch.complex64))
            self.zero = nn.Parameter(torch.zeros(3, 3))
            self.frozen = nn.Linear(3, 3).requires_grad_(False)
            self.unused = nn.Linear(3, 3)

        def forward(self, x):
            x = self.table(x) @ self.zero + 1
            return self.frozen((x.to(torch.complex64) @ self.turn).abs())

    model = Odd()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = {u.parameter: u for u in watched(model, optimizer, x=torch.tensor([1, 2, 1]))}
    assert set(found) == {"table.weight", "odd.turn", "odd.zero"}
    assert math.isnan(found["table.weight"].unmoved)
    assert math.isnan(found["odd.zero"].moved)
    assert math.isnan(found["odd.zero"].early)


def test_parameters_of_no_module_are_numbered():
    weight = torch.ones(2, 2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with Watch(None, optimizer, budget=1.0) as watch:
        weight.square().sum().backward()
        optimizer.step()
    (found,) = watch.record().updates
    assert (found.parameter, found.module, found.ratio) == ("parameter 0", "", pytest.approx(1.0))
