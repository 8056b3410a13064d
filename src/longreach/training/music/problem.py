"""Music as piano rolls: at each step, which keys sound next.

The figures of the literature are sums over keys and means over steps: log-likelihoods of all steps of all pieces go
into one list, of which the mean is taken, so that long pieces weigh more (Boulanger-Lewandowski, Bengio & Vincent 2012,
ICML, evaluation notes on the data's page; Bai, Kolter & Koltun 2018, arXiv 1803.01271, does the same in its code).
They differ in a piece's first step: the former predicts it too, from nothing; the latter begins with the second.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.errors import DataError
from longreach.training.music.pieces import Piece, read
from longreach.training.problem import Advice, Part, Problem, Shape, Sizes
from longreach.training.side_by_side import drawn, in_order, padded

SCORE = "NLL per step"  # nats
EPOCHS = 30
UNHEARD = 0.5  # times that every key is said to have sounded once more, and been silent once more: no chance is 0


class Music(Problem):
    """The next step's keys, each by itself, from all steps before it.

    loss        −Σ over keys of y ln p + (1 − y) ln(1 − p), p = σ(answer), the mean over steps; nats
    first_step  whether a piece's first step is asked too, from nothing: an input of zeros in front
    Is not      a joint distribution: keys of one step are independent, given the past. What models chords as a whole
                (RNN-RBM, RNN-NADE) reaches less
    """

    kind: ClassVar[str] = "music"

    def __init__(self, pieces: Mapping[str, Sequence[Piece]], *, first_step: bool = False):
        self.pieces, self.first_step = pieces, first_step
        self.keys, self.sequences = pieces["training"][0].shape[1], len(pieces["training"])
        self._lengths = {part: np.array([len(roll) for roll in rolls]) for part, rolls in pieces.items()}
        least = 1 if first_step else 2
        for part, lengths in self._lengths.items():
            if lengths.min() < least:
                raise DataError(
                    f"piece {lengths.argmin()} of {part}: expected {least} steps or more, got {lengths.min()}; "
                    "leave it out"
                )

    @classmethod
    def read(cls, path: str | Path, *, first_step: bool = False) -> Self:
        """From a file or folder of piano rolls, see `pieces.read`.

        Raises  DataError where it is not what is expected
        """
        return cls(read(Path(path)), first_step=first_step)

    @property
    def shape(self) -> Shape:
        """A number for each key, in and out."""
        return Shape(self.keys, self.keys)

    @property
    def answers(self) -> float:
        """Steps that are asked in training."""
        lengths = self._lengths["training"]
        return float(lengths.sum() - (0 if self.first_step else len(lengths)))

    @property
    def longest(self) -> int:
        """Steps that the longest piece to learn from is shown."""
        return int(self._lengths["training"].max()) - (0 if self.first_step else 1)

    def advice(self) -> Advice:
        """What reached the published figures of recurrent networks on Nottingham and the JSB chorales."""
        batch = 4
        updates = int(np.clip(EPOCHS * len(self.pieces["training"]) / batch, 500, 5200))
        # a gradient held to 1 is cut at nearly every step: a piece full of rare chords counts no more than another
        return Advice(batch, updates, lr=1e-2, hidden=200, cell="lstm", lag=4, dropout=0.6, weight_decay=0.1, clip=1.0)

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        """Whole pieces, those of about one length together."""
        rolls, places = self.pieces["training"], drawn(self._lengths["training"], sizes)
        return lambda number: self._batch([rolls[place] for place in places(number)])

    def held_out(self, part: Part, sizes: Sizes) -> Iterator[Batch]:
        """Whole pieces, the shortest first."""
        rolls = self.pieces[part]
        return (self._batch([rolls[place] for place in mine]) for mine in in_order(self._lengths[part], sizes))

    def _batch(self, rolls: Sequence[Piece]) -> Batch:
        heard = [torch.from_numpy(roll).float() for roll in rolls]
        if self.first_step:
            heard = [torch.cat([torch.zeros(1, self.keys), roll]) for roll in heard]
        x, asked = padded([roll[:-1] for roll in heard])
        return Batch(x, torch.cat([roll[1:] for roll in heard]), asked)

    def loss(self, answer: Float[Tensor, "answer key"], y: Float[Tensor, "answer key"]) -> Float[Tensor, ""]:
        """The negative log-likelihood of a step, the mean over steps."""
        return _nll(answer, y).mean()

    def scores(self, answer: Float[Tensor, "answer key"], y: Float[Tensor, "answer key"]) -> dict[str, Tensor]:
        """The negative log-likelihood of each step, in nats."""
        return {SCORE: _nll(answer, y)}

    def naive(self, part: Part) -> dict[str, float]:
        """How often each key sounds in the training data, at every step the same."""
        sounded, steps = self._counts("training")
        share = (sounded + UNHEARD) / (steps + 2 * UNHEARD)
        sounded, steps = self._counts(part)
        nll = float(-(sounded * np.log(share) + (steps - sounded) * np.log1p(-share)).sum() / steps)
        return {"loss": nll, SCORE: nll}

    def _counts(self, part: str) -> tuple[Float[np.ndarray, " key"], int]:
        """At how many asked steps each key sounds, and how many there are."""
        begin = 0 if self.first_step else 1
        asked = [roll[begin:] for roll in self.pieces[part]]
        return np.sum([roll.sum(0, dtype=np.float64) for roll in asked], axis=0), sum(len(roll) for roll in asked)

    def recipe(self) -> dict[str, Any]:
        """Number of keys, and whether pieces are begun with zeros; a checksum of all pieces."""
        checksum = 0
        for part, rolls in self.pieces.items():
            for roll in rolls:
                checksum = zlib.crc32(f"{part} {len(roll)} ".encode() + roll.tobytes(), checksum)
        return {"keys": self.keys, "first_step": self.first_step, "checksum": checksum}


def _nll(answer: Float[Tensor, "answer key"], y: Float[Tensor, "answer key"]) -> Float[Tensor, " answer"]:
    return F.binary_cross_entropy_with_logits(answer, y, reduction="none").sum(1)
