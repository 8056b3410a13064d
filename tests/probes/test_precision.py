"""What float16 loses of a gradient: shares known by construction."""

import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from longreach.watching import Watch


class Scaled(nn.Module):
    """Its output times given factors is the loss: their sizes are those of the gradient that comes to the output."""

    def __init__(self, factors):
        super().__init__()
        self.line = nn.Linear(4, len(factors))
        self.factors = torch.tensor(factors)

    def forward(self, x):
        return (self.line(x).float() * self.factors).sum()


def watched(model, *, steps=2, scaler=None, lr=1e-3, forward=None):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    with Watch(model, optimizer, budget=1.0) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                loss = (forward or model)(torch.randn(1, 4))
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
    assert not [note for note in watch.store.notes() if "could not be" in note]
    return watch


def test_shares_are_counted_and_those_that_a_larger_loss_would_save():
    model = Scaled([0.0, 1e-9, 1e-9, 1e-6, 1e-3, 1.0])
    (half,) = watched(model).record().half
    assert (half.module, half.scale, half.samples) == ("line", 1.0, 2)
    # 2^16 times 1.0 is too much for float16: 2^8 it is
    assert half.lost == pytest.approx(2 / 5)
    assert half.tiny == pytest.approx(1 / 3)
    assert (half.infinite, half.largest) == (0.0, 1.0)
    (half,) = watched(Scaled([0.0, 1e-9, 1e-9, 1e-6, 1e-3])).record().half
    assert half.lost == pytest.approx(2 / 4)


def test_a_scaler_saves_them():
    model = Scaled([0.0, 1e-9, 1e-9, 1e-6, 1e-3])
    (half,) = watched(model, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**16)).record().half
    assert math.isnan(half.lost)
    assert (half.tiny, half.scale) == (0.0, 2.0**16)  # 6.6e-5 is just above where float16 has its full precision


def test_overflow_is_counted_and_skipped_steps_are():
    model = Scaled([1.0, 1e-3])
    watch = watched(model, steps=4, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**17))
    record = watch.record()
    assert record.loss_scale is not None
    assert (record.loss_scale.scale, record.loss_scale.steps, record.loss_scale.skipped) == (2.0**15, 4, 2)
    assert watch.steps == 2


def test_a_checkpointed_part_is_not_computed_again_for_our_sake():
    model, calls = Scaled([1e-9, 1.0]), []

    def forward(x):
        calls.append("forward")
        return model(x)

    watch = watched(model, forward=lambda x: checkpoint(forward, x, use_reentrant=False))
    assert calls == ["forward"] * 4  # twice a step: once more for the script's own backward
    assert all(math.isnan(half.lost) for half in watch.record().half)


def test_wider_formats_lose_nothing_and_are_not_looked_at():
    model = Scaled([1e-9, 1.0])
    with Watch(model, torch.optim.SGD(model.parameters(), 0.1), budget=1.0) as watch:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.randn(1, 4))
        loss.backward()
    assert watch.record().half == ()
