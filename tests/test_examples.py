"""The examples hold what they assert."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_four_right_pictures():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / "four_pictures.py"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    verdicts = [
        line.split("verdict")[1].split("LR")[0].strip() for line in done.stdout.splitlines() if "verdict" in line
    ]
    assert verdicts == ["healthy", "short reach harmless", "healthy", "vanishing in time"]
