"""One long stream cut into rows and windows: truncated backpropagation through time with carried states.

A stream of 21 steps, read in 2 rows with a hop of 5 (k1) and a window of 8 (k2):

    row 0   1 2 3 4 5 6 7 8 9 10              what does not fill the rows, step 0, is left out at the front: in a
    row 1   11 12 13 14 15 16 17 18 19 20     series the newest steps are worth more than the oldest
    window 0  8 9 10 |1 2 3 4 5               ends one hop after the row's start; asked are its last 5 steps
    window 1  3 4 5 6 7 8 9 10                starts one hop later; steps 6 to 10 are asked
    window 2  8 9 10 |1 2 3 4 5               the row starts again

At | the state is reset. So a row is a ring, and all windows are alike: each is `window` steps long, and the next one
starts from the state after `hop` of them. What the first windows read of the end of their ring before the reset has no
effect; it is there so that nobody has to know that they are the first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from longreach.errors import ArgumentError, DataError
from longreach.training.problem import Sizes


class Window(NamedTuple):
    """Where in the stream the steps of a batch lie.

    asked   the last `hop` steps: those that no earlier window asked; not those whose answer lies beyond their document
    resets  where a document begins, or a mark is, or the row starts again; None: nowhere
    """

    positions: Int64[np.ndarray, "row time"]
    asked: Bool[np.ndarray, "row time"]
    resets: Bool[np.ndarray, "row time"] | None


@dataclass(frozen=True)
class Stream:
    """Steps one after the other, in one document or several.

    length  steps
    starts  where documents begin, ascending; the first one at 0. The state is reset there, and no step before is asked
            for an answer beyond
    ahead   so many steps later the answer of a step is known
    marks   further steps at which the state is reset, ascending; answers beyond them are asked: a mark that ends one
            document and begins the next one has to be foreseen
    """

    length: int
    starts: Int64[np.ndarray, " document"]
    ahead: int = 1
    marks: Int64[np.ndarray, " mark"] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def documents(self) -> Int64[np.ndarray, " document"]:
        """Steps of each document."""
        return np.diff(self.starts, append=self.length)

    @property
    def answers(self) -> int:
        """Steps whose answer lies in their own document."""
        return int(np.maximum(self.documents - self.ahead, 0).sum())

    def part(self, begin: int, end: int) -> "Stream":
        """The steps from `begin` to before `end`, as a stream of their own, counted from 0."""
        first, last = np.searchsorted(self.starts, [begin + 1, end])
        mark, beyond = np.searchsorted(self.marks, [begin, end])
        starts, marks = np.append(0, self.starts[first:last] - begin), self.marks[mark:beyond] - begin
        return Stream(end - begin, starts, self.ahead, marks)

    def hops(self, sizes: Sizes) -> int:
        """Windows until every row has been read once.

        Raises  ArgumentError if the sizes contradict each other, DataError if a row is shorter than one hop
        """
        if not 1 <= sizes.hop <= sizes.window:
            raise ArgumentError(f"hop: expected 1 <= hop <= window, got hop {sizes.hop} and window {sizes.window}")
        if sizes.batch < sizes.world:
            raise ArgumentError(f"batch: expected a row for each of {sizes.world} processes, got {sizes.batch}")
        hops = self.length // (sizes.batch * sizes.hop)
        if hops == 0:
            needed = sizes.batch * sizes.hop
            raise DataError(
                f"the part to learn from has {self.length} steps, and {sizes.batch} rows of one window, {sizes.hop} "
                f"steps each, need {needed}; give more data, or fewer rows or a shorter window"
            )
        return hops

    def window(self, number: int, sizes: Sizes) -> Window:
        """The window of this number, of the rows of this process."""
        ring = self.hops(sizes) * sizes.hop
        rows = np.arange(sizes.rank, sizes.batch, sizes.world)
        times = ((number + 1) * sizes.hop - sizes.window + np.arange(sizes.window)) % ring
        positions = self.length - (sizes.batch - rows[:, None]) * ring + times
        begins, answered = self.look_up(positions)
        answered[:, : sizes.window - sizes.hop] = False
        return Window(positions, answered, _where(begins | (times == 0)))

    def windows(self, sizes: Sizes) -> Iterator[Window]:
        """Every step once, in windows that follow each other without overlap: to judge by.

        Rows are read side by side for speed alone: each starts half a window early, unasked, to have a state by the
        time that it is asked. The rows are those of this process; every process has as many windows.
        """
        count = max(sizes.world, min(sizes.batch, self.length // sizes.window))
        borders = np.arange(count + 1) * self.length // count
        rows = np.arange(sizes.rank, count, sizes.world)
        begin, end = borders[rows][:, None], borders[rows + 1][:, None]
        early = sizes.window // 2
        last = -(-self.length // count)
        for time in range(-early, last, sizes.window):
            wanted = begin + np.arange(time, min(time + sizes.window, last))
            positions = wanted.clip(0, self.length - 1)
            begins, answered = self.look_up(positions)
            yield Window(positions, answered & (wanted >= begin) & (wanted < end), _where(begins))

    def look_up(
        self, positions: Int64[np.ndarray, "row time"]
    ) -> tuple[Bool[np.ndarray, "row time"], Bool[np.ndarray, "row time"]]:
        """Where the state is reset, and which answers lie in the document of their step."""
        document = np.searchsorted(self.starts, positions, side="right")
        ends = np.append(self.starts, self.length)[document]
        resets = self.starts[document - 1] == positions
        if len(self.marks):
            marks = np.searchsorted(self.marks, positions, side="right")
            resets |= (marks > 0) & (self.marks[marks - 1] == positions)
        return resets, positions + self.ahead < ends


def _where(resets: Bool[np.ndarray, "row time"]) -> Bool[np.ndarray, "row time"] | None:
    return resets if resets.any() else None
