import math
from dataclasses import replace

import pytest
from tests.diagnosis.literals import LEARNT, layer, need, reach, record

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.vanishing_in_time import vanishing_in_time
from longreach.record import LossCurve


def test_the_whole_finding():
    assert vanishing_in_time(record(layer(reach=reach(11), need=need(140)))) == (
        Finding(
            code="LR101",
            name="vanishing-in-time",
            severity="critical",
            where="rnn",
            summary="The error still depends on the input 140 steps back, which the network has not learned to use. Of "
            "a gradient sent back, 1% is left after 11 steps and ever less beyond: the weights hardly hear of that "
            "input, however long they train.",
            evidence={
                "layer": 0,
                "reach": 11,
                "threshold": 0.01,
                "growth": math.log(0.01) / 11,
                "need": 140,
                "p_value": 0.0004,
                "horizon": 149,
            },
            remedies=(
                "identity-init",
                "orthogonal-init",
                "linear-recurrent",
                "lstm",
                "gru",
                "skip",
                "leaky-integration",
            ),
        ),
    )


@pytest.mark.parametrize(("lag", "fires"), [(10, False), (11, False), (12, True)])
def test_need_beyond_reach(lag, fires):
    assert bool(vanishing_in_time(record(layer(reach=reach(11), need=need(lag))))) is fires


@pytest.mark.parametrize(
    "silent",
    [
        layer(reach=reach(11), need=need(None)),
        layer(reach=reach(11), need=None),
        layer(reach=None, need=need(140)),
        layer(reach=reach(149), need=need(160)),
        layer(reach=reach(11, log_gain=(0.0, math.nan, math.nan)), need=need(140)),
    ],
    ids=[
        "nothing needed",
        "need untested",
        "a cell without reach",
        "never faded within the horizon",
        "NaN in the gain",
    ],
)
def test_stays_silent(silent):
    assert vanishing_in_time(record(silent)) == ()


@pytest.mark.parametrize(("end", "severity"), [(0.81, "critical"), (0.79, "warning")])
def test_a_warning_where_the_rest_of_the_task_is_being_learned(end, severity):
    loss = LossCurve(tuple(range(100)), (3.0,) * 10 + (1.0,) * 60 + (end,) * 30)
    (finding,) = vanishing_in_time(record(layer(reach=reach(11), need=need(140)), loss=loss))
    assert finding.severity == severity
    told = finding.summary.endswith("What lies within reach is being learned: the loss fell by 21%.")
    assert told is (severity == "warning")


def test_stays_silent_on_a_solved_task():
    vanishing = layer(reach=reach(11), need=need(140))
    assert vanishing_in_time(record(vanishing, loss=LEARNT)) == ()


def test_of_a_stack_the_largest_reach_counts():
    low, high = layer(index=0, reach=reach(11), need=need(140)), layer(index=1, reach=reach(145), need=need(140))
    assert vanishing_in_time(record(low, high)) == ()
    short = layer(index=1, reach=reach(31), need=need(140))
    (finding,) = vanishing_in_time(record(low, short))
    assert (finding.evidence["layer"], finding.evidence["reach"]) == (1, 31)


def test_a_layer_that_could_not_be_measured_may_reach_further():
    low, high = layer(index=0, reach=reach(11), need=need(140)), layer(index=1, reach=None, need=need(140))
    assert vanishing_in_time(record(low, high)) == ()


def test_a_warning_where_the_other_direction_can_learn_it():
    ahead = layer(reach=reach(11), need=need(140))
    (finding,) = vanishing_in_time(record(ahead, layer(direction="reverse", reach=reach(11), need=need(3))))
    assert (finding.severity, finding.where) == ("warning", "rnn")
    both = vanishing_in_time(record(ahead, layer(direction="reverse", reach=reach(11), need=need(90))))
    assert [(finding.severity, finding.where) for finding in both] == [
        ("critical", "rnn"),
        ("critical", "rnn (reverse)"),
    ]


@pytest.mark.parametrize(
    ("kind", "first"), [("LSTM", "forget-bias"), ("RNN relu", "identity-init"), ("MyCell", "identity-init")]
)
def test_remedies_fit_the_kind(kind, first):
    (finding,) = vanishing_in_time(record(layer(kind=kind, reach=reach(11), need=need(140))))
    assert finding.remedies[0] == first
    assert kind.lower() not in finding.remedies


def whole(lag, asked, direction="forward"):
    """A whole model; its need, if any, is that of its output."""
    return replace(layer("model", kind="Net", direction=direction, reach=reach(lag), need=need(asked)), whole=True)


@pytest.mark.parametrize(("lag", "where"), [(139, ["rnn"]), (140, []), (149, [])])
def test_a_way_round_a_layer_that_reaches_as_far_as_its_data_need(lag, where):
    found = vanishing_in_time(record(layer(reach=reach(11), need=need(140)), whole(lag, None)))
    assert [finding.where for finding in found] == where


def test_a_whole_model_that_reaches_less_far_than_its_data_need():
    (finding,) = vanishing_in_time(record(whole(30, 31)))
    assert finding.where == "model"
    assert finding.remedies == ("dilated", "skip", "linear-recurrent")
    assert finding.summary == (
        "The error still depends on the input 31 steps back, which the network has not learned to use. All inputs more "
        "than 30 steps back have less than 1% of the influence on an output: the weights hardly hear of that input, "
        "however long they train."
    )
    assert not vanishing_in_time(record(whole(31, 31)))


@pytest.mark.parametrize(
    ("chance", "severity"),
    [(0.17, "critical"), (0.33, "critical"), (0.35, "info"), (3.2, "info"), (3.6, None), (None, "critical")],
)
def test_a_loss_beside_that_of_a_constant_answer_tells_how_much_is_left(chance, severity):
    """The loss of these records stays at 0.17."""
    run = replace(record(layer(reach=reach(11), need=need(140))), chance=chance)
    found = vanishing_in_time(run)
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_a_fall_from_a_bad_start_does_not_pass_for_solving():
    from_afar = LossCurve(tuple(range(100)), (300.0,) * 10 + (3.0,) * 90)
    run = record(layer(reach=reach(11), need=need(140)), loss=from_afar)
    assert vanishing_in_time(run) == ()
    assert vanishing_in_time(replace(run, chance=1.0))
