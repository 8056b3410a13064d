from dataclasses import replace

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, record

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.wrong_gradient import wrong_gradient
from longreach.quantities.crosscheck import Crosscheck
from longreach.record import LossCurve

WRONG = Crosscheck("net.act", "FastTanh", "differences", "x", "64x128", "float32", 0.62, 0.31, "", 5)
REPLAY = Crosscheck("net.norm", "MyNorm", "replay", "output", "64x128", "float32", 0.3, 1.1, "", 5)
FALLING = LossCurve(tuple(range(100)), (3.0,) * 10 + (1.0,) * 60 + (0.7,) * 30)


def judged(*checks, loss=CHANCE):
    return wrong_gradient(replace(record(loss=loss), crosschecks=checks))


def test_the_whole_finding():
    assert judged(WRONG) == (
        Finding(
            code="LR402",
            name="wrong-gradient",
            severity="critical",
            where="net.act",
            summary="What the backward of FastTanh returns for x (64x128, float32) is not the derivative of its "
            "forward: it is off by 62% in 5 sampled steps, and 0.31 times as large along it. Mend the backward; "
            "torch.autograd.gradcheck shows it entry by entry.",
            evidence={
                "subject": "FastTanh",
                "part": "x",
                "shape": "64x128",
                "dtype": "float32",
                "error": 0.62,
                "ratio": 0.31,
                "samples": 5,
            },
        ),
    )


@pytest.mark.parametrize(
    ("error", "severity"), [(0.019, None), (0.021, "info"), (0.099, "info"), (0.101, "warning"), (0.51, "critical")]
)
def test_severity_by_error(error, severity):
    found = judged(replace(WRONG, error=error))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


@pytest.mark.parametrize(("loss", "severity"), [(FALLING, "warning"), (LEARNT, "info"), (None, "warning")])
def test_severity_by_what_the_run_makes_of_it(loss, severity):
    (finding,) = judged(WRONG, loss=loss)
    assert finding.severity == severity


def test_what_is_meant():
    assert judged(replace(WRONG, design="identity")) == ()
    (finding,) = judged(replace(WRONG, design="straight-through"))
    assert finding.severity == "info"
    assert "straight-through estimator" in finding.summary


def test_of_several_parts_the_worst_is_told_and_a_wrong_one_before_one_that_may_be_meant():
    parts = [replace(WRONG, part=part, error=error) for part, error in (("x", 0.2), ("weight", 0.9), ("bias", 0.001))]
    (finding,) = judged(*parts)
    assert finding.evidence["part"] == "weight"
    (finding,) = judged(replace(WRONG, design="straight-through", error=1.0), replace(WRONG, part="weight", error=0.3))
    assert finding.evidence["part"] == "weight"


def test_a_function_is_told_once_and_a_module_by_its_place():
    twice = [replace(WRONG, place=place) for place in ("net.0", "net.1")]
    assert len(judged(*twice)) == 1
    twice = [replace(REPLAY, place=place) for place in ("net.0", "net.1")]
    assert [finding.where for finding in judged(*twice)] == ["net.0", "net.1"]


def test_the_sign_is_named():
    (finding,) = judged(replace(WRONG, ratio=-1.0, error=1.0))
    assert "off by 100% in 5 sampled steps, and its sign is reversed" in finding.summary


def test_a_module_against_its_replay():
    (finding,) = judged(REPLAY)
    assert finding.summary == (
        "The output of MyNorm (64x128, float32) is off by 30% from the same computation in double precision, in 5 "
        "sampled steps: a faulty kernel, or arithmetic that loses its digits."
    )
    (finding,) = judged(replace(REPLAY, part="weight"))
    assert finding.summary.startswith("The gradient for weight of MyNorm")
