"""The examples hold what they assert."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    ("script", "verdicts"),
    [
        ("four_pictures.py", ["healthy", "short reach harmless", "healthy", "vanishing in time"]),
        ("four_cases.py", ["vanishing in time", "short reach harmless", "step size", "undecided"]),
    ],
)
def test_verdicts_are_as_the_pages_show_them(script, verdicts):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    said = [line.split("verdict")[1].split("LR")[0].strip() for line in done.stdout.splitlines() if "verdict" in line]
    assert said == verdicts
