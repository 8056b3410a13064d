"""Jumps of a loss: found where one was put, and not in noise, however heavy; counted."""

import math

import numpy as np
import pytest

from longreach.probes.samples import Curve, LayerKey
from longreach.quantities.spikes import Riser, Spike, Watcher, pool, rose_first


def jumps(losses):
    watcher = Watcher()
    found = [watcher.read(step, float(loss)) for step, loss in enumerate(losses)]
    return [jump for jump in (*found, watcher.finish()) if jump is not None]


def noise(seed, scatter, steps=2000):
    """Losses that fall to a third, times the exponential of a normal number."""
    draws = np.random.default_rng(seed).normal(size=steps)
    return np.linspace(3, 1, steps) * np.exp(scatter * draws)


@pytest.mark.parametrize("scatter", [0.0, 0.1, 0.5, 1.0])
def test_none_in_noise(scatter):
    assert sum(len(jumps(noise(seed, scatter))) for seed in range(10)) == 0


@pytest.mark.parametrize("hard", [0.01, 0.03, 0.1, 0.3])
def test_none_in_a_loss_of_single_examples(hard):
    """Most are easy; some cost a hundred times as much."""
    draws = np.random.default_rng(0).random((10, 2000))
    assert sum(len(jumps(np.where(row < hard, 2.0, 0.02))) for row in draws) == 0


@pytest.mark.parametrize("scatter", [0.0, 0.1, 0.5])
def test_a_jump_is_found_where_it_is(scatter):
    losses = noise(1, scatter)
    losses[1000:1030] *= 40
    (jump,) = jumps(losses)
    assert 1000 <= jump.step <= 1002
    assert 1030 <= jump.step + jump.lasted <= 1034
    assert jump.level == pytest.approx(2.0, rel=0.3)
    assert jump.height >= 60
    assert jump.over


def test_what_stays_is_the_new_level():
    losses = noise(1, 0.1)
    losses[1000:] *= 40
    (jump,) = jumps(losses)
    assert (jump.step, jump.lasted, jump.over) == (1000, 64, False)


def test_the_run_may_end_in_it():
    losses = noise(1, 0.1)
    losses[1990:] = math.nan
    (jump,) = jumps(losses)
    assert (jump.step, jump.lasted, jump.height, jump.over) == (1990, 10, math.inf, False)


def test_losses_below_zero_have_no_level():
    losses = noise(1, 0.1) - 3
    losses[1000:1030] += 100
    assert jumps(losses) == []


def test_whose_gradient_rose_first():
    usual = [(step, {"rnn": 1.0 + 0.1 * (step % 3), "head": 2.0}) for step in range(90, 100)]
    risen = [*usual, (100, {"rnn": 40.0, "head": 3.0}), (101, {"rnn": 400.0, "head": 900.0})]
    assert rose_first(risen, 101) == Riser("rnn", 100, 40 / 1.1)
    assert rose_first(risen, 95) is None
    assert rose_first(usual, 99) is None
    assert rose_first(risen[7:], 101) is None  # too few looks to know what is usual
    assert rose_first([*usual, (100, {"rnn": math.inf, "head": math.nan})], 100) == Riser("rnn", 100, math.inf)


def test_the_lag_is_that_of_the_nearest_curve():
    key = LayerKey("rnn", "RNN tanh", 0, "forward", 8)
    curves = [
        Curve(0, (0, 1, 4), (0.0, -1.0, -2.0), (0.0, -1.0, -2.0), None, False),
        Curve(80, (0, 1, 4), (0.0, 1.0, 9.0), (0.0, 1.0, 9.0), None, False),
        Curve(900, (0, 1, 4), (0.0, 1.0, 2.0), None, None, False),
    ]
    spike = Spike("", 100, 1.0, 50.0, 9, True, "rnn", 99, 40.0)
    (found,) = pool([spike], {key: curves})
    assert found.lag == 4
    (found,) = pool([spike], {})
    assert found.lag == -1
