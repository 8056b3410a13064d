"""Steps that would break a run, and those that did."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from longreach import remedies
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.guard import Guarded, guard, guarded

OPTIMIZERS = {
    "sgd with momentum": lambda own: torch.optim.SGD(own, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda own: torch.optim.Adam(own, lr=0.1, amsgrad=True),
    "adamw, fused": lambda own: torch.optim.AdamW(own, lr=0.1, fused=True),
    "rmsprop": lambda own: torch.optim.RMSprop(own, lr=0.1, centered=True, momentum=0.5),
    "nadam": lambda own: torch.optim.NAdam(own, lr=0.1),
    "rprop": lambda own: torch.optim.Rprop(own),
    "adagrad": lambda own: torch.optim.Adagrad(own),
}


def take(optimizer, own, *gradient):
    own.grad = torch.tensor(gradient)
    optimizer.step()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_skipped_step_leaves_no_trace(kind, bad):
    own, twin = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    untouched = nn.Parameter(torch.ones(1))
    optimizer, plain = OPTIMIZERS[kind]([own, untouched]), OPTIMIZERS[kind]([twin])
    guard(optimizer)
    take(optimizer, own, bad, 1.0)  # before there is any state
    for step in range(5):
        take(optimizer, own, 1.0, float(step))
        take(optimizer, own, 0.5, bad)
        assert_close(own.grad, torch.tensor([0.5, bad]), rtol=0, atol=0, equal_nan=True)  # as the script has it
        take(plain, twin, 1.0, float(step))
    assert own.equal(twin)
    for name, value in plain.state[twin].items():
        assert_close(optimizer.state[own][name], value, rtol=0, atol=0)
    assert guarded(optimizer) == Guarded(steps=11, skipped=6, rolled_back=0)


def test_a_finite_run_keeps_its_bits():
    own, twin = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer, plain = guard(torch.optim.Adam([own]), every=2), torch.optim.Adam([twin])
    for _ in range(7):
        gradient = torch.randn(3).tolist()
        take(optimizer, own, *gradient)
        take(plain, twin, *gradient)
    assert own.equal(twin)
    assert guarded(optimizer) == Guarded(7, 0, 0)


def test_weights_that_break_go_back_to_the_latest_copy_with_the_state():
    own = nn.Parameter(torch.ones(2))
    optimizer = guard(torch.optim.Adam([own], lr=0.1), every=3)
    then = []
    for step in range(8):
        take(optimizer, own, 1.0, float(step))
        then.append((own.detach().clone(), copy.deepcopy(optimizer.state[own])))
    optimizer.param_groups[0]["lr"] = math.inf
    take(optimizer, own, 1.0, 1.0)
    weights, state = then[5]
    assert own.equal(weights)
    assert_close(dict(optimizer.state[own]), state, rtol=0, atol=0)
    assert optimizer.param_groups[0]["lr"] == math.inf  # the script's
    assert guarded(optimizer) == Guarded(9, 0, 1)


def test_a_state_that_breaks_goes_back_too():
    """Squares of 1e25 overflow in Adam: it would not move again. The fourth long gradient in a row is taken."""
    own = nn.Parameter(torch.ones(1))
    optimizer = guard(torch.optim.Adam([own], lr=0.1))
    for _ in range(4):
        take(optimizer, own, 1e25)
    assert guarded(optimizer) == Guarded(4, 3, 1)
    assert own.item() == 1.0
    assert own not in optimizer.state  # as at the start
    take(optimizer, own, 1.0)
    assert own.item() == pytest.approx(0.9)


def test_a_badly_scaled_loss_is_let_through():
    own = nn.Parameter(torch.ones(1))
    optimizer = guard(torch.optim.Adam([own], lr=0.1))
    for _ in range(20):
        take(optimizer, own, 1e12)
    assert guarded(optimizer) == Guarded(20, 3, 0)
    assert own.item() < 0


def test_with_lbfgs_and_a_closure():
    own = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = guard(torch.optim.LBFGS([own], max_iter=4))
    factor = 1.0

    def closure():
        optimizer.zero_grad()
        loss = (factor * (own - 1)).square().sum()
        loss.backward()
        return loss

    for factor in (math.nan, 1.0, math.nan, 1.0):  # noqa: B007 (the closure's)
        optimizer.step(closure)
    assert_close(own.detach(), torch.ones(2))


def regression(treat, broken):
    """A noisy regression by a small network; some of its batches are `broken`. Gives the loss at the end."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = treat(torch.optim.Adam(model.parameters(), lr=3e-3))
    train, generator = torch.randn(512, 4), torch.Generator().manual_seed(1)
    targets = torch.sin(train.sum(1, keepdim=True)) + 0.3 * torch.randn(512, 1)
    for step in range(1500):
        rows = torch.randint(512, (64,), generator=generator)
        x, y = train[rows].clone(), targets[rows].clone()
        if step % 50 == 10 and broken:
            x[3, 2] = y[5] = broken[step // 50 % len(broken)]
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (model(train) - targets).square().mean().item(), optimizer


def test_a_run_with_broken_batches_ends_like_a_clean_one():
    clean, _ = regression(lambda optimizer: optimizer, ())
    found, optimizer = regression(guard, (math.nan, math.inf, 1e30))
    assert found == pytest.approx(clean, rel=0.01)
    assert guarded(optimizer) == Guarded(1500, 30, 0)
    assert not math.isfinite(regression(lambda optimizer: optimizer, (math.nan,))[0])


def test_a_scaler_that_finds_infinities_by_itself():
    own = nn.Parameter(torch.ones(2))
    for fused in (False, True):
        optimizer = guard(torch.optim.Adam([own], fused=fused))
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**15)
        for factor in (1.0, math.inf, 1e9):  # the scale is no part of the norm
            optimizer.zero_grad()
            scaler.scale((own * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert guarded(optimizer).rolled_back == 0
        assert optimizer.state[own]["step"] == 2


def test_twice_is_once_undo_and_bad_arguments():
    own = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([own], lr=1.0)
    assert guard(guard(optimizer), every=5) is optimizer
    assert remedies.applied(optimizer) == ("guard",)
    remedies.undo(optimizer)
    take(optimizer, own, math.nan, 0.0)
    assert own[0].isnan()
    assert not optimizer._optimizer_step_post_hooks
    with pytest.raises(NotApplicable, match="guard: expected weights that are finite, got some that are not"):
        guard(optimizer)
    with pytest.raises(ArgumentError, match="every: expected a number of steps, 1 or more, got 0"):
        guard(optimizer, every=0)
    with pytest.raises(ArgumentError, match="guarded: expected an optimizer with guard, got one without"):
        guarded(optimizer)
