"""Three scripts of another's design, run as they are: functions and globals, a class that fits, a command line.

Each has a truth that follows from how its data are made, and tells its own outcome.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"


def run(folder, name, *arguments):
    """(diagnosis.json, the last number that the script has printed, the report) of a script under watch."""
    command = [sys.executable, "-m", "longreach", "run", "--run-dir", str(folder), str(SCRIPTS / name), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "longreach" not in (SCRIPTS / name).read_text()
    outcome = float(re.findall(r"[-\d.]+", done.stdout)[-1])
    return json.loads((folder / "diagnosis.json").read_text()), outcome, " ".join(done.stderr.split())


def test_functions_and_globals(tmp_path):
    """Half of all letters repeat the one 35 places before, 34 steps back from where it is asked for.

    The hidden state is carried from chunk to chunk and detached. Knowing the names: accuracy of about 0.55; without:
    about 0.15.
    """
    diagnosis, accuracy, report = run(tmp_path / "run", "char_model.py")
    assert accuracy < 0.25
    assert diagnosis["verdict"] == "vanishing-in-time"
    (layer,) = diagnosis["layers"]
    assert (layer["module"], layer["kind"], layer["need"]["lag"]) == ("lstm", "LSTM", 34)
    assert layer["reach"]["lag"] < 34
    assert layer["reach"]["horizon"] == 99
    assert "vanishing in time LR101, critical, in lstm" in report


def test_a_class_that_fits(tmp_path):
    """The best forecast from the two values before errs by the variance of a shock, 0.09; nothing else would help."""
    diagnosis, error, report = run(tmp_path / "run", "forecaster.py")
    assert 0.08 < error < 0.12
    assert diagnosis["verdict"] == "short-reach-harmless"
    assert [(layer["module"], layer["kind"]) for layer in diagnosis["layers"]] == [("gru", "GRU")] * 2
    assert all(layer["reach"]["lag"] < layer["reach"]["horizon"] for layer in diagnosis["layers"])
    assert "does no harm" in report


def test_a_command_line_and_workers(tmp_path):
    """Of four kinds, the first event's: at chance, 69 steps back."""
    diagnosis, accuracy, report = run(tmp_path / "run", "first_event.py", "--length", "70", "--workers", "2")
    assert 0.15 < accuracy < 0.35
    assert diagnosis["verdict"] == "vanishing-in-time"
    (layer,) = diagnosis["layers"]
    assert (layer["module"], layer["kind"]) == ("encoder.cell", "LSTM")
    assert (layer["need"]["lag"], layer["reach"]["horizon"]) == (69, 69)
    assert "vanishing in time LR101, critical, in encoder.cell" in report
