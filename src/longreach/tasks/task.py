"""What a task of the literature is: sequences that never end, answers, chance, and when it counts as solved."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from longreach.batch import Batch


@dataclass(frozen=True)
class Published:
    """A figure of the literature: what `net` reached on a task of this length."""

    source: str
    net: str
    length: int
    reached: str


@dataclass(frozen=True)
class Task(ABC):
    """One task at one length. A subclass names its source, and in its docstring the exact definition.

    length  T of the source; every subclass says what it counts

    name        as on the command line
    inputs      numbers that x holds at each step
    outputs     numbers that an answer has
    chance      expected loss of the best answer that does not look at the sequence beyond its length and markers
    criterion   in words, when the source counts the task as solved
    allowed     share of wrong sequences below which it is
    """

    length: int

    name: ClassVar[str]
    source: ClassVar[str]
    criterion: ClassVar[str]
    allowed: ClassVar[float] = 0.01
    published: ClassVar[tuple[Published, ...]] = ()

    @property
    @abstractmethod
    def inputs(self) -> int: ...

    @property
    @abstractmethod
    def outputs(self) -> int: ...

    @property
    @abstractmethod
    def chance(self) -> float: ...

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """So many sequences, new ones with every call; the generator is all that decides them."""

    @abstractmethod
    def loss(self, answer: Float[Tensor, "answer output"], y: Shaped[Tensor, "answer ..."]) -> Float[Tensor, ""]:
        """What is made small: the mean over asked steps."""

    @abstractmethod
    def wrong(self, answer: Float[Tensor, "answer output"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Which sequences count as wrong."""
