import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, layer, need, reach, record

from longreach.diagnosis.short_reach_harmless import short_reach_harmless


def test_says_what_would_have_been_found():
    (finding,) = short_reach_harmless(record(layer(reach=reach(11), need=need(None)), loss=LEARNT))
    assert (finding.code, finding.severity, finding.remedies) == ("LR103", "info", ())
    assert finding.summary == (
        "A gradient survives 11 steps of 149 here, and that does no harm: nothing further back was found to matter. "
        "Any input further back that explains 8% of the error or more would most likely have been found."
    )
    assert finding.evidence["detectable"] == 0.08


@pytest.mark.parametrize(
    ("given", "fires"),
    [
        (layer(reach=reach(148), need=need(None)), True),
        (layer(reach=reach(149), need=need(None)), False),
        (layer(reach=reach(11), need=need(11)), True),
        (layer(reach=reach(11), need=need(12)), False),
        (layer(reach=reach(11), need=need(None, detectable=0.25)), True),
        (layer(reach=reach(11), need=need(None, detectable=0.26)), False),
        (layer(reach=reach(11), need=need(None, detectable=float("nan"))), False),
        (layer(reach=reach(11), need=None), False),
        (layer(reach=None, need=need(None)), False),
        (layer(reach=reach(11), need=need(None), start=need(11)), True),
        (layer(reach=reach(11), need=need(None), start=need(12)), False),
    ],
)
def test_both_sides(given, fires):
    assert bool(short_reach_harmless(record(given, loss=LEARNT))) is fires


def test_leaves_the_word_to_no_signal():
    assert short_reach_harmless(record(layer(reach=reach(11), need=need(None)), loss=CHANCE)) == ()


def test_leaves_the_word_to_a_need_in_the_other_direction():
    fades, asks = layer(reach=reach(11), need=need(None)), layer(direction="reverse", reach=reach(11), need=need(90))
    assert short_reach_harmless(record(fades, asks, loss=LEARNT)) == ()
