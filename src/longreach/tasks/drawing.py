"""What drawing sequences is made of."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def integers(low: int, high: int, count: int, generator: torch.Generator) -> Int[Tensor, " sequence"]:
    """One whole number of {low, ..., high} a sequence: both ends belong to it."""
    return torch.randint(low, high + 1, (count,), generator=generator)


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    """Numbers of U[low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def normal(variance: float, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    """Numbers of N(0, variance): a variance, not a standard deviation."""
    return variance**0.5 * torch.randn(shape, generator=generator)


def at(place: Int[Tensor, " sequence"], steps: int) -> Bool[Tensor, "sequence time"]:
    """True at one step of each sequence."""
    return torch.arange(steps) == place[:, None]


def before(end: Int[Tensor, " sequence"], steps: int) -> Bool[Tensor, "sequence time"]:
    """True at the steps 0, ..., end - 1 of each sequence."""
    return torch.arange(steps) < end[:, None]


def another(place: Int[Tensor, " sequence"], high: int, generator: torch.Generator) -> Int[Tensor, " sequence"]:
    """A place of {0, ..., high} that is not `place`, each with the same chance; `place` itself lies among them."""
    drawn = integers(0, high - 1, len(place), generator)
    return drawn + (drawn >= place)
