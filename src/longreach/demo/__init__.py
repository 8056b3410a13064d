"""The whole story in a minute: an unmodified forgetful network, its picture, its verdict, a remedy, the proof of it."""

import subprocess
import sys
import tempfile
from pathlib import Path

from longreach import launch
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
    with tempfile.TemporaryDirectory() as folder:
        treated = Path(folder) / "adding_treated.py"
        treated.write_text(treat(SCRIPT.read_text()))
        _say(f"1. An ordinary script, {SCRIPT.name}: a tanh network adds two marked numbers of a hundred.")
        before = _watched(SCRIPT, Path(folder) / "before")
        _say("2. The same script with the remedy: start from the identity, with rectifiers, and clip the gradient.")
        print(difference(), flush=True)
        after = _watched(treated, Path(folder) / "after")
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


def _watched(script: Path, folder: Path):
    command = [sys.executable, "-m", "longreach", "run", "--run-dir", str(folder), str(script)]
    _say(f"   $ longreach run {script.name}\n")
    code = subprocess.run(command, check=False, stderr=subprocess.STDOUT).returncode
    if code:
        raise SystemExit(code)
    print(flush=True)
    return report_json.load((folder / launch.DIAGNOSIS).read_text())


def _compare(before, after) -> int:
    def line(name, diagnosis):
        reach = max(layer.reach.lag for layer in diagnosis.record.layers if layer.reach)
        loss = diagnosis.record.loss.values
        return f"   {name:<14} reach {reach:>3}   loss {loss[0]:.3f} -> {loss[-1]:.4f}   {diagnosis.verdict}"

    _say("3. Side by side (who always answers 1 has a loss of 0.167):\n")
    print(line("as it was", before))
    print(line("with remedy", after), flush=True)
    helped = after.record.loss.values[-1] < before.record.loss.values[-1] / 2
    _say("\n   The gradient reaches the marks now, and the network learns." if helped else "\n   It did not help here.")
    return 0 if helped and before.verdict == "vanishing-in-time" else 1


def _say(text: str) -> None:
    print(text, flush=True)
