"""When the watch looks: enough for a verdict in a short run, within its budget in a long one."""

import math

import pytest

from longreach import sampler
from longreach.sampler import SEQUENCES, Sampler


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def run(monkeypatch, *, steps, step_seconds, costs, rows, budget=0.02, hidden=0.0):
    """(steps at which each kind was taken, the sampler, seconds really lost) of a simulated run."""
    clock, lost = Clock(), 0.0
    monkeypatch.setattr(sampler, "time", clock)
    watch, taken = Sampler(budget), {"pairs": [], "curves": []}
    for step in range(steps):
        kind, began = watch.due(step), clock.now
        clock.now += step_seconds
        booked = costs[kind] if kind else 0.0
        if kind is not None:
            taken[kind].append(step)
            clock.now += booked * (1 + hidden)
            lost += booked * (1 + hidden)
            watch.collected(rows)
        watch.step_took(clock.now - began, kind, booked)
    return taken, watch, lost / clock.now


@pytest.mark.parametrize("rows", [8, 64])
@pytest.mark.parametrize("steps", [300, 1000, 5000])
def test_while_it_costs_little_sequences_come_from_the_start_and_from_the_second_half(monkeypatch, rows, steps):
    costs = {"pairs": 1e-5, "curves": 1e-5}
    taken, *_ = run(monkeypatch, steps=steps, step_seconds=1e-9, costs=costs, rows=rows)
    looks = sorted(taken["pairs"] + taken["curves"])
    wanted = min(SEQUENCES, rows * steps // 2)
    assert sum(step < steps / 2 for step in looks) * rows >= 0.9 * wanted
    assert sum(step >= steps / 2 for step in looks) * rows >= 0.8 * wanted
    assert any(step >= steps / 2 for step in taken["curves"])
    # once at the start, once for each time the run has doubled since, and the curves
    doublings = max(0.0, math.log2(steps * rows / SEQUENCES))
    assert len(looks) <= 1.1 * SEQUENCES / rows * (1 + doublings) + math.log(steps, sampler.CURVE_SPACING)


@pytest.mark.parametrize("step_seconds", [0.005, 0.03, 0.5])
@pytest.mark.parametrize("costs", [{"pairs": 0.003, "curves": 0.05}, {"pairs": 0.02, "curves": 0.2}])
@pytest.mark.parametrize("hidden", [0.0, 0.8])
def test_a_run_of_a_minute_or_of_ten_keeps_to_its_budget(monkeypatch, step_seconds, costs, hidden):
    for seconds in (60, 600):
        steps = round(seconds / step_seconds)
        taken, watch, lost = run(
            monkeypatch, steps=steps, step_seconds=step_seconds, costs=costs, rows=32, hidden=hidden
        )
        # the first sample is taken whatever it costs, and no unsampled step has told yet what is usual
        assert lost <= 0.021 + hidden * costs["curves"] / seconds
        assert watch.total_spent / watch.elapsed <= 0.0205
        if 2 * costs["curves"] * (1 + hidden) <= sampler.CURVES_SHARE * 0.02 * seconds:  # the budget pays for two
            assert taken["curves"][-1] > steps / 6
        if 40 * costs["pairs"] * (1 + hidden) <= 0.5 * 0.02 * seconds:
            assert sum(step >= steps / 2 for step in taken["pairs"]) >= 6


def test_a_short_run_spends_an_advance_and_keeps_some_of_it_for_its_second_half(monkeypatch):
    costs = {"pairs": 0.003, "curves": 0.05}
    for seconds in (3, 10, 30):
        steps = seconds * 100
        taken, watch, _ = run(monkeypatch, steps=steps, step_seconds=0.01, costs=costs, rows=64)
        assert watch.total_spent < 0.02 * 60
        assert sum(step >= steps / 2 for step in taken["pairs"] + taken["curves"]) * 64 >= 256


def test_an_expensive_first_look_is_paid_for_before_the_next(monkeypatch):
    taken, watch, _ = run(monkeypatch, steps=20_000, step_seconds=0.01, costs={"pairs": 0.01, "curves": 1.0}, rows=64)
    assert watch.total_spent < 0.02 * watch.elapsed + 1.0
    assert taken["curves"][1] * 0.01 > 40


def test_an_evaluation_within_a_sampled_step_is_not_taken_for_our_cost():
    watch = Sampler(0.02)
    watch.step_took(0.01, None)
    watch.step_took(30.0, "pairs", 0.004)
    assert watch.total_spent == pytest.approx(0.008)


def test_two_networks_trained_in_turn_are_both_met(monkeypatch):
    costs = {"pairs": 1e-6, "curves": 1e-6}
    for period in (2, 3, 5):
        taken, *_ = run(monkeypatch, steps=2000, step_seconds=1e-9, costs=costs, rows=64)
        assert {step % period for step in taken["curves"]} == set(range(period))
