"""States of long ago, kept in the state: what skip connections and dilations through time have in common."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor

from longreach.errors import ArgumentError
from longreach.nn.cell import Cell, State, Step, Wrapper, each


class Delayed(NamedTuple):
    """The latest state of a cell, and the lag - 1 states before it, the oldest first: entries [B, lag - 1, ...]."""

    now: State
    past: State


class Delay(Wrapper):
    """A cell that sees the state `lag` steps back; zeros before the start.

    What longreach.observe tells are the norms for the latest state, ∂L/∂hₜ, with all that comes back to it on the long
    way. The kept states move on at every step: lag · B · H numbers are copied.
    """

    def __init__(self, inner: Callable[..., Cell], input_size: int, hidden_size: int, *, lag: int, **options: Any):
        if lag < 1:
            raise ArgumentError(f"lag: expected a number of steps, 1 or more, got {lag}")
        super().__init__(inner, input_size, hidden_size, **options)
        self.lag = lag

    def from_afar(self, step: Step, x: Tensor, state: Delayed) -> State:
        """The new state of the inner cell."""
        raise NotImplementedError(f"{type(self).__name__}.from_afar: expected (step, x, state) -> inner state")

    def around(self, step: Step, x: Tensor, state: Delayed) -> Delayed:
        """A step; the kept states move on by one."""
        return Delayed(self.from_afar(step, x, state), each(_appended, state.past, state.now))

    def oldest(self, state: Delayed) -> State:
        """The state `lag` steps before the one that is to come."""
        return each(lambda past, now: past[:, 0] if self.lag > 1 else now, state.past, state.now)

    def output(self, state: Delayed) -> Tensor:
        """What the inner cell shows of the latest state."""
        return self.inner.output(state.now)

    def start(self, batch: int, *, like: Tensor) -> Delayed:
        """Zeros for the latest state and those before it."""
        now = self.inner.start(batch, like=like)
        return Delayed(now, each(lambda entry: entry.new_zeros(batch, self.lag - 1, *entry.shape[1:]), now))

    def extra_repr(self) -> str:
        """The lag."""
        return f"lag={self.lag}"


def _appended(
    past: Shaped[Tensor, "batch kept *rest"], now: Shaped[Tensor, "batch *rest"]
) -> Shaped[Tensor, "batch kept *rest"]:
    return torch.cat((past, now.unsqueeze(1)), dim=1)[:, 1:]
