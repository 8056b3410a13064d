"""What is to be tried."""

import pytest

from longreach.diagnosis import Diagnosis, Finding
from longreach.quantities.clipping import Clipping
from longreach.record import Record
from longreach.trial.prescriptions import candidates, need_of, prescribed
from longreach.trial.runs import Result


def diagnosis(*findings, clipping=None):
    return Diagnosis(Record({}, 10, 1.0, 0.0, (), None, None, clipping=clipping), findings)


def finding(code, name, severity, remedies, **evidence):
    return Finding(code, name, severity, "rnn", "", evidence, remedies)


VANISHING = finding("LR101", "vanishing-in-time", "critical", ("identity-init", "lstm", "skip", "none-such"), need=90)
UNSTABLE = finding("LR501", "unstable-loss", "warning", ("clip-norm", "lstm"))


def forecast(reach, *, refused=None, failed=None):
    return Result("", 0, 1, 0.1, (), (), 1.0, 1.0, 1.0, reach, failed, refused, None, None)


def test_the_gravest_finding_comes_first_and_nothing_twice():
    assert candidates(diagnosis(UNSTABLE, VANISHING)) == [
        "identity-init+clip-norm",
        "lstm+forget-bias",
        "skip+clip-norm",
        "clip-norm",
    ]


def test_nothing_is_prescribed_for_what_is_only_good_to_know():
    assert candidates(diagnosis(finding("LR103", "short-reach-harmless", "info", ("lstm",)))) == []
    assert candidates(diagnosis()) == []


def test_a_script_that_clips_gets_no_second_limit():
    found = candidates(diagnosis(VANISHING, clipping=Clipping("clip_grad_norm_", 1.0, 10, 0.5, 2.0)))
    assert found == ["identity-init", "lstm+forget-bias", "skip"]


def test_what_reaches_far_enough_comes_first_in_the_rules_order_then_the_others_by_reach():
    reaches = {"a": forecast(50), "b": forecast(95), "c": forecast(99), "d": forecast(60), "e": forecast(None)}
    assert prescribed(["a", "b", "c", "d", "e"], reaches, 90) == ["b", "c", "d", "a", "e"]


def test_what_does_not_fit_is_left_out_and_what_failed_comes_last():
    reaches = {"a": forecast(None, refused="no"), "b": forecast(None, failed="no step"), "c": forecast(3)}
    assert prescribed(["a", "b", "c"], reaches, 90) == ["c", "b"]


def test_without_a_need_the_order_stays():
    assert prescribed(["a", "b"], {"a": forecast(1), "b": forecast(9)}, None) == ["a", "b"]


def test_no_more_than_asked_for():
    assert prescribed(list("abcdefgh"), {}, None, most=3) == ["a", "b", "c"]


@pytest.mark.parametrize(("findings", "need"), [((UNSTABLE, VANISHING), 90), ((UNSTABLE,), None), ((), None)])
def test_the_need_is_that_beyond_reach(findings, need):
    assert need_of(diagnosis(*findings)) == need
