"""Which sequences are learned from, and which are kept to validate and to test."""

import numpy as np
from jaxtyping import Int64

from longreach.errors import DataError
from longreach.training.labelled.sequence import Labelled

Places = Int64[np.ndarray, " sequence"]
FEWEST = 3  # sequences of a label that are enough to learn from, to validate and to test


def split(data: Labelled, *, validation: float, test: float, seed: int) -> dict[str, Places]:
    """By the parts that the data name, or at random: of each label the same shares.

    A label with one sequence is learned from and not judged; with FEWEST or more it is in every part. Where the data
    name no validation part, it is taken out of training.

    Raises  DataError where a part would be empty
    """
    random = np.random.default_rng(seed)
    if data.parts:
        given = np.array(data.parts)
        parts = {part: np.flatnonzero(given == part) for part in ("training", "validation", "test")}
        if len(parts["training"]) and not len(parts["validation"]):
            parts["training"], parts["validation"] = _set_apart(data, parts["training"], validation, random)
    else:
        rest, tested = _set_apart(data, np.arange(len(data.labels)), test, random)
        learned, validated = _set_apart(data, rest, validation / (1 - test), random)
        parts = {"training": learned, "validation": validated, "test": tested}
    for part, places in parts.items():
        if not len(places):
            labels = len(set(data.labels))
            why = "name some so" if data.parts else f"of {labels} labels none has {FEWEST} sequences, which would do"
            raise DataError(f"expected sequences for {part}, got none; {why}")
    return parts


def _set_apart(data: Labelled, places: Places, share: float, random: np.random.Generator) -> tuple[Places, Places]:
    """What stays and what is set apart, of each label the share, of those with two sequences or more."""
    labels = np.array([data.labels[place] for place in places])
    apart = []
    for label in sorted(set(labels)):
        own = random.permutation(places[labels == label])
        apart.append(own[: _taken(len(own), share)])
    taken = np.sort(np.concatenate(apart))
    return np.setdiff1d(places, taken), taken


def _taken(count: int, share: float) -> int:
    return max(1, round(share * count)) if count >= 2 else 0
