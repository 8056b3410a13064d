import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnosis.literals import LEARNT, layer, need, reach, record

from longreach.diagnosis import RULES, Diagnosis, Finding, diagnose
from longreach.record import Denormals, Layer, Record

HEADINGS = ("Looks at", "Why it matters", "Threshold", "Stays silent", "Blind to", "Remedies", "Papers")
REMEDIES = """\
clip-norm · clip-auto · clip-state-gradient · truncated-bptt · flush-denormals · identity-init ·
orthogonal-init · orthogonal · forget-bias · relu · leaky-relu · prelu · elu · selu · lstm · gru · skip · dilated ·
residual · batch-norm · layer-norm · vanishing-regulariser · leaky-integration · linear-recurrent · rmsprop · nesterov ·
sparsity · layerwise-pretraining""".replace("\n", " ").split(" · ")
VANISHING = layer(reach=reach(11), need=need(140), denormals=Denormals(60, 149, 0.6, False))
ANY_LAYER = st.builds(Layer, need_start=..., denormals=..., blind=...)
ANY_RECORD = st.builds(
    Record,
    run=st.dictionaries(st.text(), st.text() | st.floats() | st.integers()),
    layers=st.lists(ANY_LAYER, max_size=12).map(tuple),
    notes=...,
)


def test_the_gravest_is_the_verdict():
    diagnosis = diagnose(record(VANISHING))
    assert [finding.code for finding in diagnosis.findings] == ["LR101", "LR403"]
    assert diagnosis.verdict == "vanishing-in-time"


def test_among_equals_the_lowest_code():
    findings = [Finding(code, code.lower(), grade, "rnn", "", {}) for code, grade in
                [("LR103", "info"), ("LR502", "warning"), ("LR403", "warning")]]  # fmt: skip
    diagnosis = Diagnosis(record(), tuple(findings))
    assert (diagnosis.verdict, diagnosis.gravest) == ("lr403", findings[2])


def test_healthy_without_a_finding():
    diagnosis = diagnose(record(layer(reach=reach(149), need=need(None)), loss=LEARNT))
    assert (diagnosis.findings, diagnosis.verdict, diagnosis.gravest) == ((), "healthy", None)


def test_printing_shows_the_picture():
    assert "reach 11   need 140   of 149 steps   LR101 vanishing-in-time" in str(diagnose(record(VANISHING)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_has_its_data_sheet(rule):
    lines = [line.strip() for line in rule.__doc__.splitlines()]
    found = [heading for line in lines for heading in HEADINGS if line.startswith(f"{heading}  ")]
    assert found == list(HEADINGS)


@given(ANY_RECORD)
@settings(deadline=None, max_examples=40)
def test_never_fails_on_any_record(anything):
    diagnosis = diagnose(anything)
    assert all(remedy in REMEDIES for finding in diagnosis.findings for remedy in finding.remedies)
    assert all(finding.summary.endswith(".") for finding in diagnosis.findings)


def test_judging_and_drawing_never_see_torch():
    code = (
        "import sys, longreach.diagnosis, longreach.report.terminal, longreach.report.json; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
