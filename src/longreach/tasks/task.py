"""What a task of the literature is: sequences that never end, answers, chance, and when it counts as solved."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.errors import ArgumentError


@dataclass(frozen=True)
class Published:
    """A figure of the literature: what `net` reached on a task of this length, in this variant of it.

    Read in the paper, its code or its logs; what others report of it stands in docstrings, as second-hand.

    variant   "" where it is not known, or there is one alone
    settings  width, batch, updates and step size of the source, as far as they are known; "" where they are not
    """

    source: str
    net: str
    length: int
    reached: str
    variant: str = ""
    settings: str = ""


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

    Raises      ArgumentError when it is made, where a field does not fit
    """

    length: int = 100

    name: ClassVar[str]
    source: ClassVar[str]
    criterion: ClassVar[str]
    published: ClassVar[tuple[Published, ...]] = ()

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Numbers that x holds at each step."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Numbers that an answer has."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """Expected loss of the best answer that does not look."""

    @property
    def allowed(self) -> float:
        """One in a hundred, the rule of Pascanu et al. 2013, where the source has none of its own."""
        return 0.01

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """So many sequences, new ones with every call; the generator is all that decides them."""

    def held_out(self, part: Literal["validation", "test"]) -> "Task":
        """What judges a network: this task, where sequences never end, or a part of it that is not trained on."""
        return self

    @abstractmethod
    def loss(self, answer: Float[Tensor, "answer output"], y: Shaped[Tensor, "answer ..."]) -> Float[Tensor, ""]:
        """What is made small: the mean over asked steps."""

    @abstractmethod
    def wrong(self, answer: Float[Tensor, "answer output"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Which sequences count as wrong."""

    def _expect(self, field: str, fits: bool, expected: str) -> None:
        """Refuse a value of a field before anything is drawn."""
        if not fits:
            raise ArgumentError(f"{self.name}: {field}: expected {expected}, got {getattr(self, field)!r}")


class Choosing(Task):
    """A task whose answers are classes or symbols: y is a number of one, an answer holds a score for each.

    loss    mean cross-entropy, in nats:  mean of -ln softmax(answer)[y]
    wrong   where the highest score is another's at one asked step or more
    """

    def loss(self, answer: Float[Tensor, "answer output"], y: Int[Tensor, " answer"]) -> Float[Tensor, ""]:
        """Mean cross-entropy over asked steps, in nats."""
        return F.cross_entropy(answer, y)

    def wrong(self, answer: Float[Tensor, "answer output"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Sequences with one asked step or more whose highest score is not y's."""
        return somewhere(answer.argmax(dim=1) != batch.y, batch.asked)


class Measuring(Task):
    """A task whose answers are numbers, one at each asked step: the loss is their mean squared error."""

    @property
    def outputs(self) -> int:
        """The number itself."""
        return 1

    def loss(self, answer: Float[Tensor, "answer 1"], y: Float[Tensor, "answer 1"]) -> Float[Tensor, ""]:
        """Mean squared error over asked steps."""
        return F.mse_loss(answer, y)


def somewhere(at_answer: Bool[Tensor, " answer"], asked: Bool[Tensor, "sequence time"]) -> Bool[Tensor, " sequence"]:
    """The sequences in which it is so at one asked step or more."""
    return torch.zeros_like(asked).masked_scatter(asked, at_answer).any(dim=1)
