"""How often a task was solved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from longreach.bench.results import Row
from longreach.bench.success import successes, wilson


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(case):
    solved, runs = case
    theirs = binomtest(solved, runs).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(solved, runs) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_without_a_run_nothing_is_known():
    assert wilson(0, 0) == (0.0, 1.0)


def row(seed, cell="lstm", **facts):
    return Row("adding", "le", 100, cell, "none", seed, outcome=facts.pop("outcome", "ended"), **facts)


def test_medians_of_updates_are_of_solved_runs_and_those_of_losses_of_all():
    (found,) = successes(
        [
            row(0, solved=True, updates=300, seconds=3.0, wrong=0.0, loss=0.001),
            row(1, solved=True, updates=500, seconds=9.0, wrong=0.002, loss=0.003),
            row(2, updates=2000, seconds=40.0, wrong=0.9, loss=0.2),
            row(3, outcome="diverged", failed="again and again", chance=0.17),
            row(4, outcome="crashed", failed="it was killed by signal 9"),
            row(5, outcome="refused", failed="does not fit"),
        ]
    )
    assert (found.solved, found.runs) == (2, 4)  # one that diverges has not solved it; the last two say nothing of it
    assert (found.updates, found.seconds, found.wrong, found.loss) == (400, 6.0, 0.002, 0.003)
    assert found.failures == (
        "diverged: again and again",
        "crashed: it was killed by signal 9",
        "refused: does not fit",
    )


def test_the_best_course_comes_first():
    rows = [
        row(0, "lstm", loss=0.2, wrong=1.0),
        row(0, "gru", loss=0.1, wrong=1.0),
        row(0, "slow", solved=True, updates=10, seconds=9.0, loss=0.0, wrong=0.0),
        row(0, "quick", solved=True, updates=90, seconds=3.0, loss=0.0, wrong=0.0),
        row(0, "broken", outcome="crashed"),
    ]
    assert [one.cell for one in successes(rows)] == ["quick", "slow", "gru", "lstm", "broken"]
