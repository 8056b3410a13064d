"""Dilated recurrence (Chang et al. 2017, arXiv 1710.02224)."""

from typing import TypeVar, Unpack

import torch
from torch import Tensor, nn

from longreach.errors import ArgumentError
from longreach.kernels.walk import Steps
from longreach.nn import cells
from longreach.nn.cell import entries
from longreach.nn.cells.delayed import Delayed
from longreach.remedies.kept import wrap_all
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def dilated(module: M, *, lag: int = 8) -> M:
    """Let every step of every recurrent layer go on from the state `lag` steps back: hₜ = cell(xₜ, hₜ₋ₖ).

    That is k interleaved networks with the same weights. What the layer shows is the mean of the last k states, one of
    each (the paper has a convolution there, to be learned).

    Promises   n lags are n / k steps: a layer reaches k times as far
    Changes    the function; weights are kept, under the names of longreach.nn.cells, so make the optimizer after it
    Twice      is the same as once, with the first lag
    Undo       the layer from before it, with the weights that it had then
    Price      none for whole sequences of one length, but up to twice the time of torch's LSTM on short ones: T steps
               of B are T / k steps of k·B. Packed ones run as a Python loop, several times as slow
    Is not     for order at less than k steps: within a layer the k networks do not see each other
    Raises     NotApplicable where there is no recurrent layer; ArgumentError unless lag >= 1
    """
    if lag < 1:
        raise ArgumentError(f"lag: expected a number of steps, 1 or more, got {lag}")
    wrap_all(module, Joined, "dilated", lag=lag)
    return module


class Joined(cells.Dilated):
    """Dilated recurrence that shows the mean of its last `lag` states: the interleaved networks side by side."""

    def output(self, state: Delayed) -> Tensor:
        """The mean of h now and at the lag - 1 steps before."""
        now, past = entries(state.now)[0], entries(state.past)[0]
        return (now + past.sum(1)) / self.lag

    def scan(self, x: Tensor, state: Delayed, **steps: Unpack[Steps]) -> tuple[Tensor, Delayed]:
        """By the inner cell's scan, then a moving mean."""
        rows, ended = super().scan(x, state, **steps)
        before = entries(state.past)[0].transpose(0, 1)
        latest = torch.cat((before, entries(state.now)[0][None]))[1:]
        h = rows.unflatten(0, (-1, before.shape[1]))
        h = h.flip(0) if steps.get("reverse", False) else h
        shown = torch.cat((latest, h)).unfold(0, self.lag, 1).mean(-1)
        return (shown.flip(0) if steps.get("reverse", False) else shown).flatten(0, 1), ended


REMEDY = Remedy(
    "dilated",
    dilated,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="little; packed sequences run as a Python loop, several times as slow",
    source="Chang et al. 2017, arXiv 1710.02224",
)
