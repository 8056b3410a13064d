import math

import pytest
from tests.diagnosis.literals import LEARNT, record

from longreach.diagnosis.non_finite import non_finite
from longreach.record import LossCurve, NonFinite


def judged(**changes):
    facts = {
        "step": 312,
        "direction": "backward",
        "cause": "overflow",
        "module": "encoder.rnn",
        "operation": "MmBackward0",
        "time_step": 41,
        "value": "inf",
    }
    (finding,) = non_finite(record(nonfinite=NonFinite(**(facts | changes))))
    return finding


def test_says_where_and_why():
    finding = judged()
    assert (finding.code, finding.severity, finding.where) == ("LR401", "critical", "encoder.rnn")
    assert finding.summary == (
        "The first infinity appeared at training step 312, on the way back, at time step 41, in MmBackward0. All "
        "inputs and weights were finite: the gradient grew too large on its way back."
    )
    assert finding.remedies == ("clip-state-gradient", "truncated-bptt", "orthogonal-init")


def test_data_are_for_the_user_to_mend():
    finding = judged(cause="data", direction="forward", value="nan", operation=None, time_step=None, module=None)
    assert (finding.where, finding.remedies) == ("model", ())
    assert finding.summary == (
        "The first NaN appeared at training step 312, on the way forward. It came in with the data: the network is "
        "not at fault. Find and mend the inputs that hold it."
    )


@pytest.mark.parametrize(
    ("changes", "words", "remedies"),
    [
        (
            {"direction": "forward"},
            "grew too large inside the network",
            ("clip-norm", "clip-auto", "guard", "layer-norm"),
        ),
        ({"cause": "weights"}, "an update before it was too large", ("clip-norm", "clip-auto")),
        ({"cause": "weights", "step": 0}, "initialised or loaded", ()),
        ({"cause": "unknown"}, "could not be told", ()),
    ],
)
def test_remedies_differ_by_cause(changes, words, remedies):
    finding = judged(**changes)
    assert words in finding.summary
    assert finding.remedies == remedies


@pytest.mark.parametrize(
    ("direction", "operation", "what"), [("forward", "log", "value"), ("backward", "sqrt", "slope")]
)
def test_an_operation_at_the_edge_of_its_domain_needs_no_medicine(direction, operation, what):
    finding = judged(direction=direction, operation=operation, time_step=None)
    assert finding.remedies == ()
    assert finding.summary.endswith(
        f"in {operation}. All inputs and weights were finite: the operation has no finite {what} for what it was "
        "given. Keep its input away from there, with a clamp or a small constant added."
    )


def test_a_broken_loss_counts_even_without_a_place():
    (finding,) = non_finite(record(loss=LossCurve((0, 10, 20), (1.0, math.inf, 1.0))))
    assert (finding.where, finding.evidence) == ("loss", {"step": 10, "cause": "unknown"})


def test_silent_on_finite_runs():
    assert non_finite(record(loss=LEARNT)) == ()
    assert non_finite(record(loss=None)) == ()
