"""Scripts and inputs that are not what they should be: their own outcome untouched, one clear word from us."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import math, os, sys
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)

class Net(nn.Module):
    def __init__(self, inputs=2, ids=0):
        super().__init__()
        self.embed = nn.Embedding(ids, inputs) if ids else nn.Identity()
        self.rnn, self.head = nn.LSTM(inputs, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0][-1])

def train(net, batch, steps=12, loss=lambda p: F.mse_loss(p, torch.ones_like(p))):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        value = loss(net(batch(step)))
        value.backward()
        optimizer.step()
        print(step, value.item())
"""


def outcome(command, folder, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=folder, timeout=120, **options
    )


@pytest.fixture
def run(tmp_path):
    """Runs a script by python and by longreach; checks that they agree; (diagnosis.json, what longreach added)."""

    def run(text, code=0):
        (tmp_path / "train.py").write_text(BEGIN + textwrap.dedent(text))
        plain = outcome(["train.py"], tmp_path)
        watched = outcome(["-m", "longreach", "run", "--run-dir", "run", "train.py"], tmp_path)
        assert plain.returncode == code, plain.stderr
        assert (watched.returncode, watched.stdout) == (code, plain.stdout)
        assert watched.stderr.startswith(plain.stderr)
        said = watched.stderr.removeprefix(plain.stderr)
        assert "Traceback" not in said
        assert "stopped at step" not in said
        assert said.rstrip().endswith("run folder: run")
        return json.loads((tmp_path / "run" / "diagnosis.json").read_text(), parse_constant=pytest.fail), said

    return run


def squeezed(said):
    """A report as one line, as it was before it was wrapped."""
    return " ".join(said.split())


def test_no_optimizer_step(run):
    diagnosis, said = run("""
        net = Net()
        for _ in range(3):
            net(torch.randn(5, 3, 2)).sum().backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 0.1 * p.grad
        print("done")
    """)
    assert squeezed(said).startswith("longreach: no optimizer step was seen: expected a call of step()")
    assert said.count("longreach:") == 1
    assert diagnosis["findings"] == []


def test_a_crash_in_the_middle_keeps_its_traceback_and_what_was_measured(run):
    diagnosis, said = run(
        """
        def batch(step):
            if step == 8:
                raise ValueError("no such file: part 8")
            return torch.randn(20, 64, 2)
        train(Net(), batch)
        """,
        code=1,
    )
    assert diagnosis["layers"][0]["reach"]["horizon"] == 19
    assert diagnosis["layers"][0]["need"]["sequences"] > 0
    assert "8 steps in" in said


def test_an_exit_without_goodbye_keeps_what_was_measured(run):
    diagnosis, _ = run("train(Net(), lambda step: torch.randn(20, 64, 2) if step < 8 else os._exit(3))", code=3)
    assert diagnosis["layers"][0]["reach"]["horizon"] == 19


def test_constant_inputs_ask_for_nothing(run):
    diagnosis, said = run("train(Net(), lambda step: torch.ones(20, 64, 2), steps=30)")
    (layer,) = diagnosis["layers"]
    assert layer["need"] is None
    assert not diagnosis["findings"]
    assert "never changed" in squeezed(said)


def test_nan_inputs_at_some_step(run):
    diagnosis, said = run("""
        def batch(step):
            x = torch.randn(20, 64, 2)
            if step == 7:
                x[13, 5] = math.nan
            return x
        train(Net(), batch)
    """)
    assert diagnosis["verdict"] == "non-finite"
    evidence = diagnosis["findings"][0]["evidence"]
    assert (evidence["step"], evidence["time_step"], evidence["cause"]) == (7, 13, "data")
    assert diagnosis["findings"][0]["where"] == "rnn"
    assert "The first NaN appeared at training step 7, on the way forward, at time step 13" in squeezed(said)
    assert "mend the inputs" in squeezed(said)


def test_everything_nan_from_the_first_step(run):
    diagnosis, said = run("train(Net(), lambda step: torch.full((20, 8, 2), math.nan))")
    assert diagnosis["verdict"] == "non-finite"
    assert diagnosis["findings"][0]["where"] == "rnn"
    assert "at training step 0, on the way forward, at time step 0, in LSTM" in squeezed(said)


def test_sequences_of_length_one(run):
    diagnosis, said = run("train(Net(), lambda step: torch.randn(1, 64, 2))")
    assert diagnosis["layers"][0]["reach"]["horizon"] == 0
    assert not [finding for finding in diagnosis["findings"] if finding["code"].startswith("LR1")]
    assert "one step long" in squeezed(said)


def test_token_inputs_through_an_embedding(run):
    diagnosis, _ = run("train(Net(4, ids=11), lambda step: torch.randint(11, (20, 64)), steps=30)")
    (layer,) = diagnosis["layers"]
    assert layer["reach"]["horizon"] == 19
    assert layer["need"]["sequences"] > 256


def test_one_hot_inputs(run):
    diagnosis, _ = run("train(Net(5), lambda step: F.one_hot(torch.randint(5, (20, 64)), 5).float(), steps=30)")
    (layer,) = diagnosis["layers"]
    assert layer["need"]["sequences"] > 256
    assert "vanishing-in-time" not in diagnosis["verdict"]


def test_a_loss_that_is_zero_already(run):
    diagnosis, said = run("train(Net(), lambda step: torch.randn(20, 64, 2), loss=lambda p: 0 * p.sum(), steps=30)")
    assert diagnosis["layers"][0]["need"] is None
    assert diagnosis["verdict"] == "healthy"
    assert not diagnosis["findings"]
    assert "rnn: need could not be tested: no finite error arrived" in squeezed(said)


def test_a_loss_that_never_reaches_the_recurrent_layer(run):
    diagnosis, said = run("""
        class Deaf(Net):
            def forward(self, x):
                return self.head(self.rnn(x)[0][-1].detach())
        train(Deaf(), lambda step: torch.randn(20, 64, 2))
    """)
    assert diagnosis["layers"] == []
    assert "no gradient came back to rnn" in squeezed(said)


def test_a_recurrent_layer_without_gradient(run):
    diagnosis, said = run("""
        class Frozen(Net):
            def forward(self, x):
                with torch.no_grad():
                    x = self.rnn(x)[0][-1]
                return self.head(x)
        train(Frozen(), lambda step: torch.randn(20, 64, 2))
    """)
    assert diagnosis["layers"] == []
    assert "no gradient came back to rnn" in squeezed(said)


def test_a_run_folder_that_cannot_be_written_costs_nothing_but_the_words(tmp_path):
    (tmp_path / "train.py").write_text("open('ran', 'w')\n")
    (tmp_path / "taken").write_text("a file, no folder")
    done = outcome(["-m", "longreach", "run", "--run-dir", "taken/run", "train.py"], tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("longreach: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "taken").read_text() == "a file, no folder"
