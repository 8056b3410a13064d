"""LR602 badly-scaled-input: offset, spread and size of the data, in a run that suffers."""

from dataclasses import replace

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, inputs, record

from longreach.diagnosis.badly_scaled_input import badly_scaled_input


def found(*given, loss=CHANCE, chance=None):
    return badly_scaled_input(replace(record(loss=loss), inputs=given, chance=chance))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (inputs(mean=-10.0), "not centred"),
        (inputs(largest=100.0), "very different units"),
        (inputs(scale=100.0), "very large"),
        (inputs(scale=0.01), "very small"),
    ],
)
def test_fires(bad, said):
    (finding,) = found(inputs(), bad)
    assert (finding.code, finding.severity, finding.where) == ("LR602", "critical", "fc")
    assert said in finding.summary
    assert found(bad, loss=LEARNT) == ()
    (finding,) = found(bad, chance=0.17 / 0.7)
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "fair", [inputs(), inputs(mean=9.9), inputs(largest=99.0), inputs(scale=99.0), inputs(scale=0.011)]
)
def test_silent(fair):
    assert found(fair) == ()


def test_an_offset_is_told_before_the_size_that_comes_with_it():
    (finding,) = found(inputs(scale=1e4, mean=1e4))
    assert "has the mean 1e+04" in finding.summary
    assert "Subtract each feature's mean" in finding.summary
