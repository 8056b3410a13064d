"""Two inputs read together: every product of a near and a far window, and those that stand out."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from longreach.probes.innovations import running_sums
from longreach.probes.need import Design, ErrorSide, depths_of

CELLS = 16  # parts of the far lags, about equally long in the logarithm; each names candidates of its own
PER_CELL = 4  # candidates that a part names
HELD = 8_000_000  # numbers held at once of the matrix of all products


Sides = Float32[np.ndarray, "anchor sequence candidate"]


@dataclass(frozen=True)
class Windows:
    """What each row, a sequence at an anchor, shows of its inputs through each window of lags.

    far     sums of innovations, of windows in the order of their first lags
    near    sums of features, of windows in the order of their ends
    first   first lag of each far window
    start   first lag of each near window
    within  how many near windows end before each far window begins: those may be its partners
    width   features of a window
    """

    far: Float32[np.ndarray, "anchor sequence far_column"]
    near: Float32[np.ndarray, "anchor sequence near_column"]
    first: Int[np.ndarray, " window"]
    start: Int[np.ndarray, " window"]
    within: Int[np.ndarray, " window"]
    width: int

    def of(self, sequences: np.ndarray, lags: Int[np.ndarray, "anchor sequence"]) -> "Windows":
        """Of these sequences alone, which have so many lags each; far columns have mean 0 over those that have them.

        A rare input may be missing in half of the sequences: its innovation is then a constant, and no news.
        """
        near = self.near[:, sequences]
        far = self.far[:, sequences].reshape(*near.shape[:2], len(self.first), self.width)
        for own, known in zip(far, lags, strict=True):
            has = (known[:, None] > self.first).astype(np.float32)
            mean = own.sum(axis=0) / np.maximum(has.sum(axis=0), 1)[:, None]
            own -= has[:, :, None] * mean
        return Windows(far.reshape(near.shape), near, self.first, self.start, self.within, self.width)


def windows_of(phi: Float32[np.ndarray, "sequence time feature"], design: Design) -> Windows:
    """Both sides of all products of a design's windows. A near window sums the features as they are.

    Given all that is more recent, an innovation has mean 0, and so has its product with anything that is more recent:
    where the error, too, asks for nothing further back, nothing of the three together remains. That holds for any near
    factor; the features themselves tell most.
    """
    far_order = np.argsort(design.starts, kind="stable")
    near_order = np.argsort(design.ends, kind="stable")
    sums = running_sums(phi)
    everything = np.arange(len(design.starts))
    far, near = [], []
    for anchor in design.anchors.tolist():
        far.append(design.seen(anchor, everything)[:, far_order].reshape(len(phi), -1))
        last = np.maximum(anchor + 1 - design.starts[near_order], 0)
        first = np.maximum(anchor + 1 - design.ends[near_order], 0)
        near.append((sums[:, last] - sums[:, first]).reshape(len(phi), -1))
    starts = design.starts[far_order]
    within = np.searchsorted(design.ends[near_order], starts, side="right")
    return Windows(np.stack(far), np.stack(near), starts, design.starts[near_order], within, design.width)


@dataclass(frozen=True)
class Candidates:
    """Products of a far and a near column, and the part of the far lags that named them.

    bar      for each part, the S that a product had to exceed to be named
    scanned  share of all products that there was time for
    """

    far: Int[np.ndarray, " candidate"]
    near: Int[np.ndarray, " candidate"]
    cell: Int[np.ndarray, " candidate"]
    bar: Float[np.ndarray, " cell"]
    scanned: float

    def sides(self, windows: Windows) -> tuple[Sides, Sides]:
        """The candidates' far and near columns."""
        return windows.far[:, :, self.far], windows.near[:, :, self.near]


def scan(
    side: ErrorSide, windows: Windows, tell: Callable[[float], None] = lambda share: None, until: float = math.inf
) -> Candidates:
    """In each part of the far lags the far columns, each with its best partner, whose product says most of the error.

    S = ‖Σ_r g̃_r ε_r φ_r‖² / Σ_r ‖g̃_r‖² ε²_r φ²_r over rows r; ε a far column, φ a near one that ends before it begins

    Cost    2 (directions + 1) rows (windows features)² / 2 operations, as matrix products
    tell    called with the share that is done
    until   when to stop, by `time.perf_counter`; the furthest lags come first
    """
    depths = depths_of(windows.first, side)
    chunk = max(1, HELD // max(windows.near.shape[2], 1) // windows.width)
    best, partner = np.full(windows.far.shape[2], -1.0), np.zeros(windows.far.shape[2], int)
    total, done = int(windows.within.sum()), 0
    for some in reversed(_chunks(depths, chunk)):
        if time.perf_counter() >= until:
            break
        columns = slice(some.start * windows.width, some.stop * windows.width)
        errors = side.levels[depths[some.start]][:, :, : side.tested]
        best[columns], partner[columns] = _best(errors, windows, some)
        done += int(windows.within[some].sum())
        tell(done / max(total, 1))
    return _named(best, partner, windows, done / total if total else 1.0)


def _chunks(depths: np.ndarray, most: int) -> list[slice]:
    """Runs of at most so many windows that are tested on errors of the same depth."""
    borders = [0, *(np.flatnonzero(np.diff(depths)) + 1).tolist(), len(depths)]
    return [
        slice(begin, min(begin + most, end))
        for start, end in itertools.pairwise(borders)
        for begin in range(start, end, most)
    ]


def _best(errors: np.ndarray, windows: Windows, some: slice) -> tuple[np.ndarray, np.ndarray]:
    """Largest S of each far column of some windows, and the near column it is reached with."""
    width = windows.width
    within = windows.within[some] * width
    most = int(within[-1])
    columns = slice(some.start * width, some.stop * width)
    count = columns.stop - columns.start
    if not most:
        return np.full(count, -1.0), np.zeros(count, int)
    sums = np.zeros((errors.shape[2], count, most), np.float32)
    denominator = np.zeros((count, most), np.float32)
    for error, all_far, all_near in zip(errors, windows.far, windows.near, strict=True):
        far, near = all_far[:, columns], all_near[:, :most]
        for direction, own in enumerate(error.T):
            sums[direction] += (far * own[:, None]).T @ near
        denominator += (np.square(far) * np.square(error).sum(axis=1)[:, None]).T @ np.square(near)
    numerator = np.square(sums, out=sums).sum(axis=0)
    values = np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 1e-12)
    values[np.arange(most) >= np.repeat(within, width)[:, None]] = -1
    partner = values.argmax(axis=1)
    return values[np.arange(count), partner], partner


def _named(best: np.ndarray, partner: np.ndarray, windows: Windows, scanned: float) -> Candidates:
    cells = parts(np.repeat(windows.first, windows.width))
    far, bar = [], []
    for cell in range(cells.max(initial=-1) + 1):
        inside = np.flatnonzero((cells == cell) & (best > 0))
        inside = inside[np.argsort(-best[inside], kind="stable")]
        far.append(inside[:PER_CELL])
        bar.append(best[inside[PER_CELL]] if len(inside) > PER_CELL else 0.0)
    chosen = np.concatenate([np.empty(0, int), *far])
    return Candidates(chosen, partner[chosen], cells[chosen], np.array(bar), scanned)


def parts(lags: Int[np.ndarray, " column"]) -> Int[np.ndarray, " column"]:
    """Which part of the far lags each belongs to; lag 0, which has no partner, to none (-1)."""
    edges = np.unique(np.geomspace(1, max(2, lags.max(initial=1)), CELLS + 1)[:-1].astype(int))
    return np.searchsorted(edges, lags, side="right") - 1
