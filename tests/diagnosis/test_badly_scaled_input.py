"""LR602 badly-scaled-input: offset, spread and size of the data, in a run that suffers."""

from dataclasses import replace

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, record

from longreach.diagnosis.badly_scaled_input import badly_scaled_input
from longreach.quantities.inputs import Input


def given(scale=1.0, mean=0.1, deviation=1.0, largest=1.0, smaller=1.0):
    return Input("fc", 5, scale, abs(mean) / deviation, mean, deviation, largest / smaller, largest, smaller, 3)


def found(*inputs, loss=CHANCE, chance=None):
    return badly_scaled_input(replace(record(loss=loss), inputs=inputs, chance=chance))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (given(mean=-10.0), "not centred"),
        (given(largest=100.0), "very different units"),
        (given(scale=100.0), "very large"),
        (given(scale=0.01), "very small"),
    ],
)
def test_fires(bad, said):
    (finding,) = found(given(), bad)
    assert (finding.code, finding.severity, finding.where) == ("LR602", "critical", "fc")
    assert said in finding.summary
    assert found(bad, loss=LEARNT) == ()
    (finding,) = found(bad, chance=0.17 / 0.7)
    assert finding.severity == "warning"


@pytest.mark.parametrize("fair", [given(), given(mean=9.9), given(largest=99.0), given(scale=99.0), given(scale=0.011)])
def test_silent(fair):
    assert found(fair) == ()


def test_an_offset_is_told_before_the_size_that_comes_with_it():
    (finding,) = found(given(scale=1e4, mean=1e4))
    assert "has the mean 1e+04" in finding.summary
    assert "Subtract each feature's mean" in finding.summary
