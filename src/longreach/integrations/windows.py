"""Long sequences read a window at a time, for truncated backpropagation through time (Williams & Peng 1990).

Every k1 new steps, the gradient goes back through the latest k2 steps. To cut at fixed borders, as most training loops
do, is k1 = k2. Seven steps with k1 = 2 and k2 = 5; the loss of those in brackets counts:

    window 0   [0 1]
    window 1    0 1 [2 3]
    window 2      1  2 3 [4 5]
    window 3           3  4 5 [6]
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, cat, from_numpy
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

from longreach import ranks
from longreach.errors import ArgumentError


class Window(NamedTuple):
    """What is on the device at a time.

    steps   of every tensor at most k2 steps; what has no time axis is there whole
    old     so many of the steps, the first ones, had their loss before
    after   the next window starts behind so many of them
    begins  nothing is remembered at the first step: a document begins
    axis    of the tensors, that of time
    """

    steps: Any
    old: int
    after: int
    begins: bool
    axis: int

    @property
    def length(self) -> int:
        """Number of its steps."""
        return length(self.steps, self.axis)

    @property
    def rows(self) -> int:
        """Sequences side by side."""
        shape = next(leaf.shape for leaf in _leaves(self.steps) if _is_timed(leaf, self.axis))
        return next((size for axis, size in enumerate(shape) if axis != self.axis), 1)

    def part(self, start: int, stop: int) -> Any:
        """Some of its steps, as views."""
        return cut(self.steps, start, stop, self.axis)


class Windows:
    """The windows of all batches of a loader, each read when its turn comes.

    loader  whatever yields batches. A batch is a tensor or an array, or a tuple, list or dict of them, or an iterator
            of such chunks, of any lengths; None between two chunks: a document ends. Arrays (memory-mapped ones, those
            of h5py and zarr) are read as far as they are needed
    k1      steps from update to update; k2: steps that a gradient goes back, k1 <= k2
    axis    of time; tensors with fewer axes have no time, and come whole with every window
    carry   batches go on where the one before has ended, row by row, through an epoch; else each begins anew
    Memory  k2 steps and one chunk, beside what the loader holds
    Raises  ArgumentError for k1 and k2 that contradict each other; while reading, for tensors of unequal lengths, and
            in a training of several processes for a loader that would give the same data to all of them
    """

    def __init__(self, loader: Iterable[Any], *, k1: int, k2: int, axis: int = 1, carry: bool = False):
        if not 1 <= k1 <= k2:
            raise ArgumentError(
                f"k1, k2: expected 1 <= k1 <= k2 steps, got k1={k1}, k2={k2}: more new steps than a gradient goes back "
                "would leave some without one"
            )
        self.loader, self.k1, self.k2, self.axis, self.carry = loader, k1, k2, axis, carry
        # under these names trainers look for what wants to be told the epoch
        self.sampler = getattr(loader, "sampler", None)
        self.batch_sampler = getattr(loader, "batch_sampler", None)

    def __iter__(self) -> Iterator[Window]:
        self._check_share()
        past: Any = None  # the steps that the next window reads again
        begins = True
        for batch in self.loader:
            if not self.carry:
                past, begins = None, True
            for new in _pieces(batch, self.k1, self.axis):
                if new is None:
                    past, begins = None, True
                    continue
                window = self._window(past, new, begins)
                past = window.part(window.after, window.length) if window.after < window.length else None
                yield window
                begins = False

    def _window(self, past: Any, new: Any, begins: bool) -> Window:
        steps = new if past is None else join(past, new, self.axis)
        old = 0 if past is None else length(past, self.axis)
        kept = min(self.k2 - self.k1, old + length(new, self.axis))
        return Window(steps, old, old + length(new, self.axis) - kept, begins, self.axis)

    def _check_share(self) -> None:
        """Trainers give each process its share of a DataLoader, but do not see one that stands behind this."""
        loader = self.loader
        if ranks.world() == 1 or not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            return
        samplers = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
        if isinstance(loader.dataset, Dataset) and not any(isinstance(one, DistributedSampler) for one in samplers):
            raise ArgumentError(
                f"loader: expected one that gives each of {ranks.world()} processes its own share, got a DataLoader "
                f"with a {type(loader.sampler).__name__}; give it sampler=DistributedSampler(dataset)"
            )


def _pieces(batch: Any, k1: int, axis: int) -> Iterator[Any]:
    """k1 steps of a batch at a time, fewer at the end of a document; None where one ends within the batch."""
    rest = None
    for chunk in batch if isinstance(batch, Iterator) else (batch,):
        if chunk is None:
            yield from (rest, None) if rest is not None else (None,)
            rest = None
            continue
        size = length(chunk, axis)
        start = 0 if rest is None else k1 - length(rest, axis)
        if rest is not None:
            rest = join(rest, cut(chunk, 0, min(start, size), axis), axis)
            if start > size:
                continue
            yield rest
            rest = None
        for begin in range(start, size, k1):
            piece = cut(chunk, begin, min(begin + k1, size), axis)
            if begin + k1 <= size:
                yield piece
            else:
                rest = piece
    if rest is not None:
        yield rest


def length(steps: Any, axis: int) -> int:
    """How many steps there are. Raises ArgumentError where tensors do not agree, or none has a time axis."""
    found = {leaf.shape[axis] for leaf in _leaves(steps) if _is_timed(leaf, axis)}
    if len(found) != 1:
        came = f"tensors of {', '.join(map(str, sorted(found)))} steps" if found else "none"
        raise ArgumentError(
            f"batch: expected tensors with as many steps each along axis {axis}, got {came}; "
            "axis says where time lies, and a tensor without time has no more axes than that"
        )
    return found.pop()


def cut(steps: Any, start: int, stop: int, axis: int) -> Any:
    """Steps from `start` to before `stop`: of tensors as views, of arrays as tensors, read now."""
    index = (*[slice(None)] * axis, slice(start, stop))

    def of(leaf: Any) -> Any:
        if not _is_timed(leaf, axis):
            return leaf
        return leaf[index] if isinstance(leaf, Tensor) else from_numpy(np.array(leaf[index]))

    return mapped(of, steps)


def join(first: Any, then: Any, axis: int) -> Any:
    """One after the other in time; of what has no time the later one."""
    return mapped(lambda a, b: cat((a, b), axis) if _is_timed(b, axis) else b, first, then)


def _is_timed(leaf: Any, axis: int) -> bool:
    return len(getattr(leaf, "shape", ())) > axis


def _leaves(nest: Any) -> Iterator[Any]:
    if isinstance(nest, Mapping):
        nest = nest.values()
    elif not isinstance(nest, (tuple, list)):
        yield nest
        return
    for part in nest:
        yield from _leaves(part)


def mapped(do: Any, *nests: Any) -> Any:
    """`do` of what lies at the same place in every nest of tuples, lists and dicts."""
    first = nests[0]
    if isinstance(first, Mapping):
        return {key: mapped(do, *(nest[key] for nest in nests)) for key in first}
    if isinstance(first, (tuple, list)):
        parts = [mapped(do, *inner) for inner in zip(*nests, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return do(*nests)
