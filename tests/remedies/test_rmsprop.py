"""An optimizer that becomes RMSprop in place."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.testing import assert_close

from longreach import remedies
from longreach.errors import ArgumentError
from longreach.remedies.rmsprop import rmsprop

OPTIMIZERS = {
    "adam": lambda own: torch.optim.Adam(own, lr=0.01),
    "adamw, fused": lambda own: torch.optim.AdamW(own, lr=0.01, fused=True),
    "sgd with momentum": lambda own: torch.optim.SGD(own, lr=0.1, momentum=0.9),
    "rmsprop of other options": lambda own: torch.optim.RMSprop(own, lr=0.01, centered=True, momentum=0.5),
    "adagrad": lambda own: torch.optim.Adagrad(own, lr=0.1),
}


def weight():
    return nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))


def take(optimizer, own, gradient):
    own.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_formula(kind):
    own = weight()
    optimizer = rmsprop(OPTIMIZERS[kind]([own]))
    rate = 1e-3 if kind in ("sgd with momentum", "adagrad") else 0.01  # theirs mean something else
    theta, mean = own.detach().clone(), torch.zeros(3, dtype=torch.float64)
    for step in range(6):
        gradient = [1.0 + step, -0.1, 1e-6]
        take(optimizer, own, gradient)
        g = torch.tensor(gradient, dtype=torch.float64)
        mean = 0.9 * mean + 0.1 * g * g
        theta = theta - rate * g / (mean.sqrt() + 1e-8)
        assert_close(own.detach(), theta, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_undo_brings_class_options_and_state_back(kind):
    own, twin = weight(), weight()
    optimizer, plain = OPTIMIZERS[kind]([own]), OPTIMIZERS[kind]([twin])
    for both in ((optimizer, own), (plain, twin)):
        take(*both, [1.0, 2.0, 3.0])
    rmsprop(optimizer, lr=0.5)
    take(optimizer, own, [1.0, 1.0, 1.0])
    assert remedies.undo(optimizer) is optimizer
    with torch.no_grad():
        own.copy_(twin)
    assert type(optimizer) is type(plain)
    assert optimizer.defaults == plain.defaults
    for both in ((optimizer, own), (plain, twin)):
        take(*both, [3.0, 2.0, 1.0])
    assert own.equal(twin)
    assert_close(optimizer.state_dict(), plain.state_dict(), rtol=0, atol=0)
    supports = "_step_supports_amp_scaling"
    assert getattr(optimizer, supports, False) == getattr(plain, supports, False)


@pytest.mark.parametrize("first", ["scheduler", "remedy"])
def test_a_scheduler_goes_on(first):
    own = weight()
    optimizer = torch.optim.Adam([{"params": [own], "lr": 1.0}], lr=0.5)
    if first == "remedy":
        rmsprop(optimizer)
    scheduler = StepLR(optimizer, 1, gamma=0.1)
    if first == "scheduler":
        rmsprop(optimizer)
    rates = []
    for _ in range(3):
        before = own.detach().clone()
        take(optimizer, own, [1e3, 1e3, 1e3])
        mean = 1 - 0.9 ** (len(rates) + 1)
        rates.append((before - own.detach())[0].item() * mean**0.5)
        scheduler.step()  # warns, which is an error here, unless it has seen the step
    assert rates == pytest.approx([1.0, 0.1, 0.01])
    take(remedies.undo(optimizer), own, [1.0, 1.0, 1.0])
    assert "exp_avg" in optimizer.state[own]


def test_a_penalty_stays_and_adamw_s_decay_goes():
    for kind, kept in ((torch.optim.Adam, 0.3), (torch.optim.AdamW, 0.0), (torch.optim.SGD, 0.3)):
        assert rmsprop(kind([weight()], weight_decay=0.3)).param_groups[0]["weight_decay"] == kept


def test_hooks_copies_saving_and_scalers():
    own = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = remedies.clip_norm(torch.optim.Adam([own], lr=0.1, fused=True), max_norm=1.0)
    rmsprop(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(own.square().sum() / 2).backward()
    scaler.step(optimizer)
    assert_close(own.grad, torch.tensor([0.6, 0.8]))
    assert_close(own.detach(), torch.tensor([3.0, 4.0]) - 0.1 / 0.1**0.5)
    assert type(copy.deepcopy(optimizer)) is torch.optim.RMSprop
    other = rmsprop(torch.optim.Adam([nn.Parameter(own.detach().clone())], lr=0.1))
    other.load_state_dict(optimizer.state_dict())
    assert_close(other.state_dict(), optimizer.state_dict())


def test_twice_is_once_and_bad_arguments():
    optimizer = torch.optim.Adam([weight()])
    assert rmsprop(rmsprop(optimizer)) is optimizer
    assert remedies.applied(optimizer) == ("rmsprop",)
    with pytest.raises(ArgumentError, match="decay: expected a number from 0 to below 1, got 1"):
        rmsprop(optimizer, decay=1)
    with pytest.raises(ArgumentError, match="lr: expected a learning rate, 0 or above, got -1"):
        rmsprop(optimizer, lr=-1)
