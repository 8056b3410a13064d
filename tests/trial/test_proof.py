"""What is called proven, what counts, who stays in the race, and how it is printed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from longreach.errors import RunReadError
from longreach.trial.proof import Arm, Outcome, Proof, at_end, survivors, thinned

STUCK = (0.170, 0.165, 0.166, 0.169, 0.167)
SOLVED = (0.004, 0.006, 0.003, 0.008, 0.002)
SHAKEN = (0.168, 0.166, 0.169, 0.164, 0.166)


def arm(name, ends, *, start=1.2, seconds=10.0, memory=50.0, reach=None, failed=()):
    return Arm(
        name,
        tuple(
            Outcome(seed, end, (start, end), seconds, memory, reach, "crashed" if seed in failed else None)
            for seed, end in enumerate(ends)
        ),
    )


def proof(*arms, control=STUCK, shaken=SHAKEN, **options):
    return Proof(arm("control", control), arm("random-weights", shaken), arms, steps=600, **options)


def verdict(ends, **options):
    on_trial = proof(arm("x", ends), **options)
    return on_trial.verdict(on_trial.arms[0])


def test_solved_on_every_seed_is_proven():
    assert verdict(SOLVED) == "proven"


def test_nothing_gained_is_no_better_and_a_loss_is_worse():
    assert verdict([0.166, 0.169, 0.165, 0.168, 0.166]) == "no better"
    assert verdict([0.3, 0.31, 0.29, 0.3, 0.32]) == "worse"


def test_two_seeds_decide_nothing():
    assert verdict(SOLVED[:2]) == "undecided"
    assert verdict(STUCK[:2]) == "undecided"


def test_four_seeds_of_five_need_more():
    assert verdict([0.004, 0.006, 0.166, 0.008, 0.002]) == "undecided"


def test_what_a_random_change_does_too_is_not_proven():
    assert verdict(SOLVED, shaken=(0.005, 0.004, 0.006, 0.003, 0.007)) == "no better"


def test_an_effect_must_be_worth_having():
    slightly = tuple(end - 0.010 for end in STUCK)  # 6 % of 0.167, on every seed alike
    exact = {"control": STUCK, "shaken": STUCK}
    assert verdict(slightly, **exact) == "no better"
    assert verdict(slightly, **exact, worth=0.05) == "proven"


def test_three_seeds_prove_for_one_arm_and_not_among_many():
    """(4/27)³ = 0.3 % by luck alone is below 1 %, and above 1 % / 20."""
    few = arm("x", SOLVED[:3])
    assert proof(few).verdict(few) == "proven"
    others = [arm(str(place), STUCK[:3]) for place in range(19)]
    assert proof(few, *others).verdict(few) == "undecided"


def test_more_looks_ask_for_more():
    few = arm("x", SOLVED[:3])
    assert proof(few, looks=4).verdict(few) == "undecided"


def test_larger_is_better():
    up = {"control": (0.5, 0.52, 0.49, 0.51, 0.5), "shaken": (0.51, 0.5, 0.5, 0.49, 0.52)}
    options = {**up, "metric": "accuracy", "higher_is_better": True}
    assert verdict((0.95, 0.96, 0.94, 0.97, 0.95), **options) == "proven"
    assert verdict((0.30, 0.31, 0.29, 0.30, 0.32), **options) == "worse"


def test_without_a_random_change_the_control_is_all_there_is():
    on_trial = Proof(arm("control", STUCK), Arm("random-weights", (), "no matrix"), (arm("x", SOLVED),))
    assert on_trial.verdict(on_trial.arms[0]) == "proven"  # 4⁻⁵ = 0.1 % by luck


def test_one_control_that_blows_up_counts_for_the_worst_that_did_not():
    on_trial = proof(arm("x", SOLVED), control=(0.170, 1e30, 0.166, math.nan, 0.167))
    ends = on_trial.ends(on_trial.control, on_trial.arms[0])
    assert ends == [0.170, 0.170, 0.166, 0.170, 0.167]
    assert on_trial.verdict(on_trial.arms[0]) == "proven"


def test_controls_that_mostly_blow_up_count_for_the_worst_start():
    lost = (0.1, 1e30, math.nan, math.inf, 1e9)
    on_trial = proof(arm("x", SOLVED), control=(math.nan,) * 5, shaken=lost)
    assert on_trial.ends(on_trial.control, on_trial.arms[0]) == [1.2] * 5
    assert on_trial.ends(on_trial.random, on_trial.arms[0]) == [0.1, 1.2, 1.2, 1.2, 1.2]


def test_a_control_that_drifts_above_its_start_counts_as_it_is():
    """A model that was trained before and is spoilt now: 0.3 -> 0.5."""
    spoilt = (0.48, 0.5, 0.52, 0.5, 0.51)
    control, shaken, kept = (
        arm(name, ends, start=0.3) for name, ends in (("control", spoilt), ("r", spoilt), ("x", (0.3,) * 5))
    )
    on_trial = Proof(control, shaken, (kept,))
    assert on_trial.ends(control, kept) == list(spoilt)
    assert on_trial.verdict(kept) == "proven"


def test_an_arm_that_blows_up_counts_for_the_worst_start():
    broken = arm("x", (0.004, math.nan, 0.003, 1e30, 0.002), failed={0})
    on_trial = proof(broken)
    assert on_trial.ends(broken, broken) == [1.2, 1.2, 0.003, 1.2, 0.002]
    assert on_trial.verdict(broken) != "proven"


def test_where_no_run_has_an_end_nothing_is_proven():
    lost = (math.nan,) * 5
    assert verdict(lost, control=lost, shaken=lost) in ("no better", "undecided")


def test_a_metric_that_is_not_the_loss_has_no_start():
    broken = arm("x", (0.95, math.nan, 0.94, 0.97, 0.95), start=2.3)
    options = {"control": (0.5,) * 5, "shaken": (0.51,) * 5, "metric": "accuracy", "higher_is_better": True}
    on_trial = proof(broken, **options)
    assert on_trial.ends(broken, broken) == [0.95, 0.5, 0.94, 0.97, 0.95]


def test_pairs_are_matched_by_seed():
    turned = Arm("x", tuple(reversed(arm("x", SOLVED).outcomes)))
    assert proof(turned).effects["x"] == proof(arm("x", SOLVED)).effects["x"]


def test_the_winner_is_the_largest_proven_effect():
    half = arm("half", tuple(end / 2 for end in STUCK))
    on_trial = proof(half, arm("whole", SOLVED), arm("none", STUCK))
    assert on_trial.winner is not None
    assert on_trial.winner.name == "whole"
    assert proof(arm("none", STUCK)).winner is None


def test_decided_when_no_undecided_arm_is_ahead():
    behind = arm("behind", (0.01, 0.16, 0.02, 0.168, 0.02))
    ahead = arm("ahead", (0.0001, 0.0001))
    assert proof(arm("x", SOLVED), behind).decided
    assert not proof(arm("x", SOLVED), ahead).decided
    assert not proof(behind).decided
    assert proof(arm("none", STUCK)).decided


def names(arms):
    return [one.name for one in arms]


def test_after_one_seed_the_better_half_stays_and_whatever_may_still_win():
    first = {"a": 0.004, "b": 0.05, "c": 0.165, "d": 0.169}
    on_trial = proof(*(arm(name, [end]) for name, end in first.items()))
    assert names(survivors(on_trial, keep=1)) == ["a", "b"]  # b gained more than half of what a did
    assert names(survivors(on_trial, keep=3)) == ["a", "b", "c"]


def test_a_proven_arm_is_never_dropped_and_a_decided_one_never_kept():
    on_trial = proof(arm("good", SOLVED), arm("none", STUCK))
    assert names(survivors(on_trial, keep=2)) == ["good"]
    assert names(survivors(on_trial, keep=0)) == ["good"]


def test_what_failed_on_every_seed_goes():
    on_trial = proof(arm("broken", [0.1], failed={0}), arm("slow", [0.168]))
    assert names(survivors(on_trial, keep=2)) == ["slow"]


def test_a_solver_of_four_seeds_of_five_is_not_lost_on_the_way():
    rng = np.random.default_rng(0)
    for _ in range(30):
        ends = [0.166, *(0.004 if solves else 0.166 for solves in rng.random(3) < 0.8)]
        rivals = [arm(str(place), 0.167 + 0.002 * rng.standard_normal(4)) for place in range(4)]
        on_trial = proof(*rivals, arm("partly", ends))
        if 0.004 in ends[:3]:
            assert "partly" in names(survivors(on_trial, keep=1))


def test_the_end_is_the_mean_of_the_last_tenth():
    assert at_end([9.0] * 900 + [1.0, 3.0] * 50) == 2.0
    assert at_end([9.0] * 20 + [1.0, 3.0] * 5) == 2.0  # ten steps at least
    assert at_end([4.0, 2.0]) == 3.0
    assert math.isnan(at_end([]))
    assert math.isnan(at_end([1.0, math.nan]))


def test_a_thinned_curve_keeps_its_ends():
    assert thinned([1.0, 2.0]) == (1.0, 2.0)
    curve = thinned([float(step) for step in range(12345)])
    assert (len(curve), curve[0], curve[-1]) == (100, 0.0, 12344.0)
    assert list(curve) == sorted(set(curve))


def test_a_round_trip():
    on_trial = proof(
        arm("x", (0.004, math.nan, 0.003), reach=12.5, failed={1}),
        Arm("y", (), "expected an LSTM"),
        notes=("said",),
        looks=3,
    )
    again = Proof.from_json(on_trial.to_json())
    assert str(again) == str(on_trial)
    assert again.to_json() == on_trial.to_json()
    assert again.arms[0].outcomes[0] == on_trial.arms[0].outcomes[0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "longreach.proof/2"}', '{"schema": "longreach.proof/1"}'])
def test_what_is_no_proof_is_not_read(text):
    with pytest.raises(RunReadError, match="expected a proof"):
        Proof.from_json(text)


def whole(**options):
    on_trial = proof(
        arm("identity-init+clip-auto", SOLVED, seconds=12.0, memory=100.0, reach=140.0),
        arm("lstm", (0.166, 0.169), reach=20.0),
        Arm("forget-bias", (), "forget-bias: expected an LSTM or a GRU, got a model with an RNN, which has no gates"),
        **options,
    )
    return replace(on_trial, control=arm("control", STUCK, reach=11.0))


WHOLE = """\
identity-init+clip-auto: loss 0.167 -> 0.0046 after 600 steps on 5 of 5 seeds,
effect 0.16 [0.16, 0.17]; control and random changes: none.

arm       loss         better effect                   time mem  reach
control   0.17         5                               1.0x 1.0x 11
random change
          0.17->0.17   3/5    0.0008 [-0.0068, 0.0084] 1.0x 1.0x       no better
identity-init+clip-auto
          0.17->0.0046 5/5    0.16 [0.16, 0.17]        1.2x 2.0x 140   proven
lstm      0.17->0.17   1/2    0 [-0.51, 0.51]          1.0x 1.0x 20    given up
forget-bias: not applicable: expected an LSTM or a GRU, got a model with an RNN,
which has no gates
Arms with fewer seeds were decided, or given up for better ones.
"""


def test_printed():
    text = str(whole())
    assert text + "\n" == WHOLE
    assert all(len(line) <= 80 for line in text.splitlines())


def test_printed_without_a_winner():
    text = str(proof(arm("x", STUCK), arm("y", (0.004, 0.16, 0.003, 0.168, 0.003))))
    assert text.splitlines()[0] == "none of 2 is proven after 600 steps; 1 undecided: needs more seeds"


@pytest.mark.parametrize("solved", [0.1, 1 / 3, 0.5, 0.8])
def test_seeds_that_are_solved_by_chance_prove_nothing(solved):
    """Control, random change and arm alike: 1 % may be called proven; more than 10 of 400 in one case of 300."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        control, shaken, tried = np.where(rng.random((3, 5)) < solved, 0.004, 0.167) + 0.001 * rng.standard_normal(
            (3, 5)
        )
        wrong += verdict(tried, control=control, shaken=shaken, worth=0.0) == "proven"
    assert wrong <= 10
