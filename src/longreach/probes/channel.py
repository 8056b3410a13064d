"""What becomes of a gradient on its way back: gain and signal (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063).

    gain(k)   = ‖Jᵀv‖ / ‖v‖,              J = ∂s_t/∂s_{t-k},  v random on the sphere
    signal(k) = ‖∂L_t/∂s_{t-k}‖ / ‖∂L_t/∂s_t‖

The norm is taken out at every border and its logarithm summed up, so that nothing under- or overflows: 1e-300 is a
number like any other, and so is e^-100000.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

State = tuple[Tensor, ...]


@runtime_checkable
class Stretch(Protocol):
    """A stretch of time that a gradient can be pulled back through."""

    def pull_back(self, cotangent: State) -> State:
        """Jᵀ v."""
        ...


@dataclass(frozen=True)
class Travel:
    """One gradient at every border it has passed.

    log_norm  ln of its norm per row, 0 at the start; -inf where nothing is left, NaN where a number was not finite
    unit      its direction at each border, entries of all parts of the state side by side
    """

    log_norm: Float[Tensor, "border row"]
    unit: list[Float[Tensor, "row entry"]]


def travel(stretches: Sequence[Stretch], seed: State, row_dim: int | None = 0) -> Travel:
    """Send `seed` back through the stretches, the nearest first.

    A row of the seed that is 0 stays 0 and reads NaN: nothing was sent.
    Cost: one vector-Jacobian product per stretch.
    """
    cotangent, norm = _normalised(seed, row_dim)
    log_norm = [torch.where(norm > 0, 0.0, torch.nan)]
    units = [side_by_side(cotangent, row_dim)]
    for stretch in stretches:
        cotangent, norm = _normalised(stretch.pull_back(cotangent), row_dim)
        log_norm.append(log_norm[-1] + norm.log())
        units.append(side_by_side(cotangent, row_dim))
    return Travel(torch.stack(log_norm), units)


def sphere(like: State, generator: torch.Generator) -> State:
    """A random direction of the shape of a state; `travel` brings it to length 1."""
    return tuple(torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part) for part in like)


def side_by_side(parts: State, row_dim: int | None) -> Tensor:
    """All entries of a state per row; one row of everything where there is no batch."""
    if row_dim is None:
        return torch.cat([part.flatten() for part in parts])[None]
    return torch.cat([part.movedim(row_dim, 0).flatten(1) for part in parts], dim=1)


def _normalised(parts: State, row_dim: int | None) -> tuple[State, Tensor]:
    """Parts over their joint norm per row, and that norm as float64, safe where squares would leave the range."""
    entries = side_by_side(parts, row_dim).double()
    largest = entries.abs().amax(dim=1)
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    norm = (entries / scale[:, None]).norm(dim=1) * scale
    safe = torch.where(norm > 0, norm, 1.0)
    return tuple((part.double() / _along(safe, part, row_dim)).to(part.dtype) for part in parts), norm


def _along(per_row: Tensor, part: Tensor, row_dim: int | None) -> Tensor:
    """One number a row, in a shape that broadcasts over a part of the state."""
    return per_row.reshape([-1 if dim == row_dim else 1 for dim in range(part.dim())])
