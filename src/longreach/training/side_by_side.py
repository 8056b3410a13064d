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

    Every epoch shows every sequence once, in an order of its own that its number and the seed decide. Batches are of
    equal size, up to one sequence, and never larger than asked for.

    Raises  DataError if a process would be left without a sequence
    """
    count = batches(len(lengths), sizes)
    if len(lengths) // count < sizes.world:
        raise DataError(
            f"expected a sequence in every batch for each of {sizes.world} processes, got {len(lengths)} to learn from "
            f"in batches of {sizes.batch}; give more sequences, a larger batch, or fewer processes"
        )

    @lru_cache(maxsize=1)
    def epoch(number: int) -> list[Int64[np.ndarray, " row"]]:
        random = np.random.default_rng((sizes.seed, number))
        order = np.argsort(np.log(np.maximum(lengths, 1)) + random.uniform(0, np.log(MIXED), len(lengths)))
        cut = np.array_split(order, count)
        return [cut[place] for place in random.permutation(count)]

    return lambda number: epoch(number // count)[number % count][sizes.rank :: sizes.world]


def in_order(lengths: Int64[np.ndarray, " sequence"], sizes: Sizes) -> Iterator[Int64[np.ndarray, " row"]]:
    """Every sequence once, the shortest first; of each batch the rows of this process, nothing where there are none."""
    if len(lengths) == 0:
        return
    order = np.argsort(lengths, kind="stable")
    for places in np.array_split(order, batches(len(lengths), sizes)):
        mine = places[sizes.rank :: sizes.world]
        if len(mine):
            yield mine


def batches(sequences: int, sizes: Sizes) -> int:
    """Of an epoch."""
    return max(1, -(-sequences // sizes.batch))


def padded(
    sequences: Sequence[Shaped[Tensor, "step input"]],
) -> tuple[Shaped[Tensor, "sequence time input"], Bool[Tensor, "sequence time"]]:
    """Sequences side by side, zeros behind each; and where its own steps are."""
    lengths = torch.tensor([len(one) for one in sequences])
    x = pad_sequence(list(sequences), batch_first=True)
    return x, torch.arange(x.shape[1]) < lengths[:, None]
