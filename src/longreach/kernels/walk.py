"""The loop over time in plain torch, over rows: what every scan means."""

from collections.abc import Callable
from math import inf
from typing import TypedDict

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from longreach.kernels import border

State = tuple[Tensor, ...]
Probe = tuple[Tensor | None, ...]
Step = Callable[[Tensor, State, Probe], State]


class Steps(TypedDict, total=False):
    """The keywords that every scan takes, as `walk` explains them."""

    batch_sizes: Int[Tensor, "T"] | None
    reverse: bool
    resets: Bool[Tensor, "N"] | None
    cut: int
    clip: float
    probe: Float[Tensor, "S N"] | None


def walk(
    step: Step,
    x: Shaped[Tensor, "N P"],
    start: State,
    *,
    batch_sizes: Int[Tensor, "T"] | None = None,
    reverse: bool = False,
    resets: Bool[Tensor, "N"] | None = None,
    cut: int = 0,
    clip: float = inf,
    probe: Float[Tensor, "S N"] | None = None,
) -> tuple[list[State], State]:
    """States of every step, in the order of time, and the state that every sequence ends in.

    step         one step of the sequences that are running: step(x_t [b, P], state, probe_t) -> state, with entries of
                 [b, ...]. It shall give its new states to border.report, each with its entry of probe_t
    x            rows: time-major, row t·B + b; with `batch_sizes` as in PackedSequence.data
    start        for every entry of the state [B, ...]
    batch_sizes  sequences that are still running at each step, falling, on the CPU; None: all B at every step
    reverse      from the last step to the first; a sequence of length L starts at step L - 1
    resets       where true, that step starts from zeros instead of the state before it: values and gradients
    cut          k: no gradient passes between steps t - 1 and t where t is a multiple of k; t = 0 and `start` are never
                 cut off. 0: never
    clip         largest norm, per row, of what one step sends back to the state before it, `start` included
    probe        takes up the norms of dL/dstate, a row for each entry of the state; see border.report
    """
    sizes = _sizes(x, start[0], batch_sizes)
    steps = len(sizes)
    states: list[State] = [()] * steps
    xs, zeroed = x.split(sizes), _per_step(resets, sizes)
    probes = [_per_step(row, sizes) for row in probe] if probe is not None else [[None] * steps] * len(start)

    latest = start  # of all B sequences: not yet started, running, or ended
    for t in reversed(range(steps)) if reverse else range(steps):
        edge = t + 1 if reverse else t  # this border lies between the steps edge - 1 and edge
        if cut and 0 < edge < steps and edge % cut == 0:
            latest = tuple(_detach_first(sizes[edge], entry) for entry in latest)
        running = sizes[t]
        before = border.clip(tuple(entry[:running] for entry in latest), clip)
        if resets is not None:
            before = tuple(_zero_where(zeroed[t], entry) for entry in before)
        states[t] = step(xs[t], before, tuple(row[t] for row in probes))
        latest = tuple(_replace_first(running, entry, new) for entry, new in zip(latest, states[t], strict=True))
    return states, latest


def _sizes(x: Tensor, entry: Tensor, batch_sizes: Tensor | None) -> list[int]:
    if batch_sizes is not None:
        return batch_sizes.tolist()
    batch = entry.shape[0]
    return [batch] * (x.shape[0] // batch) if batch else []


def _per_step(rows: Tensor | None, sizes: list[int]) -> list[Tensor | None]:
    return [None] * len(sizes) if rows is None else list(rows.split(sizes))


def _detach_first(count: int, entry: Tensor) -> Tensor:
    """Sequences that start or have ended at this border are not cut off: they lie behind the first `count`."""
    return torch.cat((entry[:count].detach(), entry[count:]))


def _replace_first(count: int, entry: Tensor, new: Tensor) -> Tensor:
    return new if count == entry.shape[0] else torch.cat((new, entry[count:]))


def _zero_where(reset: Tensor | None, entry: Tensor) -> Tensor:
    assert reset is not None
    return torch.where(reset.view(-1, *[1] * (entry.dim() - 1)), torch.zeros_like(entry), entry)
