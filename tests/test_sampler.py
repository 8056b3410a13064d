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


def run(monkeypatch, *, steps, step_seconds, costs, rows, budget=0.02):
    """(steps at which each kind was taken, the sampler) of a simulated run."""
    clock = Clock()
    monkeypatch.setattr(sampler, "time", clock)
    watch, taken = Sampler(budget), {"pairs": [], "curves": []}
    for step in range(steps):
        kind = watch.due(step)
        clock.now += step_seconds
        if kind is not None:
            taken[kind].append(step)
            clock.now += costs[kind]
            watch.charge(kind, costs[kind])
            watch.collected(rows)
    return taken, watch


@pytest.mark.parametrize("rows", [8, 64])
@pytest.mark.parametrize("steps", [300, 1000, 5000])
def test_a_short_run_has_its_sequences_at_the_start_and_in_the_second_half(monkeypatch, rows, steps):
    taken, _ = run(monkeypatch, steps=steps, step_seconds=1e-6, costs={"pairs": 1.0, "curves": 1.0}, rows=rows)
    looks = sorted(taken["pairs"] + taken["curves"])
    wanted = min(SEQUENCES, rows * steps // 2)
    assert sum(step < steps / 2 for step in looks) * rows >= 0.9 * wanted
    assert sum(step >= steps / 2 for step in looks) * rows >= 0.8 * wanted
    assert any(step >= steps / 2 for step in taken["curves"])
    # once at the start, once for each time the run has doubled since, and the curves
    doublings = max(0.0, math.log2(steps * rows / SEQUENCES))
    assert len(looks) <= 1.1 * SEQUENCES / rows * (1 + doublings) + math.log(steps, sampler.CURVE_SPACING)


def test_a_long_run_keeps_to_its_budget_and_spends_it_on_both_kinds(monkeypatch):
    costs = {"pairs": 0.003, "curves": 0.05}
    taken, watch = run(monkeypatch, steps=20_000, step_seconds=0.01, costs=costs, rows=32)
    assert 0.012 < watch.total_spent / watch.elapsed < 0.02
    spent = {kind: len(taken[kind]) * costs[kind] for kind in costs}
    assert min(spent.values()) > 0.25 * sum(spent.values())
    # and to the very end
    assert taken["curves"][-1] > 19_000
    assert taken["pairs"][-1] > 19_000


def test_an_expensive_look_is_not_repeated_before_it_is_paid_for(monkeypatch):
    _, watch = run(monkeypatch, steps=20_000, step_seconds=0.01, costs={"pairs": 0.01, "curves": 1.0}, rows=64)
    forced_curves = 17  # 1.7^17 steps
    assert watch.total_spent < 0.02 * watch.elapsed + forced_curves


def test_two_networks_trained_in_turn_are_both_met(monkeypatch):
    for period in (2, 3, 5):
        taken, _ = run(monkeypatch, steps=2000, step_seconds=1e-6, costs={"pairs": 1.0, "curves": 1.0}, rows=64)
        assert {step % period for step in taken["curves"]} == set(range(period))
