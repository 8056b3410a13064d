"""What two inputs tell only together, in every rule that looks at need."""

from dataclasses import replace

import pytest
from tests.diagnosis.literals import layer, need, reach, record

from longreach.diagnosis import diagnose
from longreach.diagnosis.no_signal import no_signal
from longreach.diagnosis.short_reach_harmless import short_reach_harmless
from longreach.diagnosis.stacks import stacks
from longreach.diagnosis.vanishing_in_time import vanishing_in_time
from longreach.record import DeepNeed, LongMemory


def deep(lag=140, partner=30, detectable=0.01, scanned=1.0):
    return DeepNeed(need(lag, detectable), None if lag is None else partner, scanned, 2.0)


def deepened(single=None, together=None, **options):
    return replace(layer(reach=reach(lag=11), need=need(single), **options), deep=together)


@pytest.mark.parametrize(
    ("single", "together", "lag", "partner"),
    [(None, 140, 140, 30), (5, 140, 140, 30), (5, None, 5, None), (140, 5, 140, None), (None, None, None, None)],
)
def test_the_further_of_both_needs_counts(single, together, lag, partner):
    (stack,) = stacks(record(deepened(single, deep(together))))
    assert (stack.need.lag, stack.partner) == (lag, partner)


def test_without_the_deep_test_all_is_as_it_was():
    (stack,) = stacks(record(deepened(5)))
    assert (stack.need.lag, stack.deep, stack.partner) == (5, None, None)


def test_vanishing_in_time_says_with_which_input():
    (finding,) = vanishing_in_time(record(deepened(5, deep(140, 30))))
    assert "on the input 140 steps back, read together with the one 30 steps back, which the network" in finding.summary
    assert (finding.evidence["need"], finding.evidence["partner"]) == (140, 30)
    assert not vanishing_in_time(record(deepened(5, deep(11))))
    (single,) = vanishing_in_time(record(deepened(140, deep(100))))
    assert "partner" not in single.evidence


def test_a_short_reach_does_harm_where_two_inputs_lie_beyond_it():
    assert short_reach_harmless(record(deepened(5, deep(11))))
    assert not short_reach_harmless(record(deepened(5, deep(12))))


def test_a_signal_of_two_inputs_is_a_signal():
    assert not no_signal(record(deepened(None, deep(140))))
    (without,) = no_signal(record(deepened()))
    (weak,) = no_signal(record(deepened(None, deep(None, detectable=0.3))))
    (strong,) = no_signal(record(deepened(None, deep(None, detectable=0.2))))
    assert without.summary == weak.summary
    assert "unless it counts only together with another." in without.summary
    assert "unless it counts only together with two others." in strong.summary


def test_the_small_print():
    memory = LongMemory(0.31, 0.05, 1e-9, 22, 500, 64, 1)
    text = str(diagnose(record(replace(deepened(None, deep(140, 30)), memory=memory))))
    assert "need 140" in text
    printed = " ".join(text.split())
    assert (
        "deep the input 140 steps back, read together with the one 30 back: 384 sequences, p = 0.0004 over all pairs "
        "of lags (level 1%); smallest effect it would have found: 1% of the error"
    ) in printed
    assert "memory of the input: d = 0.31 +- 0.05 (0 short memory, 0.5 the border of long), p = 1e-09" in printed
    cut_short = " ".join(str(diagnose(record(deepened(5, deep(None, scanned=0.4))))).split())
    assert "deep no two inputs that count together: 384 sequences" in cut_short
    assert "; there was time for 40% of all pairs, the furthest" in cut_short
    assert "there was time" not in printed
