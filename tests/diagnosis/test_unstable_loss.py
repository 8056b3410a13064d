import math
from dataclasses import replace

import pytest
from tests.diagnosis.literals import LEARNT, jump, record, updates

from longreach.diagnosis.unstable_loss import unstable_loss
from longreach.quantities.restless import Restless
from longreach.record import LossCurve


def run(*jumps, moved=1.0, restless=None, **told):
    return replace(record(), spikes=jumps, updates=(updates(moved),), restless=restless, **told)


def test_three_jumps_beyond_the_first_tenth():
    assert unstable_loss(run(jump(200), jump(400))) == ()
    assert unstable_loss(run(jump(20), jump(50), jump(400))) == ()
    (finding,) = unstable_loss(run(jump(200), jump(400, height=9.0, lag=12), jump(600)))
    assert (finding.severity, finding.where, finding.evidence["step"]) == ("critical", "rnn", 400)
    assert finding.summary == (
        "At step 400 the loss jumped from 0.3 to 9, 30 times its level, for 9 steps. Beyond the first tenth of "
        "the run it jumped 3 times. The first gradient to rise was that of rnn, 12 steps back in time: at step "
        "399 it was 33 times its usual size. In this run the loss hardly falls."
    )


@pytest.mark.parametrize(
    ("one", "moved", "fires"),
    [
        (jump(500, over=False), 1.0, 1),
        (jump(500, lasted=63, over=True), 1.0, 0),
        (jump(500, over=False, rose=501), 1.0, 0),  # the loss rose first: a change of task
        (jump(500, over=False, rose=-1, factor=0.0, module=""), 1.0, 0),
        (jump(500, over=False, rose=-1, factor=0.0, module=""), 5.1, 1),
        (jump(500, over=False, factor=9.9), 1.0, 0),
    ],
)
def test_one_jump_that_is_not_over_and_that_the_weights_or_gradients_explain(one, moved, fires):
    assert len(unstable_loss(run(one, moved=moved))) == fires


@pytest.mark.parametrize(
    ("restless", "kind"),
    [
        (Restless(900, 0.005, 1e4, 0.0), "bursts"),
        (Restless(900, 0.0049, 1e4, 0.0), None),
        (Restless(300, 0.005, 1e4, 0.0), None),
        (Restless(100, 0.0, 1.0, -0.4), "swing"),
        (Restless(99, 0.0, 1.0, -0.4), None),
        (Restless(900, 0.0, 1.0, -0.39), None),
        (Restless(900, 0.0, 1.0, 0.9), None),
    ],
)
def test_bursts_and_swinging(restless, kind):
    assert [finding.evidence["kind"] for finding in unstable_loss(run(restless=restless))] == ([kind] if kind else [])


def test_a_run_that_learns_all_the_same_is_told_of_its_jumps_alone():
    jumps = [jump(200), jump(400), jump(600)]
    (finding,) = unstable_loss(run(*jumps, loss=LEARNT))
    assert finding.severity == "info"
    assert unstable_loss(run(loss=LEARNT, restless=Restless(900, 0.1, 1e4, -0.9))) == ()
    (finding,) = unstable_loss(run(*jumps, chance=0.25))
    assert finding.severity == "warning"


@pytest.mark.parametrize(("end", "severities"), [(1.5, ["critical"]), (1.3, []), (math.nan, ["critical"])])
def test_a_run_that_ends_in_a_jump_has_lost_what_it_had(end, severities):
    loss = LossCurve(LEARNT.steps, (*LEARNT.values[:-5], *[end] * 5))
    ends = jump(950, lasted=50, over=False, rose=951)
    assert [found.severity for found in unstable_loss(run(ends, loss=loss, chance=0.7))] == severities
    assert unstable_loss(run(loss=loss, chance=0.7)) == ()
