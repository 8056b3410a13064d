"""Small trainings for tests of the loop: problems, plans, and ways to end them."""

import importlib
import os
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric

from longreach.training import checkpoint
from longreach.training.kinds import read
from longreach.training.loop import Interrupted, Loop
from longreach.training.network import Architecture, Network
from longreach.training.plan import Plan
from longreach.training.problem import Problem, Sizes
from longreach.training.progress import Silent
from longreach.training.run import write_plan
from longreach.training.snapshot import resume, snapshot
from longreach.training.task import TaskProblem
from longreach.training.text.problem import Text
from longreach.training.train import resume as go_on_with

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "ran", "far", "away"]


class Killed(BaseException):
    """Ends a training where it is, as no handler expects."""


class Killing(Silent):
    """Ends a training after an update."""

    def __init__(self, step: int):
        self.step = step

    def updated(self, step: int, loss: float, length: float, lr: float) -> None:
        if step == self.step:
            raise Killed


class Heard(Silent):
    """Keeps what was told."""

    def __init__(self):
        self.losses, self.events, self.sentences = {}, [], []

    def updated(self, step, loss, length, lr):
        self.losses[step] = loss

    def happened(self, event):
        self.events.append(event)

    def said(self, sentence):
        self.sentences.append(sentence)


class Poisoned(TaskProblem):
    """The adding problem, some of whose batches are no data."""

    poison: dict[int, float]
    of = "x"

    def training(self, sizes):
        draw = super().training(sizes)

        def batch(number):
            drawn = draw(number)
            if number in self.poison:
                part = getattr(drawn, self.of).clone()
                part[0] = self.poison[number]
                return drawn._replace(**{self.of: part})
            return drawn

        return batch


def adding(poison=None, length=10) -> Poisoned:
    problem = Poisoned.read("adding", length=length)
    problem.poison, problem.allowed = poison or {}, None
    return problem


def words(folder: Path) -> Text:
    """A stream of 1500 characters."""
    path = folder / "words.txt"
    drawn = torch.randint(len(WORDS), (400,), generator=torch.Generator().manual_seed(0))
    path.write_text(" ".join(WORDS[number] for number in drawn))
    return Text.read([str(path)])


def planned(problem: Problem, updates: int = 12, cell: str = "lstm", **own) -> Plan:
    architecture = Architecture(problem.shape, cell, 8, dropout=0.3 if problem.carries else 0.0)
    sizes = Sizes(4, 16, 8) if problem.carries else Sizes(8, 10, 10)
    fixed = {"lr": 0.01, "weight_decay": 0.01, "judge_every": 5, "patience": 50, "clip": None}
    return Plan(architecture=architecture, sizes=sizes, updates=updates, **fixed | {"remedies": ()} | own)


def loop_of(problem: Problem, folder: Path, told: Silent | None = None, **own) -> Loop:
    folder.mkdir(exist_ok=True)
    plan = planned(problem, **own)
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    return Loop(Network(plan.architecture), problem, plan, fabric, folder, told or Silent())


def resumed(problem: Problem, folder: Path, told: Silent | None = None, **own) -> Loop:
    loop = loop_of(problem, folder, told, **own)
    kept, _ = checkpoint.newest(folder)
    resume(loop, kept)
    return loop


def assert_same(one: Loop, other: Loop) -> None:
    """Weights, optimizer, random state, carried state, and all numbers, to the last bit."""
    a, b = snapshot(one), snapshot(other)
    assert a.facts == b.facts
    for mine, others in ((a.shared, b.shared), (a.own[0], b.own[0])):
        assert mine.keys() == others.keys()
        assert [name for name in mine if not torch.equal(mine[name], others[name])] == []


def begun(folder: Path, kind: str, source: dict, **own) -> Path:
    """A run that is planned and was stopped before its first checkpoint; what is measured before a plan takes time."""
    folder.mkdir()
    problem = read(kind, source)
    problem.allowed = None
    write_plan(folder, kind, source, problem.recipe(), planned(problem, **own))
    return folder


def go_on(folder: Path, death: tuple[str, int, int] | None = None) -> None:
    """Resume, in a process of its own that ends by a signal at the n-th call of a function: (name, n, signal)."""
    if death is not None:
        name, calls, number = death
        module, _, function = name.rpartition(".")
        home = importlib.import_module(module)
        real, left = getattr(home, function), [calls]

        def dying(*given, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), number)
            return real(*given, **options)

        setattr(home, function, dying)
    try:
        go_on_with(folder, quiet=True, budget=0)
    except Interrupted as stop:
        sys.exit(stop.code)
