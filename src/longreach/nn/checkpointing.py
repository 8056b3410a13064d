"""Recomputing instead of remembering: checkpoints along time (Chen et al. 2016, arXiv 1604.06174, section 4)."""

import itertools
from functools import partial

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from longreach.nn.stack import Scan, State


def checkpointed(scan: Scan, every: int, *, cut: int = 0) -> Scan:
    """The same scan, of which only the states at every `every`-th step are kept for the backward pass.

    What lies between is computed again when its gradients are due. Values and gradients are those of `scan`, and
    random numbers that it draws are drawn again.

    every    steps from one kept state to the next, of T; the least is kept with every = √T: O(√T) instead of O(T)
    cut      the scan's own: of absolute steps, which a segment that is run alone cannot count
    Cost     the forward pass once more; without gradients nothing is segmented
    Is not   for torch.compile(fullgraph=True) with packed rows, whose segments depend on the lengths
    """

    return partial(_segmented, scan, every, cut)


def _segmented(
    scan: Scan,
    every: int,
    cut: int,
    x: Shaped[Tensor, "row feature"],
    state: State,
    *,
    reverse: bool = False,
    probe: Float[Tensor, "entry row"] | None = None,
    batch_sizes: Int[Tensor, " time"] | None = None,
    resets: Bool[Tensor, " row"] | None = None,
) -> tuple[Shaped[Tensor, "row unit"], State]:
    offsets = _offsets(x, state, batch_sizes)
    steps = len(offsets) - 1
    if steps <= every or not torch.is_grad_enabled():
        return scan(x, state, reverse=reverse, probe=probe, batch_sizes=batch_sizes, resets=resets)
    segments = list(itertools.pairwise(_borders(steps, every, cut)))
    outputs = []
    for begin, end in reversed(segments) if reverse else segments:
        edge = end if reverse else begin  # this border lies between the steps edge - 1 and edge
        if cut and 0 < edge < steps and edge % cut == 0:
            running = offsets[edge + 1] - offsets[edge]
            state = tuple(torch.cat((entry[:running].detach(), entry[running:])) for entry in state)
        running = offsets[begin + 1] - offsets[begin]
        rows = slice(offsets[begin], offsets[end])
        output, ended = checkpoint(
            scan,
            x[rows],
            tuple(entry[:running] for entry in state),
            use_reentrant=False,
            reverse=reverse,
            probe=None if probe is None else probe[:, rows],
            batch_sizes=None if batch_sizes is None else batch_sizes[begin:end],
            resets=None if resets is None else resets[rows],
        )
        outputs.append(output)
        state = tuple(torch.cat((new, entry[running:])) for new, entry in zip(ended, state, strict=True))
    return torch.cat(outputs[::-1] if reverse else outputs), state


def _offsets(x: Tensor, state: State, batch_sizes: Tensor | None) -> list[int]:
    """The first row of every step, and the end of the last."""
    if batch_sizes is not None:
        return [0, *batch_sizes.cumsum(0).tolist()]
    batch = state[0].shape[0]
    return list(range(0, x.shape[0] + 1, batch)) if batch else [0]


def _borders(steps: int, every: int, cut: int) -> list[int]:
    """Where segments begin and end: every cut lies at the beginning of one, or at a multiple of `cut` within."""
    if cut > every:
        return sorted({*range(0, steps, every), *range(0, steps, cut), steps})
    return [*range(0, steps, every - every % cut if cut else every), steps]
