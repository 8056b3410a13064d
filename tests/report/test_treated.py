"""What `longreach treat` says at the end, as text."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from longreach.diagnosis import Diagnosis, Finding
from longreach.record import Layer, LossCurve, Need, Reach, Record
from longreach.report.screen import Screen
from longreach.report.treated import render
from longreach.trial.patch import Patch
from longreach.trial.proof import Arm, Outcome, Proof
from longreach.trial.runs import Result
from longreach.trial.treat import Treated

RECORD = Record({"script": "train.py"}, 1000, 9.0, 0.01, (), LossCurve((0, 500), (0.2, 0.17)), None)
VANISHING = Diagnosis(
    RECORD,
    (Finding("LR101", "vanishing-in-time", "critical", "rnn", "It forgets.", {"need": 176}, ("identity-init",)),),
)
WELL = Diagnosis(replace(RECORD, loss=LossCurve((0, 500), (0.2, 0.001)), chance=0.2), ())


def arm(name, ends, *, reach, seconds=10.0):
    return Arm(name, tuple(Outcome(seed, end, (0.2, end), seconds, 300.0, reach) for seed, end in enumerate(ends)))


PROOF = Proof(
    arm("control", (0.166, 0.168, 0.167, 0.167, 0.167), reach=11.0),
    arm("random-weights", (0.167, 0.168, 0.166, 0.167, 0.168), reach=10.0),
    (
        arm("orthogonal-init+clip-norm", (0.004, 0.005, 0.004, 0.003, 0.004), reach=310.0, seconds=11.0),
        arm("relu", (0.166,), reach=20.0),
        Arm("forget-bias", (), "forget-bias: expected an LSTM or GRU"),
    ),
    steps=600,
)


def forecast(name, reach, *, refused=None, failed=None):
    return Result(name, 0, 1, 0.2, (0.2,), (0.2,), 1.0, 1.0, 300.0, reach, failed, refused, "train.py", 4)


FORECASTS = {
    "orthogonal-init+clip-norm": forecast("orthogonal-init+clip-norm", 310),
    "relu": forecast("relu", 20),
    "forget-bias": forecast("forget-bias", None, refused="forget-bias: expected an LSTM or GRU"),
    "dilated": forecast("dilated", None, failed="it took too long"),
}
DIFF = "--- train.py\n+++ train.py\n@@ -1 +1,2 @@\n+from longreach import remedies\n model = make()\n"
PATCH = Patch("train.py", DIFF, ("remedies.orthogonal_init(model)",), ("remedies.clip_norm(optimizer)",), "whole")
FOUND = Treated(VANISHING, 176, FORECASTS, PROOF, PATCH, same=True, folder="longreach-runs/treat-train-1")


def test_the_whole_answer():
    said = render(FOUND)
    for part in (
        "The script as it is: LR101 vanishing-in-time in rnn.\n\n"
        "What each would do to the reach, in steps, at the start; 176 are needed:\n"
        "  orthogonal-init+clip-norm  310\n"
        "  relu                       20\n"
        "  forget-bias                does not fit\n"
        "  dilated                    could not be measured\n",
        "orthogonal-init+clip-norm: loss 0.167 -> 0.004 after 600 steps on 5 of 5 seeds,\n"
        "effect 0.16 [0.16, 0.16]; control and random changes: none.\n",
        "Reach 11 -> 310, need 176.\n",
        "Put these two lines into train.py (patch -p0 < longreach-runs/treat-train-1/patch.diff).\n"
        "The patched script was run: its losses begin as those of the trial.\n\n" + DIFF,
    ):
        assert part in said + "\n"
    assert said.endswith("kept in longreach-runs/treat-train-1\n")
    assert max(len(line) for line in said.splitlines() if "patch -p0" not in line) <= 80


def layer(lag, need=None):
    lags = (0, 100, 200)
    gains = tuple(-4.6 * k / lag for k in lags)
    return Layer("rnn", "RNN tanh", 0, "forward", 64, Reach(lag, 0.01, 200, -4.6 / lag, lags, gains, None, 5), need)


def test_the_picture_before_and_the_picture_after():
    need = Need(176, 0.01, 0.01, 0.02, 500, (0, 100, 176), (0.0, 0.0, 0.1))
    ill = replace(VANISHING, record=replace(RECORD, layers=(layer(11, need),)))
    said = render(replace(FOUND, diagnosis=ill, after=(layer(190), replace(layer(200), module="other"))))
    before, after = said.split("with orthogonal-init+clip-norm  RNN tanh, 64 units")
    assert before.startswith(
        "The script as it is: LR101 vanishing-in-time in rnn.\n\n  rnn  RNN tanh, 64 units\n\n reach\n"
    )
    assert before.index("reach 11") < before.index("What each would do") < before.index("on 5 of 5 seeds")
    assert "▲ reach 11" in before
    assert "need 176 ▲" in before
    assert "reach 190 ▲" in after  # of the same layer, not of the one that reaches further
    assert "▲ need 176" in after or "need 176 ▲" in after
    assert "\n  its reach, beside the need of the script as it was\n" in after
    assert after.index("need 176") < after.index("Put these two lines")


@pytest.mark.parametrize("width", [40, 80, 100])
def test_nothing_but_what_is_to_be_copied_is_wider_than_the_terminal(width):
    named = Diagnosis(RECORD, (replace(VANISHING.findings[0], where="a\x1b[2J\u202e" + "x" * 300),))
    said = render(replace(FOUND, diagnosis=named, forecasts={"a+" * 40: forecast("a", 3)}), Screen(width))
    assert "\x1b" not in said
    assert "\u202e" not in said
    copied = ("Put these", "--- ", "+++ ", "@@", "+", "kept in")
    assert all(cell_len(line) <= width for line in said.splitlines() if not line.startswith(copied))


def test_a_patch_is_shown_whole_and_without_its_escapes():
    diff = DIFF.replace(" model = make()", " \tmodel = make('\x1b[31m" + "x" * 600 + "')")
    said = render(replace(FOUND, patch=replace(PATCH, diff=diff)), Screen(40))
    assert "        model = make('\\x1b[31m" + "x" * 600 + "')\n" in said


def test_colours_mean_the_same_as_in_the_report():
    said = render(FOUND, Screen(color=True))
    assert "\x1b[1;31mThe script as it is: LR101" in said  # critical
    assert "\x1b[1;32m proven" in said  # as healthy
    assert "\x1b[36m310" in said  # reach


def test_lines_to_paste():
    said = render(replace(FOUND, patch=replace(PATCH, diff=None), same=None))
    assert (
        "Put these two lines into train.py, with `from longreach import remedies`:\nbefore the optimizer is made:\n"
        "  remedies.orthogonal_init(model)\nafter the optimizer is made:\n  remedies.clip_norm(optimizer)\n"
    ) in said


def test_a_patch_that_does_something_else_is_told():
    said = " ".join(render(replace(FOUND, same=False)).split())
    assert "its losses differ: look at it before you rely on it." in said


def test_nothing_proven_prescribes_nothing():
    said = render(replace(FOUND, proof=replace(PROOF, arms=PROOF.arms[1:]), patch=None))
    assert "none of 1 is proven after 600 steps" in said
    assert "Put th" not in said
    assert "Reach 11" not in said


@pytest.mark.parametrize(
    ("diagnosis", "sentence"),
    [
        (WELL, "no fault was found.\nNothing is to be treated."),
        (Diagnosis(replace(RECORD, chance=0.17), ()), "nothing was learned.\nThere may be nothing to learn: a remedy"),
        (
            Diagnosis(RECORD, (replace(VANISHING.findings[0], severity="info"),)),
            "in rnn.\nIt learns all the same: nothing is to be treated.",
        ),
        (
            Diagnosis(RECORD, (Finding("LR601", "no-signal", "warning", "rnn", "Noise.", {}),)),
            "LR601 no-signal in rnn.\nNo remedy that longreach has is for that.",
        ),
    ],
)
def test_why_nothing_is_tried(diagnosis, sentence):
    assert sentence in render(Treated(diagnosis, None, {}, None, folder="x"))


def test_an_interrupted_trial_says_so():
    assert "Interrupted: this is what is known so far. The same command goes on from here." in render(
        replace(FOUND, patch=None, complete=False)
    )
