"""The whole story in a minute: an unmodified forgetful network, its picture, its verdict, a remedy, what it changed."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from longreach import launch
from longreach.diagnosis import Diagnosis
from longreach.report import json as report_json

SCRIPT = Path(__file__).with_name("adding.py")

# An identity start with rectifiers (Le, Jaitly & Hinton 2015, arXiv 1504.00941), and clipping to keep it from exploding
# (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, algorithm 1).
REMEDY = "identity-init,clip-norm"


def demo() -> int:
    """Run the shipped script under watch, as it is and with a remedy; 0 if the first fails and the second learns."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / SCRIPT.name
        shutil.copy(SCRIPT, script)
        _say("1. An ordinary script: a tanh network is to add the two marked numbers of a hundred.\n")
        before = _watched(script, "as-it-is")
        _say("2. The same script, untouched, with a remedy put in from outside where it makes its optimizer:")
        _say("   start from the identity, with rectifiers, and clip the gradient.\n")
        after = _watched(script, "treated", "--apply", REMEDY)
    return _compare(before, after)


def _watched(script: Path, run: str, *options: str) -> Diagnosis:
    words = ["run", "--run-dir", run, *options, script.name]
    _say(f"$ longreach {' '.join(words)}")
    command = [sys.executable, "-m", "longreach", *words]
    code = subprocess.run(command, check=False, stderr=subprocess.STDOUT, cwd=script.parent).returncode
    if code:
        raise SystemExit(code)
    _say("")
    return report_json.load((script.parent / run / launch.DIAGNOSIS).read_text())


def _compare(before: Diagnosis, after: Diagnosis) -> int:
    _say("3. Side by side. Who always answers 1 has a loss of 0.167.\n")
    _say("                 reach    loss at the end   verdict")
    for name, diagnosis in (("as it was", before), ("with the remedy", after)):
        _say(f"{name:<15}  {_reach(diagnosis):>5}   {_end(diagnosis):>16.4f}   {diagnosis.verdict}")
    learnt = before.verdict == "vanishing-in-time" and _end(after) < _end(before) / 2
    if not learnt:
        _say("\nThe remedy did not help.")
        return 1
    _say("\nThe gradient reaches the marks now, and the network learns. That was one run of each: `longreach treat`")
    _say("tries all remedies that fit a script, in paired runs, proves the best, and writes its two lines as a patch.")
    return 0


def _reach(diagnosis: Diagnosis) -> int:
    return max((layer.reach.lag for layer in diagnosis.record.layers if layer.reach), default=0)


def _end(diagnosis: Diagnosis) -> float:
    """The mean loss of the last twentieth of the run."""
    values = diagnosis.record.loss.values if diagnosis.record.loss else (float("nan"),)
    late = values[-max(1, len(values) // 20) :]
    return sum(late) / len(late)


def _say(text: str) -> None:
    print(text, flush=True)
