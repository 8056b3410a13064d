"""LR302 saturated-units: which share of which layer, in a run that does not learn."""

from dataclasses import replace
from functools import partial

import pytest
from tests.diagnosis import literals
from tests.diagnosis.literals import CHANCE, LEARNT, record

from longreach.diagnosis.saturated_units import saturated_units
from longreach.quantities.inputs import Input

units = partial(literals.units, "rnn", "RNN tanh", saturated=1.0)


def found(*layers, loss=CHANCE, chance=None, inputs=()):
    return saturated_units(replace(record(loss=loss), units=layers, chance=chance, inputs=inputs))


@pytest.mark.parametrize(
    ("share", "severity"), [(1.0, "critical"), (0.9, "critical"), (0.89, "warning"), (0.5, "warning")]
)
def test_fires(share, severity):
    (finding,) = found(units(saturated=share))
    assert (finding.code, finding.severity, finding.where) == ("LR302", severity, "rnn")


@pytest.mark.parametrize(
    ("layer", "loss"), [(units(saturated=0.49), CHANCE), (units(), LEARNT), (units(hidden=False), CHANCE)]
)
def test_silent(layer, loss):
    assert found(layer, loss=loss) == ()


@pytest.mark.parametrize(("since", "fires"), [(100, True), (101, False)])
def test_where_a_little_is_learned_only_units_that_were_so_from_the_start_count(since, fires):
    level = 0.17 / 0.7  # the run stands at 70 % of chance
    assert bool(found(units(since=since), chance=level)) is fires
    assert found(units(since=since), chance=2 * level) == ()


def test_of_an_input_in_bad_units_it_is_the_consequence():
    offset = Input("rnn", 3, 1e4, 1e4, 1e4, 1.0, 1.0, 1.0, 1.0, 3)
    (finding,) = found(units(), inputs=(offset,))
    assert finding.severity == "warning"
