"""What is learned, whatever it is made of: batches to learn from, others to be judged by, a loss and scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Shaped
from torch import Tensor

from longreach.batch import Batch

Part = Literal["validation", "test"]


@dataclass(frozen=True)
class Sizes:
    """How the training data are cut into batches.

    batch   sequences side by side, over all processes
    window  steps that a gradient goes back, k2; only streams are cut, other sequences come whole
    hop     steps from one update to the next, k1 <= window; only of streams
    seed    decides every draw and every order
    rank    of this process, which has the sequences rank, rank + world, … of each batch
    world   processes that train together
    """

    batch: int
    window: int
    hop: int
    seed: int = 0
    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Shape:
    """What a network has to take in and to give out.

    inputs   numbers a step, or symbols of the alphabet where x holds symbols
    symbols  whether x holds whole symbols, [sequence, time, 1]
    outputs  numbers that an answer has
    """

    inputs: int
    outputs: int
    symbols: bool = False


@dataclass(frozen=True)
class Advice:
    """Settings that fit a kind of data.

    batch    sequences side by side
    updates  at most
    lr       None: the cell's own
    hidden   width of the network; None: by the number of answers to learn from
    cell     known to learn such data best; None: by how far back the data have to be remembered
    lag      steps that the cell starts to remember; None: as far as is needed
    clip     longest gradient; None: told by the run's own norms
    judge_every, judgements   updates between two judgements, at least; judgements in all, at most
    """

    batch: int = 32
    updates: int = 10_000
    lr: float | None = None
    hidden: int | None = None
    cell: str | None = None
    lag: int | None = None
    layers: int = 1
    dropout: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None
    patience: int = 10
    judgements: int = 50
    judge_every: int = 1


class Problem(ABC):
    """Data and what is asked of them. One file a kind: text, series, sequences, music, task.

    kind       as on the command line
    carries    a stream: the state after one window is where the next one starts
    answers    scored answers in the training data; inf where data are drawn anew. The width is chosen by it
    longest    steps of the longest sequence, or of the longest window worth trying on a stream
    allowed    share of wrong sequences below which the problem is solved; None: there is no such thing
    sequences  whole sequences in the training data; inf where data are drawn anew, and of a stream
    """

    kind: ClassVar[str]
    carries: ClassVar[bool] = False
    allowed: float | None = None
    sequences: float = inf

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Of the network."""

    @property
    @abstractmethod
    def answers(self) -> float:
        """Scored answers in the training data."""

    @property
    @abstractmethod
    def longest(self) -> int:
        """Steps of the longest sequence, or of the longest window worth trying."""

    @abstractmethod
    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        """The training batches: number in, batch out.

        A batch depends on its number, the sizes and nothing else: so a run goes on where it was stopped. In a stream,
        the batch of number n covers the window that ends n + 1 hops after the stream's start; asked are the steps that
        no earlier window asked. Where a document begins, and where the stream starts again, `resets` is true.
        """

    @abstractmethod
    def held_out(self, part: Part, sizes: Sizes) -> Iterable[Batch]:
        """All of a part of the data that is never learned from, in order; a stream's state is carried on."""

    @abstractmethod
    def loss(self, answer: Float[Tensor, "answer output"], y: Shaped[Tensor, "answer ..."]) -> Float[Tensor, ""]:
        """What is made small: a mean over answers."""

    @abstractmethod
    def scores(self, answer: Float[Tensor, "answer output"], y: Shaped[Tensor, "answer ..."]) -> dict[str, Tensor]:
        """What people ask for, one number an answer, under the name of its mean: bits per character, accuracy, …"""

    def advice(self) -> "Advice":
        """What fits such data, if neither the user nor the measurements say otherwise."""
        return Advice()

    def remarks(self) -> list[str]:
        """What the user has to know about the data before training, in sentences."""
        return []

    def solved(self, answer: Float[Tensor, "answer output"], batch: Batch) -> Tensor | None:
        """Where there is such a thing as solved: which sequences of a batch are right; else None."""
        return None

    def naive(self, part: Part) -> dict[str, float]:
        """What the best rule without a network scores, under the names of `scores`; empty where there is none."""
        return {}

    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """All that is needed to read and use the trained network without the training data: plain JSON."""

    def leave(self, folder: Path, answer: Callable[[Batch], Tensor]) -> list[str]:
        """Put into the run folder what the user came for (a forecast, a confusion table); says so in sentences.

        answer   the trained network: the answers of a batch
        """
        return []
