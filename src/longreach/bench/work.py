"""One case of a bench, in a process of its own: `python -m longreach.bench.work ORDERS`, which leaves facts.json."""

import json
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from longreach.bench.cases import GUESSING, Case
from longreach.tasks import Task, named

FACTS = "facts.json"


@dataclass(frozen=True)
class Orders:
    """What the process is to do, as plain data.

    folder    that facts.json is left in
    task      its name and fields
    settings  of the training; empty where weights are guessed, for so many seconds
    """

    folder: str
    task: dict[str, Any]
    settings: dict[str, Any]
    seconds: float

    @classmethod
    def of(cls, case: Case, folder: Path) -> Self:
        """For a case, in a folder."""
        own = str(folder.resolve())
        task = {"name": case.challenge.name, "length": case.length, **dict(case.challenge.options)}
        course = case.course
        if course.cell == GUESSING:
            return cls(own, task, {}, case.seconds)
        settings = {"cell": course.cell, "remedies": course.remedies, "seed": case.seed, "steps": case.steps}
        return cls(own, task, settings, 0.0)


def main() -> None:
    """Do what the orders say.

    Leaves  facts.json: columns of `Row`. Nothing where the process crashes, or the disk is full
    """
    import torch

    from longreach import __version__
    from longreach.plain import plain
    from longreach.whole import write_whole

    orders = Orders(**json.loads(sys.argv[1]))
    versions = f"longreach {__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    wall, processor = time.perf_counter(), time.process_time()
    facts = _trained(orders) if orders.settings else _guessed(orders)
    facts["seconds"] = time.perf_counter() - wall
    facts["processor_seconds"] = time.process_time() - processor
    write_whole(Path(orders.folder, FACTS), json.dumps(plain({**facts, "versions": versions})).encode())


def _trained(orders: Orders) -> dict[str, Any]:
    from longreach.errors import NotApplicable
    from longreach.training.judging import WRONG
    from longreach.training.plan import Settings
    from longreach.training.train import train
    from longreach.training.trouble import Diverged

    task = _task(orders)
    settings = Settings(
        **{**orders.settings, "remedies": tuple(orders.settings["remedies"])}, accelerator="cpu", devices="1"
    )
    folder = Path(orders.folder, "training")
    try:
        outcome = train("task", orders.task, settings, folder=folder, quiet=True)
    except (Diverged, NotApplicable) as error:
        found = "diverged" if isinstance(error, Diverged) else "refused"
        return {
            "outcome": found,
            "failed": next(iter(str(error).splitlines())),
            "chance": task.chance,
            **_planned(folder),
        }
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # half of its size, and nobody goes on from them
    wrong = outcome.test[WRONG]
    return {
        "outcome": "ended",
        "updates": outcome.updates,
        "solved": wrong < task.allowed,
        "wrong": wrong,
        "loss": outcome.test["loss"],
        "chance": outcome.naive["loss"],
        "skipped": outcome.skipped,
        "returns": outcome.returns,
        "verdict": outcome.verdict,
        **_planned(folder),
    }


def _planned(folder: Path) -> dict[str, Any]:
    """What the training was to be; nothing where it did not come that far."""
    from longreach.errors import RunReadError
    from longreach.training.run import read_plan

    try:
        *_, plan = read_plan(folder)
    except RunReadError:
        return {}
    own = plan.architecture
    return {
        "reach": plan.reach,
        "need": plan.need,
        "hidden": own.hidden * own.layers,
        "batch": plan.sizes.batch,
        "lr": plan.lr,
    }


def _task(orders: Orders) -> Task:
    return named(orders.task["name"])(**{key: value for key, value in orders.task.items() if key != "name"})


def _guessed(orders: Orders) -> dict[str, Any]:
    from longreach.tasks import guess

    task = _task(orders)
    found = guess(task, trials=sys.maxsize, seconds=orders.seconds)
    return {
        "outcome": "ended",
        "updates": found.trials,
        "solved": found.solved,
        "wrong": found.best,
        "chance": task.chance,
    }


if __name__ == "__main__":
    main()
