"""A task of the literature as a problem to train on: sequences that are drawn anew for every batch."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from math import inf
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from longreach.batch import Batch
from longreach.errors import ArgumentError
from longreach.tasks.task import Task
from longreach.training.problem import Advice, Part, Problem, Shape, Sizes

JUDGED = {"validation": 500, "test": 10_000}  # fresh sequences
STEPS_BEYOND = 5_000_000  # in all of a length that is tried besides; but no fewer than LEAST_BEYOND sequences
LEAST_BEYOND = 1_000
PIECE = 250  # of them at once
SEEDS = {"training": 0, "validation": 1, "test": 2}


class TaskProblem(Problem):
    """Sequences of one task. Number, seed and part decide a batch; no two are alike.

    beyond         lengths that the trained network is tried at besides, on 1,000 to 10,000 sequences each
    keep_training  to the last update; else training ends when the task is solved
    Raises         ArgumentError for a length that the task cannot have
    """

    kind = "task"

    def __init__(self, task: Task, *, beyond: Sequence[int] = (), keep_training: bool = False):
        self.task, self.beyond = task, {length: _at(task, length) for length in beyond}
        self.keep_training = keep_training
        self.allowed = None if keep_training else task.allowed / 2  # so that the test, on other sequences, agrees

    @classmethod
    def read(cls, name: str, *, beyond: Sequence[int] = (), keep_training: bool = False, **options: Any) -> Self:
        """The task of this name, with its fields."""
        from longreach.tasks import make

        return cls(make(name, **options), beyond=beyond, keep_training=keep_training)

    @property
    def shape(self) -> Shape:
        """Of the network."""
        return Shape(self.task.inputs, self.task.outputs)

    @property
    def answers(self) -> float:
        """Without an end."""
        return inf

    @property
    def longest(self) -> int:
        """Of the first sequences drawn."""
        return self.training(Sizes(8, 1, 1))(0).x.shape[1]

    def advice(self) -> Advice:
        """Many updates; a task that is solved ends earlier."""
        return Advice(batch=20, updates=20_000, weight_decay=0.01, patience=1000, judgements=100, judge_every=100)

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        """Batches drawn anew."""
        count = len(range(sizes.rank, sizes.batch, sizes.world))

        def batch(number: int) -> Batch:
            return self.task.draw(count, _generator(sizes.seed, "training", number, sizes.rank))

        return batch

    def held_out(self, part: Part, sizes: Sizes) -> Iterator[Batch]:
        """The same sequences at every look."""
        task = self.task.held_out(part)
        for number in range(sizes.rank, JUDGED[part] // PIECE, sizes.world):
            yield task.draw(PIECE, _generator(sizes.seed, part, number, 0))

    def loss(self, answer: Tensor, y: Tensor) -> Tensor:
        """The task's own."""
        return self.task.loss(answer, y)

    def scores(self, answer: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Nothing besides the loss and the share of wrong sequences."""
        return {}

    def solved(self, answer: Tensor, batch: Batch) -> Tensor:
        """By the criterion of the task's source."""
        return ~self.task.wrong(answer, batch)

    def naive(self, part: Part) -> dict[str, float]:
        """Chance."""
        return {"loss": self.task.chance}

    def recipe(self) -> dict[str, Any]:
        """The task's name and fields."""
        return {"name": self.task.name, **asdict(self.task)}

    def leave(self, folder: Path, answer: Callable[[Batch], Tensor]) -> list[str]:
        """What share of the sequences is wrong at other lengths: beyond.csv."""
        rows: list[tuple[int, float, int]] = []
        for length, other in self.beyond.items():
            wrong = total = 0
            sequences = min(JUDGED["test"], max(LEAST_BEYOND, STEPS_BEYOND // max(length, 1)))
            for number in range(sequences // PIECE):
                batch = other.draw(PIECE, _generator(length, "test", number, 0))
                wrong += int(other.wrong(answer(batch), batch).sum())
                total += PIECE
            rows.append((length, wrong / total, total))
        if not self.beyond:
            return []
        with open(folder / "beyond.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("length", "wrong sequences", "sequences"), *rows])
        return [f"at length {length}: {share:.2%} of {count} sequences wrong" for length, share, count in rows]


def _at(task: Task, length: int) -> Task:
    """The task at one length alone. Raises ArgumentError where it cannot have it."""
    ranges = {"longest": None} if any(own.name == "longest" for own in fields(task)) else {}
    try:
        return replace(task, length=length, **ranges)
    except ArgumentError as error:
        raise ArgumentError(f"--beyond {length}: {error}") from None


def _generator(seed: int, part: str, number: int, rank: int) -> torch.Generator:
    """One of its own for each batch: PyTorch spreads a seed over the whole state of the generator."""
    mixed = hash((seed, SEEDS[part], number, rank))  # of whole numbers: the same in every process
    return torch.Generator().manual_seed(mixed)
