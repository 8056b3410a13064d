import math

import pytest
from tests.diagnosis.literals import LEARNT, layer, reach, record

from longreach.diagnosis.exploding_in_time import exploding_in_time
from longreach.record import LossCurve, NonFinite

GROWS = layer(reach=reach(149, growth=0.1, log_gain=(0.0, 7.45, 14.9)))


def nonfinite(cause):
    return NonFinite(3, "forward", cause, "rnn", None, None, "nan")


@pytest.mark.parametrize(
    ("log_gain", "growth", "fires"),
    [
        ((0.0, 2.0, math.log(100) + 1e-9), 0.03, True),
        ((0.0, 2.0, math.log(100) - 1e-9), 0.03, False),
        ((0.0, 2.0, math.log(100) + 1e-9), 0.0, False),
        ((0.0, math.log(3), -2.0), -0.01, False),
        ((0.0, math.log(300), 2.0), -0.01, False),
        ((0.0, 9.0, math.inf), math.nan, True),
        ((0.0, 9.0, math.inf), math.inf, True),
        ((0.0, math.nan, 9.0), 0.1, True),
        ((0.0, math.nan, math.nan), math.nan, False),
        ((0.0, -math.inf, -math.inf), -math.inf, False),
    ],
)
def test_beyond_a_hundred_and_growing(log_gain, growth, fires):
    assert bool(exploding_in_time(record(layer(reach=reach(149, growth=growth, log_gain=log_gain))))) is fires


def test_the_threshold_is_that_of_reach():
    low = layer(reach=reach(149, threshold=0.5, growth=0.01, log_gain=(0.0, 0.3, math.log(2))))
    assert exploding_in_time(record(low))


def test_a_warning_in_a_run_that_holds():
    (finding,) = exploding_in_time(record(GROWS, loss=LEARNT))
    assert finding.severity == "warning"
    assert finding.summary == (
        "A gradient sent back 149 steps grows to 3.0e+6 times its size: a single batch can throw the weights far away."
    )


@pytest.mark.parametrize(
    ("run", "severity"),
    [
        ({"nonfinite": nonfinite("overflow")}, "critical"),
        ({"nonfinite": nonfinite("data")}, "warning"),
        ({"loss": LossCurve((0, 1, 2), (1.0, 1.0, math.nan))}, "critical"),
        ({"loss": LossCurve(tuple(range(21)), (1.0,) * 15 + (40.0,) + (1.0,) * 5)}, "critical"),
        ({"loss": None}, "warning"),
    ],
)
def test_critical_where_the_run_shows_it(run, severity):
    (finding,) = exploding_in_time(record(GROWS, **run))
    assert finding.severity == severity


def test_one_finding_a_stack_at_its_worst_layer():
    worse = layer(index=1, reach=reach(149, growth=0.2, log_gain=(0.0, 15.0, 30.0)))
    (finding,) = exploding_in_time(record(GROWS, worse))
    assert (finding.evidence["layer"], finding.evidence["log_gain"]) == (1, 30.0)


def test_silent_without_reach():
    assert exploding_in_time(record(layer())) == ()
