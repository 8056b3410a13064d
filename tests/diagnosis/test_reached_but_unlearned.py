from dataclasses import replace

import pytest
from tests.diagnosis.literals import LEARNT, layer, need, reach, record

from longreach.diagnosis.reached_but_unlearned import reached_but_unlearned
from longreach.record import LossCurve

STUCK = layer(reach=reach(60), need=need(40))


def falling_to(end):
    return LossCurve(tuple(range(41)), (1.0,) * 21 + (end,) * 20)


def test_says_what_arrives():
    (finding,) = reached_but_unlearned(record(STUCK))
    assert (finding.code, finding.severity) == ("LR502", "warning")
    assert finding.summary == (
        "The input 40 steps back explains 34% of the error, and the gradient does reach that far (60 steps), yet "
        "the loss did not fall. The trouble is not memory: look at the step size, the optimizer and the size of the "
        "network."
    )


@pytest.mark.parametrize(
    ("given", "fires"),
    [
        (layer(reach=reach(60), need=need(60)), True),
        (layer(reach=reach(60), need=need(61)), False),
        (layer(reach=reach(60), need=need(None)), False),
        (layer(reach=reach(60), need=None), False),
        (layer(reach=None, need=need(40)), False),
        (layer(reach=reach(60), need=need(40, strength=(0.05,))), True),
        (layer(reach=reach(60), need=need(40, strength=(0.049,))), False),
        (layer(reach=reach(60), need=need(40, strength=(float("nan"),))), False),
    ],
)
def test_both_sides(given, fires):
    assert bool(reached_but_unlearned(record(given))) is fires


@pytest.mark.parametrize(("end", "fires"), [(0.951, True), (0.95, False), (1.5, True)])
def test_a_twentieth_is_a_fall(end, fires):
    assert bool(reached_but_unlearned(record(STUCK, loss=falling_to(end)))) is fires


@pytest.mark.parametrize(("steps", "fires"), [(99, False), (100, True)])
def test_a_short_run_says_nothing(steps, fires):
    assert bool(reached_but_unlearned(record(STUCK, steps=steps))) is fires


@pytest.mark.parametrize("loss", [LEARNT, None, LossCurve((0, 1, 2), (1.0, 1.0, 1.0))])
def test_silent_on_a_loss_that_falls_or_cannot_be_judged(loss):
    assert reached_but_unlearned(record(STUCK, loss=loss)) == ()


@pytest.mark.parametrize(
    ("chance", "start", "fires"),
    [(0.2, need(40), False), (0.2, need(50), True), (0.2, None, True), (0.18, need(40), True)],
)
def test_what_the_first_sequences_lacked_may_have_been_learned_since(chance, start, fires):
    """Equal tests have seen the same sequences. The loss ends at 0.17: the run is stuck beside 0.18, not beside 0.2."""
    run = record(layer(reach=reach(60), need=need(40), start=start))
    assert bool(reached_but_unlearned(replace(run, chance=chance))) is fires
