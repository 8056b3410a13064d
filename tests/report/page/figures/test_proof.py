"""The proof as a drawing says what the proof says."""

import math

import pytest
from tests.report.page.figures.stories import arm, bump, fading, judged, layer, outcome, trial

from longreach.report.page.figures.proof_effects import proof_effects
from longreach.report.page.figures.proof_losses import proof_losses
from longreach.report.page.figures.proof_reach import proof_reach
from longreach.story import Story
from longreach.trial.proof import Arm, Proof


def drawing(found, **others):
    story = Story("trial", proof=found, **others)
    return {figure.name: figure for draw in (proof_effects, proof_reach, proof_losses) for figure in draw(story)}


def named(figure, name):
    (trace,) = [trace for trace in figure.traces if trace["name"] == name]
    return trace


def test_means_intervals_and_seeds_are_those_of_the_proof():
    found = trial()
    figure = drawing(found)["proof"]
    arms = [found.arms[0], found.random, found.arms[1]]  # by what they gained; forget-bias did not run
    arms.sort(key=lambda one: -found.against(found.control, one).estimate)
    mean = named(figure, "mean and interval")
    for row, one in enumerate(arms):
        effect = found.against(found.control, one)
        assert mean["x"][row] == effect.estimate
        assert mean["x"][row] + mean["error_x"]["array"][row] == pytest.approx(effect.high)
        assert mean["x"][row] - mean["error_x"]["arrayminus"][row] == pytest.approx(effect.low)
        assert named(figure, "least effect worth having")["x"][row] == found.bar(one)
    seeds = named(figure, "one seed")
    gains = [gain for one in arms for gain in found.gain(one).values()]
    assert seeds["x"] == gains
    assert seeds["y"] == pytest.approx([row + 0.22 for row in range(3) for _ in range(5)])
    labels = [label["text"] for label in figure.layout["annotations"]]
    assert labels[0] == "identity-init: proven"
    assert all(not label.startswith("random-weights") for label in labels)


def test_rows_are_the_pairs():
    found = trial()
    rows = drawing(found)["proof"].rows
    first = [row for row in rows if row[0] == "identity-init"]
    assert {seed: gain for _, seed, gain, *_ in first} == found.gain(found.arms[0])


def test_larger_is_better_where_the_metric_says_so():
    better = arm("lstm", (0.9, 0.91, 0.92, 0.93, 0.9))
    figure = drawing(trial(better, metric="accuracy", higher_is_better=True))["proof"]
    assert all(gain > 0 for gain in named(figure, "one seed")["x"][:5])
    assert figure.layout["xaxis"]["title"]["text"] == "accuracy: how much better than the control"


def test_one_seed_has_no_interval_and_says_so():
    figure = drawing(trial(Arm("lstm", (outcome(0, 0.1),))))["proof"]
    row = next(row for row, label in enumerate(figure.layout["annotations"]) if label["text"].startswith("lstm"))
    mean = named(figure, "mean and interval")
    assert (mean["error_x"]["array"][row], mean["error_x"]["arrayminus"][row]) == (0, 0)
    assert "no interval" in mean["text"][row]
    assert -math.inf in {cell for cells in figure.rows for cell in cells}


def test_wide_intervals_do_not_squeeze_the_seeds():
    """Of two seeds the interval is many times as wide as what was seen."""
    figure = drawing(trial(arm("lstm", (0.15, 0.16))))["proof"]
    low, high = figure.layout["xaxis"]["range"]
    gains = named(figure, "one seed")["x"]
    assert high - low < 6 * max(map(abs, gains))


def test_reach_goes_from_the_median_of_the_control_to_that_of_the_arm_and_need_is_there():
    diagnosis = judged(layer(reach=fading(), need=bump(130, 140)))
    figure = drawing(trial(), diagnosis=diagnosis)["proof-reach"]
    assert figure.look == "Reach goes furthest with identity-init: from 9 to 149 steps; the data ask for 140."
    assert named(figure, "control")["x"] == [9, 9, 9]
    assert set(named(figure, "with the remedy")["x"]) == {149, 9, 10}
    assert named(figure, "need 140")["x"] == [140, 140]
    assert figure.layout["xaxis"]["range"][1] > 149


def test_where_no_reach_was_measured_none_is_drawn():
    bare = Arm("lstm", tuple(outcome(seed, 0.1, reach=None) for seed in range(3)))
    control = Arm("control", tuple(outcome(seed, 0.2, reach=None) for seed in range(3)))
    assert "proof-reach" not in drawing(Proof(control, Arm("random"), (bare,)))


def test_losses_of_control_and_winner_are_drawn_seed_by_seed_over_the_steps_of_the_run():
    found = trial()
    figure = drawing(found)["proof-losses"]
    assert len(figure.traces) == 10
    of_winner = [trace for trace in figure.traces if trace["name"] == "identity-init"]
    assert [trace["y"] for trace in of_winner] == [list(run.losses) for run in found.winner.outcomes]
    assert all((trace["x"][0], trace["x"][-1]) == (0, 999) for trace in figure.traces)
    assert [trace.get("showlegend", True) for trace in of_winner] == [True, False, False, False, False]
    assert figure.look.startswith("Loss at the end, on average: 0.17 without, 0.0114 with identity-init.")


def test_a_run_that_blew_up_is_told():
    lost = Arm("lstm", (outcome(0, math.nan), outcome(1, 0.1)))
    figure = drawing(trial(lost))["proof-losses"]
    assert any(trace["name"] == "NaN" and "lstm, seed 0" in trace["text"] for trace in figure.traces)


def test_none_proven_is_said_with_what_came_closest():
    figure = drawing(trial(arm("lstm", (0.165, 0.172, 0.168, 0.170, 0.169))))["proof"]
    assert figure.look.startswith("None is proven; the largest mean is that of lstm")


def test_a_trial_that_has_only_begun_draws_nothing():
    assert drawing(Proof(Arm("control"), Arm("random"), (arm("lstm", (0.1,)),))) == {}
    assert drawing(None) == {}
