"""LR301 dead-units: which share of which layer, and whether the run suffers."""

import math
from dataclasses import replace
from functools import partial

import pytest
from tests.diagnosis import literals
from tests.diagnosis.literals import CHANCE, LEARNT, record

from longreach.diagnosis.dead_units import dead_units
from longreach.record import LossCurve

units = partial(literals.units, dead=1.0, cut=True)


def found(*layers, loss=CHANCE, chance=None):
    return dead_units(replace(record(loss=loss), units=layers, chance=chance))


@pytest.mark.parametrize(
    ("layer", "loss", "severity"),
    [
        (units(), CHANCE, "critical"),
        (units(), LEARNT, "info"),
        (units(cut=False), CHANCE, "warning"),
        (units(dead=0.51, cut=False), CHANCE, "warning"),
        (units(dead=0.51, cut=False), LEARNT, "info"),
    ],
)
def test_fires(layer, loss, severity):
    (finding,) = found(layer, loss=loss)
    assert (finding.code, finding.name, finding.severity, finding.where) == ("LR301", "dead-units", severity, "fc1")


def test_silent_below_half():
    assert found(units(dead=0.49, cut=False)) == ()
    assert found() == ()


def test_a_wall_in_a_run_that_learns_a_little_is_critical_all_the_same():
    falling = replace(CHANCE, values=tuple(0.2 * 0.995**step for step in range(100)))
    (finding,) = found(units(), loss=falling, chance=0.2)
    assert finding.severity == "critical"


def test_the_lowest_of_the_worst_is_named():
    (finding,) = found(units("fc3"), units("fc2"), units("fc1"), units("fc0", dead=0.6, cut=False))
    assert finding.where == "fc1"
    assert finding.evidence["layers"] == 4
    assert "3 other layers have lost half or more" in finding.summary


def test_a_wall_comes_before_a_dead_branch_below():
    (finding,) = found(units("head"), units("branch", cut=False))
    assert finding.where == "head"


def test_units_of_a_run_that_broke_are_neither_dead_nor_alive():
    broke = LossCurve(tuple(range(40)), (0.8,) * 20 + (math.nan,) * 20)
    assert found(units(), loss=broke) == ()
    caught = LossCurve(tuple(range(40)), (0.8,) * 35 + (math.nan,) * 2 + (0.8,) * 3)
    assert found(units(), loss=caught)
