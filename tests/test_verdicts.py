"""Pairs of scripts that differ only in where the label sits: what a size of gradient can never tell apart.

Run as a user runs them, through `longreach run`. The label makes the truth: at the first step no network here can hear
of it; at the last step all of them can; made of noise, there is nothing to hear.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "scripts" / "recall.py"
TRUTH = {
    "first": {"vanishing-in-time"},
    "last": {"healthy", "short-reach-harmless"},
    "noise": {"no-signal"},
}
CHANCE = 0.693  # ln 2


def run(folder, *arguments, options=()):
    """(diagnosis.json, stdout, stderr) of a script under watch."""
    command = [sys.executable, "-m", "longreach", "run", *options, "--run-dir", str(folder), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "diagnosis.json").read_text()), done.stdout, done.stderr


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("label", TRUTH)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "loop"])
def test_the_verdict_follows_the_label(tmp_path, cell, label, seed):
    follows(label, *run(tmp_path / "run", SCRIPT, "--cell", cell, "--label", label, "--seed", seed))


@pytest.mark.parametrize("label", TRUTH)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_it_is_the_same_in_layers_of_ours(tmp_path, cell, label):
    arguments = (SCRIPT, "--cell", cell, "--label", label, "--seed", 0)
    follows(label, *run(tmp_path / "run", *arguments, options=["--accelerate"]))


@pytest.mark.parametrize("label", ["first", "last"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_it_is_the_same_in_16_bits(tmp_path, precision, label):
    follows(label, *run(tmp_path / "run", SCRIPT, "--cell", "lstm", "--label", label, "--precision", precision))


def follows(label, diagnosis, out, err):
    loss = float(out.split()[-1])
    # the outcome, told by the script and not by us
    assert loss < 0.3 * CHANCE if label == "last" else loss > 0.8 * CHANCE
    assert diagnosis["verdict"] in TRUTH[label]
    assert diagnosis["verdict"].replace("-", " ") in err
    (layer,) = diagnosis["layers"]
    assert layer["reach"]["lag"] < 59
    assert (layer["need"]["lag"] == 59) == (label == "first")
