"""Bursts and swings of a loss, against how it was made."""

import math

import numpy as np
import pytest

from longreach.quantities.restless import pool


def listed(losses):
    return [(step, float(loss)) for step, loss in enumerate(losses)]


def test_noise_neither_bursts_nor_swings():
    """Of 20 runs of 1000 steps, none is called swinging and none of normal scatter bursts."""
    for seed in range(20):
        losses = np.exp(0.5 * np.random.default_rng(seed).normal(size=1000))
        restless = pool(listed(losses), 1000)
        assert restless is not None
        assert restless.steps == 900
        assert restless.bursts == 0
        assert abs(restless.swing) < 0.15


def test_bursts_are_counted():
    losses = np.ones(1000)
    losses[100::50] = 1e4
    losses[125] = math.nan
    restless = pool(listed(losses), 1000)
    assert restless is not None
    assert restless.bursts == pytest.approx(19 / 900)
    assert restless.height == 1e4


def test_a_step_up_and_a_step_down():
    rng = np.random.default_rng(0)
    losses = np.exp(0.5 * (-1.0) ** np.arange(1000) + 0.2 * rng.normal(size=1000))
    restless = pool(listed(losses), 1000)
    assert restless is not None
    # the variance of a signal of size 0.5 in noise of 0.2
    assert restless.swing == pytest.approx(-0.25 / (0.25 + 0.04), abs=0.05)


@pytest.mark.parametrize("losses", [[], [1.0] * 20, [1.0] * 99 + [-1.0]])
def test_too_few_or_below_zero(losses):
    assert pool(listed(losses), len(losses)) is None


def test_a_loss_of_zero_has_no_scatter():
    restless = pool(listed([0.0] * 100), 100)
    assert restless is not None
    assert (restless.bursts, restless.height) == (0.0, 1.0)
    assert math.isnan(restless.swing)
