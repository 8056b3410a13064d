"""The whole story in a minute: an unmodified forgetful network, its picture, its verdict, a remedy, the proof of it."""

import subprocess
import sys
import tempfile
from pathlib import Path

from longreach import launch
from longreach.diagnosis import Diagnosis
from longreach.report import json as report_json

SCRIPT = Path(__file__).with_name("adding.py")

# An identity start with rectifiers (Le, Jaitly & Hinton 2015, arXiv 1504.00941), and clipping to keep it from exploding
# (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, algorithm 1). Each line is put behind the one named before it.
REMEDY = {
    "        self.rnn = nn.RNN(2, 64, batch_first=True)": (
        '        self.rnn = nn.RNN(2, 64, batch_first=True, nonlinearity="relu")',
        "        nn.init.eye_(self.rnn.weight_hh_l0)",
        "        nn.init.zeros_(self.rnn.bias_ih_l0)",
        "        nn.init.zeros_(self.rnn.bias_hh_l0)",
    ),
    "        loss.backward()": (
        "        loss.backward()",
        "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
    ),
}


def demo() -> int:
    """Run the shipped script under watch, as it is and with a remedy; 0 if the first fails and the second learns."""
    source = SCRIPT.read_text()
    with tempfile.TemporaryDirectory() as folder:
        _say("1. An ordinary script: a tanh network is to add the two marked numbers of a hundred.\n")
        before = _watched(Path(folder) / "adding.py", source)
        _say("2. The same script with a remedy: start from the identity, with rectifiers, and clip.\n")
        _say(difference())
        after = _watched(Path(folder) / "treated.py", treat(source))
    return _compare(before, after)


def treat(source: str) -> str:
    """The script with the remedy's lines put in."""
    for line, lines in REMEDY.items():
        if source.count(line + "\n") != 1:
            raise AssertionError(f"the demo's script was to hold this line once: {line.strip()}")
        source = source.replace(line + "\n", "\n".join(lines) + "\n")
    return source


def difference() -> str:
    """The remedy as a patch."""
    lines = []
    for old, new in REMEDY.items():
        if new[0] != old:
            lines.append("-" + old)
        lines += ["+" + line for line in new if line != old]
    return "\n".join(lines) + "\n"


def _watched(script: Path, source: str) -> Diagnosis:
    script.write_text(source)
    run = script.with_suffix("")
    _say(f"$ longreach run --run-dir {run.name} {script.name}")
    command = [sys.executable, "-m", "longreach", "run", "--run-dir", run.name, script.name]
    code = subprocess.run(command, check=False, stderr=subprocess.STDOUT, cwd=script.parent).returncode
    if code:
        raise SystemExit(code)
    _say("")
    return report_json.load((run / launch.DIAGNOSIS).read_text())


def _compare(before: Diagnosis, after: Diagnosis) -> int:
    _say("3. Side by side. Who always answers 1 has a loss of 0.167.\n")
    _say("                 reach    loss at the end   verdict")
    for name, diagnosis in (("as it was", before), ("with the remedy", after)):
        _say(f"{name:<15}  {_reach(diagnosis):>5}   {_end(diagnosis):>16.4f}   {diagnosis.verdict}")
    learnt = before.verdict == "vanishing-in-time" and _end(after) < _end(before) / 2
    _say("\nThe gradient reaches the marks now, and the network learns." if learnt else "\nThe remedy did not help.")
    return 0 if learnt else 1


def _reach(diagnosis: Diagnosis) -> int:
    return max((layer.reach.lag for layer in diagnosis.record.layers if layer.reach), default=0)


def _end(diagnosis: Diagnosis) -> float:
    """The mean loss of the last twentieth of the run."""
    values = diagnosis.record.loss.values if diagnosis.record.loss else (float("nan"),)
    late = values[-max(1, len(values) // 20) :]
    return sum(late) / len(late)


def _say(text: str) -> None:
    print(text, flush=True)
