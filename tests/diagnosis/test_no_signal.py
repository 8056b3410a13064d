from dataclasses import replace

import pytest
from tests.diagnosis.literals import LEARNT, layer, need, reach, record

from longreach.diagnosis.no_signal import no_signal
from longreach.record import LossCurve

NOTHING = layer(reach=reach(11), need=need(None))


def halved_to(end):
    return LossCurve(tuple(range(41)), (1.0,) * 21 + (end,) * 20)


def test_points_at_the_data():
    (finding,) = no_signal(record(NOTHING))
    assert (finding.code, finding.severity, finding.where, finding.remedies) == ("LR601", "warning", "rnn", ())
    assert finding.summary == (
        "Nothing in the input was found to say anything about the error, near or far, and the loss did not fall. An "
        "input that explains 8% of the error or more would have been found, unless it counts only together with "
        "another. Check that inputs and targets belong together."
    )


@pytest.mark.parametrize(
    ("given", "fires"),
    [
        (layer(need=need(None, detectable=0.25)), True),
        (layer(need=need(None, detectable=0.26)), False),
        (layer(need=need(None, detectable=0.26), start=need(None, detectable=0.1)), True),
        (layer(need=None), False),
        (layer(need=need(0)), False),
        (layer(need=need(None), start=need(3)), False),
        (layer(need=need(None), start=need(None)), True),
    ],
)
def test_both_sides(given, fires):
    assert bool(no_signal(record(given))) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.51, True), (0.49, False)])
def test_a_loss_that_halves_has_learned(end, fires):
    assert bool(no_signal(record(NOTHING, loss=halved_to(end)))) is fires


@pytest.mark.parametrize("loss", [None, LEARNT, LossCurve((0, 1, 2), (1.0, 1.0, 1.0))])
def test_silent_on_a_loss_that_falls_or_cannot_be_judged(loss):
    assert no_signal(record(NOTHING, loss=loss)) == ()


def test_silent_if_any_layer_sees_a_need():
    assert no_signal(record(NOTHING, layer(module="decoder", need=need(4)))) == ()


def test_one_finding_a_module():
    layers = [layer(m, i, d, need=need(None)) for m in "ab" for i in (0, 1) for d in ("forward", "reverse")]
    assert [finding.where for finding in no_signal(record(*layers))] == ["a", "b"]


@pytest.mark.parametrize(("chance", "whole", "fires"), [(0.18, True, True), (0.2, True, False), (0.2, False, True)])
def test_a_whole_model_that_learns_hears_what_no_single_input_tells(chance, whole, fires):
    """The loss ends at 0.17: 94 % of a chance of 0.18, and 85 % of one of 0.2."""
    run = record(replace(NOTHING, whole=whole))
    assert bool(no_signal(replace(run, chance=chance))) is fires
