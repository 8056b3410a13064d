"""Loops over accelerate need nothing: they are seen as they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integrations import accelerated
from tests.integrations.recalling import TRUTH

import longreach
from longreach.launch import read_run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("label", TRUTH)
def test_a_watched_loop_has_the_verdict_of_the_plain_script(label, same_as_plain):
    accelerator, model, optimizer = accelerated.prepared()
    with longreach.watch(model, optimizer, budget=0.2) as watch:
        accelerated.train(accelerator, model, optimizer, label)
    assert watch.steps == len(accelerated.batches(label))
    same_as_plain(label, watch.diagnose())


def test_longreach_run_has_it_too(same_as_plain, tmp_path):
    script = [Path(accelerated.__file__), "first"]
    command = [sys.executable, "-m", "longreach", "run", "--budget", "0.2", "--run-dir", tmp_path / "run", *script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    same_as_plain("first", read_run(tmp_path / "run"))
