"""Sequences as a network reads them: numbers scaled by the training data, or symbols of an alphabet."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from longreach.errors import DataError
from longreach.training.labelled.sequence import Labelled, Numbers
from longreach.training.text.alphabet import Alphabet


@dataclass(frozen=True)
class Encoding:
    """(x − mean) / deviation of each feature, 0 where a number is missing; or the numbers of symbols.

    features, mean, deviation  of the training data, over all steps; a feature that never changes has deviation 1
    missing                    share of numbers that are missing there
    alphabet                   instead, of text: the symbols of the training data
    """

    features: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    missing: float = 0.0
    alphabet: Alphabet | None = None

    @property
    def inputs(self) -> int:
        """Features, or symbols."""
        return self.alphabet.size if self.alphabet else len(self.features)

    def encode(self, sequence: Numbers | str) -> Shaped[Tensor, "time input"]:
        """What the network is shown."""
        if isinstance(sequence, str):
            return torch.from_numpy(self._numbers(sequence))[:, None]
        scaled = (sequence - np.array(self.mean, np.float32)) / np.array(self.deviation, np.float32)
        return torch.from_numpy(np.nan_to_num(scaled, copy=False))

    def _numbers(self, text: str) -> Int64[np.ndarray, " time"]:
        assert self.alphabet is not None
        known, codes = codes_of(self.alphabet.symbols), codes_of(text)
        place = np.searchsorted(known, codes).clip(max=len(known) - 1)
        return np.where(known[place] == codes, place, self.alphabet.unknown)

    def remarks(self) -> list[str]:
        """What is odd about the training data."""
        return [f"{self.missing:.1%} of the numbers are missing; the mean stands for them"] if self.missing else []

    def recipe(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_recipe(cls, recipe: dict[str, Any]) -> Self:
        """Back from it."""
        lists = {name: tuple(recipe[name]) for name in ("features", "mean", "deviation")}
        return cls(**lists, missing=recipe["missing"], alphabet=recipe["alphabet"] and Alphabet(**recipe["alphabet"]))


def encoding_of(data: Labelled, training: Int64[np.ndarray, " sequence"]) -> Encoding:
    """Fitted on the sequences to learn from, and on nothing else.

    Raises  DataError if no feature ever changes there
    """
    shown = [data.sequences[place] for place in training]
    if isinstance(shown[0], str):
        return Encoding(alphabet=Alphabet("".join(sorted(set().union(*shown)))))
    steps = sum(len(one) for one in shown)
    count = sum(np.isfinite(one).sum(0) for one in shown)
    mean = sum(np.nansum(one, 0, dtype=np.float64) for one in shown) / np.maximum(count, 1)
    square = sum(np.nansum((one - mean) ** 2, 0) for one in shown) / np.maximum(count, 1)
    deviation = np.sqrt(square)
    still = deviation <= 1e-7 * np.abs(mean)
    if still.all():
        raise DataError("expected features that change, got the same numbers at every step of the training data")
    deviation[still] = 1.0
    missing = 1 - float(np.sum(count)) / (steps * len(mean))
    return Encoding(data.features, tuple(mean.tolist()), tuple(deviation.tolist()), missing)


def codes_of(text: str) -> Int64[np.ndarray, " symbol"]:
    """The code point of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
