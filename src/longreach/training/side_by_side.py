"""Whole sequences of unequal length in batches: those of about one length together, zeros behind the shorter ones."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from longreach.errors import DataError
from longreach.training.problem import Sizes

MIXED = 1.5  # lengths within this factor are mixed: of a batch about a fifth is padding, and no two epochs are alike


def drawn(lengths: Int64[np.ndarray, " sequence"], sizes: Sizes) -> Callable[[int], Int64[np.ndarray, " row"]]:
    """The training batches: number in, places of sequences out, those of this process.

    Every epoch shows every sequence once, in an order of its own that its number and the seed decide.

    Raises  DataError if there are fewer sequences than processes
    """
    count = batches(len(lengths), sizes)

    @lru_cache(maxsize=1)
    def epoch(number: int) -> list[Int64[np.ndarray, " row"]]:
        random = np.random.default_rng((sizes.seed, number))
        order = np.argsort(np.log(np.maximum(lengths, 1)) + random.uniform(0, np.log(MIXED), len(lengths)))
        cut = np.array_split(order, count)
        return [cut[place] for place in random.permutation(count)]

    return lambda number: epoch(number // count)[number % count][sizes.rank :: sizes.world]


def in_order(lengths: Int64[np.ndarray, " sequence"], sizes: Sizes) -> Iterator[Int64[np.ndarray, " row"]]:
    """Every sequence once, the shortest first; of each batch the rows of this process.

    Raises  DataError if there are fewer sequences than processes
    """
    cut = np.array_split(np.argsort(lengths, kind="stable"), batches(len(lengths), sizes))
    return (places[sizes.rank :: sizes.world] for places in cut)


def batches(sequences: int, sizes: Sizes) -> int:
    """Of an epoch: of equal size up to one sequence, no larger than asked for unless a process would have none."""
    if sequences < sizes.world:
        raise DataError(
            f"expected a sequence in each part of the data for each of {sizes.world} processes, got {sequences}; take "
            "fewer processes"
        )
    return max(1, min(-(-sequences // sizes.batch), sequences // sizes.world))


def padded(
    sequences: Sequence[Shaped[Tensor, "step input"]],
) -> tuple[Shaped[Tensor, "sequence time input"], Bool[Tensor, "sequence time"]]:
    """Sequences side by side, zeros behind each; and where its own steps are."""
    lengths = torch.tensor([len(one) for one in sequences])
    x = pad_sequence(list(sequences), batch_first=True)
    return x, torch.arange(x.shape[1]) < lengths[:, None]
