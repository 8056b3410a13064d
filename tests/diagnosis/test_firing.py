"""Every rule has a record on which it fires, and there nothing graver hides it."""

import inspect

import pytest
from tests.diagnosis.firing import FIRING

from longreach.diagnosis import RULES, diagnose


def test_every_rule_has_its_record():
    assert list(FIRING) == list(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_fires_and_is_the_verdict(rule):
    (finding,) = rule(FIRING[rule])
    head = inspect.getmodule(rule).__doc__.split(".")[0].split(",")[0]
    assert head == f"{finding.code} {finding.name}"
    assert diagnose(FIRING[rule]).verdict == finding.name
