"""Sequences with labels, as they are in files: numbers or text."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32

from longreach.errors import DataError

Numbers = Float32[np.ndarray, "time feature"]

PARTS = {  # what the parts are called in folders and columns
    "train": "training",
    "training": "training",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass
class Labelled:
    """Sequences, each with its label.

    sequences  numbers [time, feature], or text, whose characters are the steps
    names      where each came from, for messages
    parts      training, validation or test, where the data say so; else empty
    features   their names; none of text
    """

    sequences: list[Numbers] | list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    features: tuple[str, ...] = ()

    def add(self, sequence: Any, label: str, name: str, part: str | None) -> None:
        """One more. Raises DataError where it has no step."""
        if len(sequence) == 0:
            raise DataError(f"{name}: expected a sequence, got one without a step; leave it out")
        self.sequences.append(sequence)
        self.labels.append(label)
        self.names.append(name)
        if part is not None:
            self.parts.append(part)


def part_of(name: str, where: str) -> str:
    """The part that goes by this name. Raises DataError where none does."""
    if name.lower() not in PARTS:
        raise DataError(f"{where}: expected one of {', '.join(PARTS)}, got {name!r}")
    return PARTS[name.lower()]


def finite(array: np.ndarray, where: str) -> Numbers:
    """As float32; NaN is a missing number. Raises DataError with the first one that is infinite."""
    found = np.ascontiguousarray(array, dtype=np.float32)
    if np.isinf(found).any():
        row, column = np.argwhere(np.isinf(found))[0]
        raise DataError(
            f"{where}: expected finite numbers, got {found[row, column]} in row {row + 1}, column {column + 1}"
        )
    return found
