"""Of the sequences of each label, how many were taken for which."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

WIDTH = 80  # of a terminal
WORST = 5  # mistakes that are told where the table is too wide


@dataclass(frozen=True)
class Confusion:
    """counts[i, j]: sequences of label i that were taken for label j."""

    labels: tuple[str, ...]
    counts: Int64[np.ndarray, "label label"]

    @property
    def recalls(self) -> Float[np.ndarray, " label"]:
        """Of each label, the share that was recognised; NaN where there was nothing to recognise."""
        with np.errstate(invalid="ignore"):
            return self.counts.diagonal() / self.counts.sum(1)

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean of the recalls. 1 / labels for whoever always says the same."""
        return float(np.nanmean(self.recalls))

    def rows(self) -> Iterator[list[Any]]:
        """As a table: what they are downwards, what they were taken for across."""
        yield ["is", *(f"taken for {label}" for label in self.labels)]
        for label, row in zip(self.labels, self.counts.tolist(), strict=True):
            yield [label, *row]

    def told(self) -> list[str]:
        """Balanced accuracy and the table, or where that is wider than a terminal the most frequent mistakes."""
        chance = 1 / len(self.labels)
        found = [f"balanced accuracy {self.balanced:.4g}, the mean over labels; {chance:.4g} by chance", ""]
        return found + (self._table() or self._mistakes()) + [""]

    def _table(self) -> list[str]:
        """Empty where it is too wide."""
        first = max(map(len, ("is", *self.labels)))
        widths = [
            max(len(label), len(str(column.max()))) for label, column in zip(self.labels, self.counts.T, strict=True)
        ]
        if first + sum(width + 2 for width in widths) > WIDTH:
            return []
        lines = [
            ["is", *self.labels],
            *([label, *map(str, row)] for label, row in zip(self.labels, self.counts, strict=True)),
        ]
        drawn = [
            f"{name:{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            for name, *cells in lines
        ]
        return [f"{'':{first}}  taken for", *drawn]

    def _mistakes(self) -> list[str]:
        wrong = self.counts * (1 - np.eye(len(self.labels), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
        pairs = [divmod(int(place), len(self.labels)) for place in order]
        return [
            f"{wrong[i, j]} of {self.counts[i].sum()} {self.labels[i]!r} were taken for {self.labels[j]!r}"
            for i, j in pairs
            if wrong[i, j]
        ]
