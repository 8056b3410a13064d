import math
from dataclasses import replace

import pytest
from tests.diagnosis.literals import LEARNT, record, updates

from longreach.diagnosis.step_size import step_size
from longreach.quantities.clipping import NORM, Clipping


def run(*moving, **told):
    return replace(record(), updates=moving, **told)


@pytest.mark.parametrize(
    ("moved", "early", "direction"),
    [
        (0.19, 0.001, "too small"),
        (0.21, 0.001, None),
        (4.9, 0.09, None),
        (5.1, 0.09, "too large"),
        (1.0, 0.11, "too large"),
        (0.1, 0.11, "too large"),
        (math.nan, 0.01, "too large"),
        (0.0, 0.0, "too small"),
    ],
)
def test_how_far_the_weights_come(moved, early, direction):
    found = step_size(run(updates(moved, early)))
    assert [finding.evidence["direction"] for finding in found] == ([direction] if direction else [])
    assert all(finding.severity == "critical" for finding in found)


def test_one_matrix_that_moves_is_enough_and_one_that_is_thrown_is_not():
    assert step_size(run(updates(0.01), updates(0.02), updates(0.3))) == ()
    assert step_size(run(updates(0.5), updates(0.6), updates(30.0))) == ()


def test_silent_where_the_run_learns_or_is_too_short_or_nothing_was_seen():
    small = updates(0.01)
    assert step_size(run(small, loss=LEARNT)) == ()
    assert step_size(run(small, steps=99)) == ()
    assert step_size(run()) == ()


def test_silent_where_no_gradient_came():
    assert step_size(run(updates(0.0, unmoved=math.nan))) == ()
    assert step_size(run(updates(30.0, unmoved=math.nan)))  # units that a leap has killed


def test_silent_where_clipping_or_the_number_format_is_to_blame():
    small = updates(0.01, optimizer="SGD")
    assert step_size(run(small))
    assert step_size(run(small, clipping=Clipping(NORM, 1e-3, 900, 1.0, 300.0))) == ()
    assert step_size(run(updates(0.01, unmoved=0.8, dtype="bfloat16"))) == ()


def test_a_warning_where_some_of_it_is_learned():
    (finding,) = step_size(run(updates(0.01), chance=0.25))
    assert finding.severity == "warning"


def test_what_it_says():
    (small,) = step_size(run(updates(0.013, optimizer="SGD")))
    assert small.summary == (
        "In 1000 steps no matrix of weights has come further than 1.3% of its own size (head.weight); those of "
        "networks that learn come about as far as they are large. In this run the loss hardly falls. Steps some "
        "100 times larger would still be usual."
    )
    (large,) = step_size(run(updates(31.0, 0.2)))
    assert large.summary == (
        "The weights have been thrown 31 times their own size, and moved by 20% in one step: what was set "
        "at the start is lost. In this run the loss hardly falls. Steps some 10 times smaller would be usual."
    )
    assert large.remedies == ("clip-norm", "clip-auto")
