from dataclasses import replace

import pytest
from tests.diagnosis.literals import LEARNT, record, updates

from longreach.diagnosis.clipping_always_binds import clipping_always_binds
from longreach.quantities.clipping import NORM, VALUE, Clipping


def run(bound=1.0, factor=300.0, by=NORM, optimizer="SGD", moved=0.05, **told):
    return replace(
        record(),
        updates=(updates(moved, optimizer=optimizer),),
        clipping=Clipping(by, 1e-3, 900, bound, factor),
        **told,
    )


@pytest.mark.parametrize(("bound", "factor", "fires"), [(0.9, 10.0, 1), (0.89, 10.0, 0), (0.9, 9.9, 0), (1.0, 1e6, 1)])
def test_at_nearly_every_step_and_by_much(bound, factor, fires):
    assert len(clipping_always_binds(run(bound, factor))) == fires


@pytest.mark.parametrize(
    ("told", "severity"),
    [
        ({}, "critical"),
        ({"chance": 0.25}, "warning"),
        ({"loss": LEARNT}, "info"),
        ({"optimizer": "AdamW"}, "info"),
        ({"moved": 0.6}, "info"),
    ],
)
def test_grave_where_it_holds_the_weights_back(told, severity):
    (finding,) = clipping_always_binds(run(**told))
    assert finding.severity == severity


def test_what_it_says():
    (finding,) = clipping_always_binds(run())
    assert finding.summary == (
        "Clipping to a norm of 0.001 binds at 100% of the steps, and makes the gradient 300 times smaller: the "
        "limit, not the gradient, sets the size of the steps. In this run the loss hardly falls."
    )
    assert finding.evidence["norm_before"] == pytest.approx(0.3)
    (adam,) = clipping_always_binds(run(optimizer="Adam", by=VALUE))
    assert adam.summary.startswith("Clipping to a largest entry of 0.001")
    assert adam.summary.endswith("The optimizer divides a constant factor out again, so that this costs little.")
    assert adam.evidence["norm_before"] is None


def test_silent_where_none_was_seen():
    assert clipping_always_binds(record()) == ()


@pytest.mark.parametrize(("chance", "fires"), [(0.33, True), (0.35, False)])
def test_silent_where_most_is_learned_all_the_same(chance, fires):
    """The loss of these records stays at 0.17."""
    assert bool(clipping_always_binds(run(chance=chance))) is fires
