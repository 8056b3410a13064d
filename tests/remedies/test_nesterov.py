"""An optimizer that becomes Nesterov's in place."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.testing import assert_close

from longreach import remedies
from longreach.errors import ArgumentError
from longreach.remedies.nesterov import nesterov

RATES = [0.1, 0.05, 0.2, 0.01, 0.1, 0.3]
MU = 0.8
CURVES = torch.tensor([1.0, 0.1, 2.0], dtype=torch.float64)


def weight():
    return nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))


def closure_of(optimizer, own):
    def closure():
        optimizer.zero_grad()
        loss = (CURVES * own**2).sum() / 2
        loss.backward()
        return loss

    return closure


def original():
    """Nesterov's own form: the gradient is taken at θ + μ v, and this point is the simplified form's weight."""
    theta, v = weight().detach(), torch.zeros(3, dtype=torch.float64)
    found = []
    for rate in RATES:
        v = MU * v - rate * CURVES * (theta + MU * v)
        theta = theta + v
        found.append(theta + MU * v)
    return found


def papers():
    """The paper's eq. 7: Θₜ = Θₜ₋₁ + μ² vₜ₋₁ - (1 + μ) ε ∇f(Θₜ₋₁), vₜ = μ vₜ₋₁ - ε ∇f(Θₜ₋₁)."""
    theta, v = weight().detach(), torch.zeros(3, dtype=torch.float64)
    found = []
    for rate in RATES:
        g = CURVES * theta
        theta = theta + MU**2 * v - (1 + MU) * rate * g
        v = MU * v - rate * g
        found.append(theta)
    return found


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_the_paper_s_form_and_nesterov_s_own_with_changing_rates(kind):
    own = weight()
    optimizer = nesterov(kind([own], lr=1.0), lr=1.0, momentum=MU)
    scheduler = LambdaLR(optimizer, lambda step: RATES[min(step, len(RATES) - 1)])
    for theirs, simplified in zip(original(), papers(), strict=True):
        optimizer.step(closure_of(optimizer, own))
        scheduler.step()
        assert_close(own.detach(), theirs, rtol=1e-12, atol=1e-15)
        assert_close(own.detach(), simplified, rtol=1e-12, atol=1e-15)


def test_torch_s_is_the_same_at_one_rate_and_differs_where_it_changes():
    own, twin = weight(), weight()
    optimizer = nesterov(torch.optim.SGD([own], lr=0.1, weight_decay=0.2), momentum=MU)
    theirs = torch.optim.SGD([twin], lr=0.1, momentum=MU, nesterov=True, weight_decay=0.2)
    for _ in range(5):
        for each, at in ((optimizer, own), (theirs, twin)):
            each.step(closure_of(each, at))
    assert_close(own, twin, rtol=1e-12, atol=1e-15)
    for each, at in ((optimizer, own), (theirs, twin)):
        each.param_groups[0]["lr"] = 0.01
        each.step(closure_of(each, at))
    assert not torch.allclose(own, twin, rtol=1e-3)


def test_rates_where_none_is_given():
    assert nesterov(torch.optim.SGD([weight()], lr=0.3)).param_groups[0]["lr"] == 0.3
    assert nesterov(torch.optim.Adam([weight()], lr=0.3)).param_groups[0]["lr"] == 0.01


def test_twice_is_once_undo_and_bad_arguments():
    own, twin = weight(), weight()
    optimizer, plain = torch.optim.Adam([own]), torch.optim.Adam([twin])
    for each, at in ((optimizer, own), (plain, twin)):
        each.step(closure_of(each, at))
    assert nesterov(nesterov(optimizer)) is optimizer
    assert remedies.applied(optimizer) == ("nesterov",)
    optimizer.step(closure_of(optimizer, own))
    remedies.undo(optimizer)
    with torch.no_grad():
        own.copy_(twin)
    for each, at in ((optimizer, own), (plain, twin)):
        each.step(closure_of(each, at))
    assert type(optimizer) is torch.optim.Adam
    assert own.equal(twin)
    with pytest.raises(ArgumentError, match="momentum: expected a number between 0 and 1, got 1"):
        nesterov(optimizer, momentum=1)
    with pytest.raises(ArgumentError, match="lr: expected a learning rate, 0 or above, got -1"):
        nesterov(optimizer, lr=-1)
