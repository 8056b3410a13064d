"""What `longreach treat` makes of scripts that forget, of healthy ones, and of labels that are noise.

python benchmarks/treat.py scripts [--only first-lstm] [--folder DIR]     hours on two cores; goes on where it stopped
python benchmarks/treat.py speed                                          what a trial costs beyond its runs
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from longreach.trial.proof import Proof

HERE = Path(__file__).parent
FORGETFUL = HERE.parent / "examples" / "forgetful.py"
CHANCE = {"adding": 1 / 6, "first": 1.3863, "copying": 1.3863}
SOLVED = 0.05  # of chance


@dataclass(frozen=True)
class Case:
    """A script with its arguments, and what is expected: "helped" or "nothing"."""

    task: str
    net: str
    kind: str

    @property
    def name(self) -> str:
        return "-".join([self.task, self.net] + [self.kind] * (self.kind != "forgets"))

    @property
    def arguments(self) -> list[str]:
        extra = {"forgets": [], "healthy": ["--length", "8"], "noise": ["--labels", "noise"]}[self.kind]
        return ["--task", self.task, "--net", self.net, *extra]


CASES = [
    *(Case(task, net, "healthy") for task, net in (("adding", "rnn"), ("first", "gru"), ("copying", "lstm"))),
    *(Case(task, net, "noise") for task, net in (("adding", "gru"), ("first", "rnn"), ("copying", "rnn"))),
    *(Case(task, net, "forgets") for task in ("adding", "first") for net in ("rnn", "gru", "lstm", "cell")),
    *(Case("copying", net, "forgets") for net in ("rnn", "lstm")),
]


def scripts(folder: Path, only: list[str]) -> None:
    """Treat every case, and print a line for it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(FORGETFUL, folder / "forgetful.py")
    print(
        "| script | verdict | remedy | loss | seeds | effect | solved | minutes |\n|---|---|---|---|---|---|---|--:|",
        flush=True,
    )
    for case in CASES:
        if not only or case.name in only:
            print(_line(case, folder), flush=True)


def _line(case: Case, folder: Path) -> str:
    began = time.perf_counter()
    command = [sys.executable, "-m", "longreach", "treat", "--run-dir", case.name]
    with (folder / f"{case.name}.txt").open("w") as output:
        subprocess.run(
            [*command, "forgetful.py", *case.arguments],
            cwd=folder,
            stdout=output,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    minutes = (time.perf_counter() - began) / 60
    said = (folder / f"{case.name}.txt").read_text().splitlines()
    verdict = said[0].removeprefix("The script as it is: ").split(" in ")[0].rstrip(".") if said else "nothing"
    kept = folder / case.name / "proof.json"
    if not kept.is_file():
        return f"| {case.name} | {verdict} | none to try | | | | | {minutes:.1f} |"
    proof = Proof.from_json(kept.read_text())
    winner = proof.winner
    if winner is None:
        tried = ", ".join(arm.name for arm in proof.arms if arm.outcomes)
        return f"| {case.name} | {verdict} | none proven of {tried} | | | | | {minutes:.1f} |"
    found = proof.effects[winner.name]
    before = [run.loss for run in proof.control.outcomes]
    after = [run.loss for run in winner.outcomes]
    solved = sum(loss <= SOLVED * CHANCE[case.task] for loss in after)
    return (
        f"| {case.name} | {verdict} | {winner.name} | {median(before):.3g} → {median(after):.2g} | {found.seeds} "
        f"| {found.estimate:.2g} [{found.low:.2g}, {found.high:.2g}] | {solved} of {len(after)} | {minutes:.1f} |"
    )


# ---------------------------------------------------------------- speed

SIX = "lstm,gru,identity-init+clip-norm,orthogonal-init+clip-norm,linear-recurrent,relu+clip-norm"


def speed() -> None:
    """A trial of six remedies, three seeds and 500 steps, beside its own runs and beside the bare script."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(FORGETFUL, folder)
        arguments = ["--length", "150", "--batch", "64", "--steps", "500"]
        bare = _two_at_a_time(folder, arguments)
        began = time.perf_counter()
        command = [sys.executable, "-m", "longreach", "treat", "--steps", "500", "--seeds", "3", "--remedies", SIX]
        subprocess.run([*command, "--run-dir", "trial", "forgetful.py", *arguments], cwd=folder, check=False)
        wall = time.perf_counter() - began
        runs = [json.loads(path.read_text()) for path in (folder / "trial" / "runs").rglob("result.json")]
    cores = len(os.sched_getaffinity(0))
    inside = sum(run["wall"] for run in runs)
    control = median(run["wall"] for run in runs if run["arm"] == "control")
    print(
        f"\n{len(runs)} runs on {cores} cores; the trial took {wall:.0f} s, its runs {inside:.0f} s one after the other"
    )
    print(f"wall × cores / runs: {wall * cores / inside:.2f}; a control run / the bare script: {control / bare:.2f}")


def _two_at_a_time(folder: Path, arguments: list[str]) -> float:
    """Seconds that the bare script takes while another one runs, as in a trial."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        pair = [
            subprocess.Popen(
                [sys.executable, "forgetful.py", *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        for process in pair:
            process.wait()
        taken.append(time.perf_counter() - began)
    return median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("scripts")
    command.add_argument("--only", nargs="*", default=[])
    command.add_argument("--folder", type=Path, default=Path("treated"))
    command.set_defaults(run=scripts)
    command = commands.add_parser("speed")
    command.set_defaults(run=speed)
    options = vars(parser.parse_args())
    options.pop("run")(**options)


if __name__ == "__main__":
    main()
