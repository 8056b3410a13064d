"""Dilated recurrence (Chang et al. 2017, arXiv 1710.02224)."""

from collections.abc import Callable
from math import inf
from typing import Any, Unpack

import torch
from torch import Tensor

from longreach.kernels.walk import Steps
from longreach.nn.cell import Cell, State, Step, each, entries
from longreach.nn.cells.delayed import Delay, Delayed


class Dilated(Delay):
    """hₜ = cell(xₜ, hₜ₋ₖ): k = `lag` interleaved networks with the same weights.

    Jacobian   ∂hₜ/∂hₜ₋ₖ is the inner cell's, ∂hₜ/∂hₜ₋₁ = 0
    Carries    n lags in n / k steps; in a stack with lags 1, 2, 4, ... every far input has a short way
    Equals     the inner cell when k = 1
    Is not     a skip connection, which keeps hₜ₋₁ (skip.py): one layer alone does not join neighbouring steps
    Cost       that of the inner cell's own scan: T steps of B sequences are, row for row, T / k steps of k·B sequences.
               Packed rows, resets, cut and clip go through a loop

    inner, options   the cell, and what else it is built with
    """

    def __init__(self, input_size: int, hidden_size: int, *, inner: Callable[..., Cell], lag: int, **options: Any):
        super().__init__(inner, input_size, hidden_size, lag=lag, **options)

    def from_afar(self, step: Step, x: Tensor, state: Delayed) -> State:
        """A step from the oldest state."""
        return step(x, self.oldest(state))

    def fuses(self, **steps: Unpack[Steps]) -> bool:
        """Where all sequences run from the first step to the last, and their gradients unhindered."""
        plain = steps.get("batch_sizes") is None and steps.get("resets") is None
        unhindered = not steps.get("cut", 0) and steps.get("clip", inf) == inf
        return plain and unhindered and self.inner.fuses(**steps)

    def scan(self, x: Tensor, state: Delayed, **steps: Unpack[Steps]) -> tuple[Tensor, Delayed]:
        """By the inner cell's scan. Step t is step t // k of network t % k; the last step may lack some networks."""
        lag, reverse = self.lag, steps.get("reverse", False)
        queue = each(lambda past, now: torch.cat((past, now.unsqueeze(1)), 1), state.past, state.now)
        batch = len(entries(queue)[0])
        time = len(x) // batch if batch else 0
        if not time:
            return self.output(state)[:0], state

        networks = [(time - 1 - step if reverse else step) % lag for step in range(time)]  # in the order they run
        first, latest = networks[:lag], networks[-lag:]
        starting = [first.index(network) for network in sorted(first)]
        full, rest = divmod(time, lag)
        rows, ended = self.inner.scan(
            x,
            each(lambda q: q[:, starting].transpose(0, 1).flatten(0, 1), queue),
            batch_sizes=torch.tensor([lag * batch] * full + [rest * batch]) if full and rest else None,
            reverse=reverse,
            probe=steps.get("probe"),
        )
        ends = each(lambda end: end.unflatten(0, (len(first), batch))[latest].transpose(0, 1), ended)
        queue = each(lambda q, end: torch.cat((q[:, time:], end), 1), queue, ends)
        return rows, Delayed(each(lambda q: q[:, -1], queue), each(lambda q: q[:, :-1], queue))
