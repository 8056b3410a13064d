"""What training survives: kills at random moments, and batches that are no data.

python benchmarks/trouble.py kills     30 runs ended with kill -9 and resumed: is the end the same, bit for bit?
python benchmarks/trouble.py batches   20 batches of NaN, Inf or 1e30: how far from the loss of a clean run?
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = (sys.executable, "-m", "longreach", "train")
PROCESSES = multiprocessing.get_context("forkserver")
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "ran", "far", "away", "from", "many", "dogs"]
BROKEN = [math.nan, math.inf, -math.inf, 1e30, -1e30]
NOISE = 0.3
SMALL = ("--hidden", "24", "--checkpoint-every", "0.5")


def kinds(folder: Path) -> dict[str, tuple[str, ...]]:
    """A stream with a state that is carried on and dropout, and a task whose batches are drawn."""
    text = folder / "words.txt"
    text.write_text(" ".join(random.Random(0).choices(WORDS, k=8000)))
    return {
        "text": ("text", str(text), "--dropout", "0.2", "--batch", "4", "--window", "32", "--hop", "16", *SMALL),
        "adding": ("task", "adding", "--length", "60", "--cell", "lstm", *SMALL),
    }


def kills(times: int, steps: int) -> None:
    """Each run is killed at random moments, three times, and goes on each time from what lies in its folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, chance = Path(temporary), random.Random(1)
        print("| run | killed, seconds after a start, at a checkpoint of step | weights, state, logs, scores |")
        print("|---|---|---|", flush=True)
        total = 0
        for name, options in kinds(folder).items():
            planned = folder / f"{name}-planned"
            plan(planned, (*options, "--steps", str(steps)))
            clean = Path(shutil.copytree(planned, folder / f"{name}-clean"))
            began = time.monotonic()
            go_on(clean)
            whole = time.monotonic() - began
            for number in range(times // 6):
                place = Path(shutil.copytree(planned, folder / f"{name}-{number}"))
                killed = []
                while len(killed) < 3:
                    patience = chance.uniform(0, whole / 3)
                    if not go_on(place, patience):
                        break
                    killed.append(f"{patience:.1f} s at {reached(place)}")
                else:
                    go_on(place)
                total += len(killed)
                told = ", ".join(difference(clean, place)) or "equal"
                print(f"| {name} {number + 1} | {', '.join(killed)} | {told} |", flush=True)
        print(f"\n{total} kills; undisturbed, a run takes {whole:.1f} s")


def plan(folder: Path, options: tuple[str, ...]) -> None:
    """A run that is planned, and stopped before its first checkpoint: all that follow begin alike."""
    process = subprocess.Popen([*PROGRAM, *options, "--quiet", "--run-dir", str(folder)])
    while not (folder / "train.json").exists() and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    for path in folder.iterdir():
        if path.name != "train.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def go_on(folder: Path, patience: float | None = None) -> bool:
    """Resume in a process of its own; whether it had to be killed after so many seconds.

    It is forked from one that has imported everything: kills are to hit the training.
    """
    process = PROCESSES.Process(target=resumed, args=(folder,))
    process.start()
    process.join(patience)
    if process.exitcode is None:
        process.kill()
        process.join()
        return True
    if process.exitcode:
        raise SystemExit(f"resuming {folder} failed")
    return False


def resumed(folder: Path) -> None:
    from longreach.training.train import resume

    resume(folder, quiet=True)


def batches(times: int, steps: int) -> None:
    """The same run with and without batches whose inputs and targets are replaced, at random moments."""
    import torch
    from lightning_fabric import Fabric

    from longreach.training.loop import Loop
    from longreach.training.memory import prescribe
    from longreach.training.network import Network
    from longreach.training.plan import Settings
    from longreach.training.progress import Silent
    from longreach.training.task import TaskProblem

    def noisy(batch, number):
        noise = torch.randn(batch.y.shape, generator=torch.Generator().manual_seed(number))
        return batch._replace(y=batch.y + NOISE * noise)

    class Poisoned(TaskProblem):
        """The adding problem with noise that nobody can foresee: where all is learned the loss is its variance."""

        poison: dict[int, float]

        def training(self, sizes):
            draw = super().training(sizes)

            def batch(number):
                drawn = noisy(draw(number), number)
                if number not in self.poison:
                    return drawn
                x, y = (torch.full_like(part, self.poison[number]) for part in (drawn.x, drawn.y))
                return drawn._replace(x=x, y=y)

            return batch

        def held_out(self, part, sizes):
            return (noisy(batch, -1 - number) for number, batch in enumerate(super().held_out(part, sizes)))

    def trained(cell: str, poison: dict[int, float]) -> tuple[float, Loop]:
        problem = Poisoned.read("adding", length=30)
        problem.poison, problem.allowed = {}, None
        plan = prescribe(problem, Settings(cell=cell, hidden=32, steps=steps, deep=False))
        problem.poison = poison
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            fabric = Fabric(accelerator="cpu", devices=1)
            loop = Loop(Network(plan.architecture), problem, plan, fabric, Path(folder), Silent())
            loop.run()
        return loop.best, loop

    print("| cell | batches | skipped | ways back | validation loss | without them | ratio |")
    print("|---|---|--:|--:|--:|--:|--:|", flush=True)
    for cell in ("min-gru", "lstm"):
        clean, _ = trained(cell, {})
        for name, values in (("nan", [math.nan]), ("inf", [math.inf]), ("1e30", [1e30]), ("all", BROKEN)):
            chance = random.Random(2)
            poison = {number: chance.choice(values) for number in chance.sample(range(steps), times)}
            loss, loop = trained(cell, poison)
            told = f"{loop.trouble.skipped} | {loop.trouble.returns} | {loss:.5g} | {clean:.5g} | {loss / clean:.4f}"
            print(f"| {cell} | {times} of {name} | {told} |", flush=True)


def reached(folder: Path) -> int:
    """The step of the newest checkpoint."""
    return max((int(path.name) for path in (folder / "checkpoints").glob("[0-9]*")), default=0)


def difference(one: Path, other: Path) -> list[str]:
    """What two runs do not have in common."""
    last = Path("checkpoints", f"{reached(one):09d}")
    names = ["model.safetensors", last / "weights.safetensors", last / "rank-0.safetensors", last / "facts.json"]
    found = [str(name) for name in names if (one / name).read_bytes() != (other / name).read_bytes()]
    found += [
        name for name in ("metrics.csv", "validation.csv") if (one / name).read_text() != (other / name).read_text()
    ]
    scores = [json.loads((folder / "outcome.json").read_text())["test"] for folder in (one, other)]
    return found + ["test scores"] * (scores[0] != scores[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "batches"])
    parser.add_argument("--times", type=int, help="default: 30 kills, 20 batches")
    parser.add_argument("--steps", type=int, help="default: 600 and 3000")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or runs of several threads would wait for each other
    PROCESSES.set_forkserver_preload(
        ["longreach.training.train", "longreach.training.text.problem", "longreach.training.task"]
    )
    if arguments.what == "kills":
        kills(arguments.times or 30, arguments.steps or 600)
    else:
        batches(arguments.times or 20, arguments.steps or 3000)
