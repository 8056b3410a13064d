import dataclasses
import math

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, layer, reach, record

from longreach.diagnosis.exploding_in_depth import exploding_in_depth
from longreach.quantities.depth import Depth
from longreach.record import LossCurve, NonFinite

LAYERS = ("head", "blocks.2", "blocks.1", "blocks.0")
OVERFLOW = NonFinite(3, "forward", "overflow", "blocks.2", None, None, "inf")
FROM_DATA = NonFinite(3, "forward", "data", "blocks.0", None, None, "nan")


def run(at_start, late=(0.0, 0.0, 0.0, 0.0), *, loss=CHANCE, chance=0.17, nonfinite=None):
    depth = Depth("blocks.0 to head", "layers", LAYERS, late, at_start, 1.0, 6)
    return dataclasses.replace(record(loss=loss, nonfinite=nonfinite), depth=(depth,), chance=chance)


@pytest.mark.parametrize(
    ("at_start", "fires"),
    [
        ((0.0, 3.0, 3.0 + math.log(10) + 1e-9, 2.0), True),
        ((0.0, 3.0, 3.0 + math.log(10) - 1e-9, 2.0), False),
        ((0.0, 0.0, 0.0, 9.0), False),  # one layer alone
        ((0.0, -1.0, -2.0, -3.0), False),
        ((0.0,), False),
    ],
)
def test_tenfold_without_the_largest_layer(at_start, fires):
    assert bool(exploding_in_depth(run(at_start, nonfinite=OVERFLOW))) is fires


def test_a_gain_that_training_brought_is_none_of_its_business():
    assert exploding_in_depth(run((0.0, 0.0, 0.0, 0.0), (0.0, 5.0, 10.0, 15.0), nonfinite=OVERFLOW)) == ()


def test_growth_in_time_is_told_of_as_such():
    grows = layer(reach=reach(149, growth=0.1, log_gain=(0.0, 7.45, 14.9)))
    assert exploding_in_depth(dataclasses.replace(run((0.0, 3.0, 6.0, 9.0), nonfinite=OVERFLOW), layers=(grows,))) == ()


def test_says_where_it_is_largest():
    (finding,) = exploding_in_depth(run((0.0, 3.0, 6.0, 5.0), nonfinite=OVERFLOW))
    assert finding.summary == (
        "At the start of the run a gradient at head grows to 403 times its size on its way down 2 layers: a step "
        "throws the lower weights far away. In this run numbers became NaN or infinite."
    )
    assert (finding.evidence["at"], finding.evidence["layers"]) == ("blocks.1", 2)


@pytest.mark.parametrize(
    ("case", "severity"),
    [
        ({"nonfinite": OVERFLOW}, "critical"),
        ({"nonfinite": FROM_DATA, "chance": 0.5}, None),
        ({"loss": LossCurve(tuple(range(21)), (1.0,) * 15 + (40.0,) + (1.0,) * 5), "chance": 10.0}, "critical"),
        ({"chance": 0.017}, "critical"),
        ({"chance": 0.17}, "warning"),
        ({"loss": LEARNT, "chance": 0.5}, None),
    ],
)
def test_only_where_the_run_shows_it(case, severity):
    found = exploding_in_depth(run((0.0, 3.0, 6.0, 9.0), **case))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_a_gain_below_a_hundred_wants_more_than_a_run_that_does_not_learn():
    grown = (0.0, 3.0, 6.0, 6.5)  # without its largest layer 3.5: 33 times
    assert exploding_in_depth(run(grown)) == ()
    assert exploding_in_depth(run(grown, nonfinite=OVERFLOW))


@pytest.mark.parametrize(("peak", "end", "severity"), [(10.0, 1.0, "critical"), (9.9, 1.0, None), (10.0, 0.8, None)])
def test_what_the_first_steps_threw_away_was_not_won_back(peak, end, severity):
    """A gain of 30, too little to count by itself."""
    loss = LossCurve(tuple(range(21)), (peak,) + (end,) * 20)
    found = exploding_in_depth(run((0.0, 3.4, 6.8 - math.log(2), 3.0), loss=loss, chance=1.0))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
