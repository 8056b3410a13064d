"""`longreach treat` on whole scripts: small ones, for every run is a process."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from longreach.errors import ArgumentError, RunFolderError, ScriptError
from longreach.report.treated import render
from longreach.trial.proof import Proof
from longreach.trial.treat import treat

# Steps far too large for plain gradient descent: the loss grows, unless the gradient is limited.
STEEP = """
    import sys
    import torch
    from torch import nn

    torch.manual_seed(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.15)
    for step in range(60):
        x = 3 * torch.randn(32, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print("step", step, "held-out accuracy", step / 60)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(home, text, name="train.py"):
    (home / name).write_text(textwrap.dedent(text))
    return name


def test_proves_a_remedy_and_writes_its_patch(home):
    found = treat(write(home, STEEP), ["7"], steps=40, seeds=4, remedies=["clip-norm", "lstm"])
    assert found.proof is not None
    assert found.proof.winner is not None
    assert found.proof.winner.name == "clip-norm"
    assert found.proof.verdict(found.proof.random) != "proven"
    (lstm,) = (arm for arm in found.proof.arms if arm.name == "lstm")
    assert lstm.not_applicable is not None
    assert lstm.not_applicable.startswith("lstm: expected an RNN or GRU of torch")
    assert found.patch is not None
    assert found.patch.after == ("remedies.clip_norm(optimizer)",)
    assert found.same is True
    folder = Path(found.folder)
    assert Proof.from_json((folder / "proof.json").read_text()) == found.proof
    subprocess.run(["patch", "-p0", "-i", folder / "patch.diff"], check=True, stdout=subprocess.DEVNULL)
    assert "remedies.clip_norm(optimizer)\n" in (home / "train.py").read_text()
    assert "Put this line into train.py" in render(found)
    assert found.page == f"{found.folder}/report.html"
    assert "Proven to help:" in Path(found.page).read_text()


# It counts its runs where all of them see it, leaves a file where it works, and is over before --steps.
COUNTED = """
    import os, sys, pathlib
    import torch
    assert not os.path.exists("trace"), "another run was here"
    open("trace", "w").write("me")
    with open(sys.argv[1], "a") as file:
        file.write("run\\n")
    words = sys.stdin.read().split()
    weight = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(weight.parameters(), lr=0.01)
    for word in words:
        loss = (weight(torch.ones(1, 1)) - float(word)).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
"""


def test_each_run_has_its_own_folder_and_input_and_none_is_made_twice(home, monkeypatch):
    write(home, COUNTED)
    (home / "numbers").write_text("1 2 " * 15)
    counter = home.parent / "count"
    with (home / "numbers").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        first = treat("train.py", [str(counter)], seeds=2, remedies=["clip-norm"])
    runs = counter.read_text().count("run")
    assert first.proof is not None
    assert first.proof.steps == 30
    assert {len(arm.outcomes) for arm in (first.proof.control, first.proof.random, *first.proof.arms)} == {2}
    with open(os.devnull) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        again = treat("train.py", [str(counter)], seeds=2, remedies=["clip-norm"])
    assert again.proof == first.proof
    assert counter.read_text().count("run") == runs
    assert not (home / "trace").exists()


CHANCY = """
    import os
    import torch
    torch.manual_seed(int.from_bytes(os.urandom(4), "little"))
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(30):
        loss = (model(torch.randn(8, 2)) - 1).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
"""


def test_says_that_a_script_is_not_the_same_twice(home):
    found = treat(write(home, CHANCY), seeds=1, remedies=["clip-norm"])
    assert found.proof is not None
    assert found.proof.notes[0].startswith("the script is not the same twice under one seed: two runs as it is end at ")
    assert found.proof.notes[0].rstrip() in str(found.proof).replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import argparse\nargparse.ArgumentParser().parse_args(['--x'])\n", "give it its own arguments"),
        ("input()\n", "pipe in what it shall read"),
        ("import torch\nraise ValueError('no data')\n", "ValueError: no data"),
        ("import torch\n", "no optimizer step was seen"),
        ("print(1)\n", "never imported torch"),
    ],
)
def test_a_script_that_does_not_train_is_told_apart(home, text, message):
    with pytest.raises(ScriptError, match=message):
        treat(write(home, text), remedies=["clip-norm"])


def test_a_metric_that_is_printed(home):
    found = treat(write(home, STEEP), steps=20, seeds=1, remedies=["clip-norm"], metric="held-out accuracy")
    assert found.proof is not None
    assert found.proof.higher_is_better
    assert found.proof.control.outcomes[0].loss == pytest.approx(18 / 60)  # the step that ends a run prints no more
    with pytest.raises(ArgumentError, match="found none"):
        treat("train.py", steps=20, seeds=1, remedies=["clip-norm"], metric="recall")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "--steps: expected 20 or more, got 3"),
        ({"seeds": 0}, "--seeds: expected 1 or more, got 0"),
        ({"jobs": -1}, "--jobs: expected 1 or more, got -1"),
        ({"remedies": ["clip-norm+lstn"]}, "remedy 'lstn': expected one of"),
    ],
)
def test_wrong_options_are_told_before_anything_is_run(home, options, message):
    write(home, STEEP)
    with pytest.raises(ArgumentError, match=message):
        treat("train.py", **options)
    assert not (home / "longreach-runs").exists()


def test_a_folder_of_another_trial_is_left_alone(home):
    write(home, STEEP)
    (home / "kept").mkdir()
    (home / "kept" / "plan.json").write_text(json.dumps({"name": "another"}))
    with pytest.raises(RunFolderError, match="holds another trial"):
        treat("train.py", folder=Path("kept"), remedies=["clip-norm"])


def test_ctrl_c_says_what_is_known_and_the_same_command_goes_on(home):
    write(home, STEEP)
    command = [sys.executable, "-m", "longreach", "treat", "--steps", "40", "--seeds", "2", "--remedies", "clip-norm"]
    process = subprocess.Popen([*command, "train.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("  clip-norm, seed 1"):
            break
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert "Interrupted: this is what is known so far." in output
    ended = len(list((home / "longreach-runs").rglob("result.json")))
    again = subprocess.run([*command, "train.py"], capture_output=True, text=True, check=False)
    assert again.returncode in (0, 1)
    assert len(list((home / "longreach-runs").rglob("result.json"))) > ended
    assert "Interrupted" not in again.stdout
