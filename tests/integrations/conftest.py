"""What the tests of all integrations share: no network, no file outside of tmp_path, and what `longreach run` says."""

import gc
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from tests.integrations import recalling

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
os.environ |= OFFLINE  # some libraries read them when they are imported


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wandb_ends():
    """Weights & Biases leaves a process behind and its pipes open; they are cleared away here, not in a later test."""
    import wandb

    yield
    wandb.teardown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory):
    """plain_folder(label): where `longreach run` has measured the plain script."""
    found = {}

    def of(label):
        if label not in found:
            folder = tmp_path_factory.mktemp("plain") / label
            script = [Path(recalling.__file__), label]
            command = [sys.executable, "-m", "longreach", "run", "--budget", "0.2", "--run-dir", folder, *script]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            found[label] = folder
        return found[label]

    return of


@pytest.fixture(scope="session")
def plain(plain_folder):
    """plain(label): what `longreach run` says of the plain script, as in diagnosis.json."""

    def of(label):
        diagnosis = json.loads((plain_folder(label) / "diagnosis.json").read_text())
        assert diagnosis["verdict"] in recalling.TRUTH[label]
        return diagnosis

    return of


@pytest.fixture
def same_as_plain(plain):
    """same_as_plain(label, diagnosis): the same training, to the last bit, and the same verdict."""

    def check(label, diagnosis):
        expected = plain(label)
        assert list(diagnosis.record.loss.values) == expected["loss"]["values"]
        assert diagnosis.verdict == expected["verdict"]
        (layer,), (theirs,) = diagnosis.record.layers, expected["layers"]
        assert layer.module == theirs["module"] == "rnn"
        assert layer.need.lag == theirs["need"]["lag"]
        assert abs(layer.reach.lag - theirs["reach"]["lag"]) <= 2  # other steps may have been sampled

    return check
