from dataclasses import replace

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, layer, need, reach, record

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.reached_but_unlearned import reached_but_unlearned
from longreach.diagnosis.truncated_too_short import truncated_too_short
from longreach.diagnosis.vanishing_in_time import vanishing_in_time
from longreach.quantities.windows import Windows
from longreach.record import LossCurve

WINDOW = Windows("rnn", 20, 160, 50)
LAYER = layer(reach=reach(19, horizon=19), need=need(63))


def run(*layers, windows=(WINDOW,), loss=CHANCE):
    return replace(record(*layers, loss=loss), windows=windows)


def test_the_whole_finding():
    assert truncated_too_short(run(LAYER)) == (
        Finding(
            code="LR104",
            name="truncated-too-short",
            severity="critical",
            where="rnn",
            summary="The error still depends on the input 63 steps back, and gradients are cut every 20 steps: no "
            "weight ever hears of it, though the state is carried on. A window of 128 steps would do.",
            evidence={
                "window": 20,
                "need": 63,
                "p_value": 0.0004,
                "strength": 0.34,
                "would_do": 128,
                "seen": 160,
            },
            remedies=("truncated-bptt",),
        ),
    )


@pytest.mark.parametrize(("lag", "fires"), [(19, False), (20, True), (None, False)])
def test_need_beyond_the_window(lag, fires):
    found = truncated_too_short(run(layer(reach=reach(19, horizon=19), need=need(lag))))
    assert bool(found) is fires


@pytest.mark.parametrize(("lag", "enough"), [(20, 32), (24, 32), (25, 64), (50, 64), (51, 128)])
def test_a_window_that_would_do(lag, enough):
    (finding,) = truncated_too_short(run(layer(reach=reach(19, horizon=19), need=need(lag))))
    assert finding.evidence["would_do"] == enough


@pytest.mark.parametrize(("share", "fires"), [(0.019, False), (0.021, True)])
def test_what_hardly_matters_is_no_fault(share, fires):
    weak = replace(need(63), lags=(3, 63), strength=(0.5, share))
    assert bool(truncated_too_short(run(layer(reach=reach(19, horizon=19), need=weak)))) is fires


def test_stays_silent():
    assert truncated_too_short(run(LAYER, windows=())) == ()
    assert truncated_too_short(run(LAYER, windows=(replace(WINDOW, module="other"),))) == ()
    assert truncated_too_short(run(LAYER, loss=LEARNT)) == ()
    assert truncated_too_short(run(layer(reach=reach(19, horizon=19), need=None))) == ()


def test_a_warning_where_the_rest_of_the_task_is_being_learned():
    loss = LossCurve(tuple(range(100)), (3.0,) * 10 + (1.0,) * 60 + (0.7,) * 30)
    (finding,) = truncated_too_short(run(LAYER, loss=loss))
    assert finding.severity == "warning"
    assert finding.summary.endswith("What lies within the window is being learned: the loss fell by 30%.")


def test_a_need_beyond_the_window_is_not_vanishing_unless_the_reach_ends_before():
    assert vanishing_in_time(run(LAYER)) == ()
    (finding,) = vanishing_in_time(run(layer(reach=reach(11, horizon=19), need=need(63))))
    assert finding.code == "LR101"


def test_a_layer_that_cuts_by_itself_reaches_no_further_than_its_cut():
    inner = layer(reach=reach(149, horizon=149), need=need(63))
    assert [finding.code for finding in truncated_too_short(run(inner))] == ["LR104"]
    assert reached_but_unlearned(run(inner)) == ()
    assert [finding.code for finding in reached_but_unlearned(run(inner, windows=()))] == ["LR502"]
