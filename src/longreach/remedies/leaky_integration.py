"""Leaky integration (Jaeger, Lukoševičius, Popovici & Siewert 2007, Neural Networks 20:335-352)."""

from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from longreach.errors import ArgumentError
from longreach.nn import Recurrent, cells
from longreach.remedies.anatomy import activation_of
from longreach.remedies.first_forward import at_first_forward, steps_of
from longreach.remedies.kept import with_weights
from longreach.remedies.remedy import Remedy, wholly
from longreach.remedies.substitute import first_of, places, put_in_place

M = TypeVar("M", bound=nn.Module)

DEFAULT = 100  # steps, for cells that are called step by step: nobody knows how often


@wholly
def leaky_integration(module: M, *, a: float | None = None) -> M:
    """Make every layer without gates a leaky integrator: hₜ = (1 - a) hₜ₋₁ + a f(W hₜ₋₁ + U xₜ + b).

    a          None: 2 / T, with T the steps of the first sequences that the layer reads in training (100 for cells that
               are called step by step), at most 1/2: of a gradient e⁻² = 14 % goes all the way back by the leak alone
    Promises   ∂hₜ/∂hₜ₋₁ = (1 - a) I + a diag(f') W, near I for small a
    Changes    the function; weights are kept, under the names of longreach.nn.cells, so make the optimizer after it
    Twice      is the same as once, with the first a
    Undo       the layer from before it, with the weights that it had then
    Price      none: the same fused kernel
    Is not     fast: a unit moves by a share a of the way at each step, so short-lived things are blurred
    Raises     NotApplicable where no layer without gates is found; ArgumentError unless 0 < a <= 1
    """
    if a is not None and not 0 < a <= 1:
        raise ArgumentError(f"a: expected 0 < a <= 1, got {a}; None chooses by the length of the sequences")
    for layer in places(module, "leaky-integration", "rnn"):
        options = {"activation": activation_of(first_of(layer)), "a": share(DEFAULT) if a is None else a}
        put_in_place(layer, with_weights(layer, cells.Leaky, **options), "leaky-integration")
        if a is None and isinstance(getattr(layer, "inner", None), Recurrent):
            at_first_forward(layer, "leaky-integration", _choose)
    return module


def share(steps: int) -> float:
    """a for sequences of so many steps."""
    return min(0.5, 2 / max(steps, 1))


def _choose(layer: nn.Module, input: Tensor | PackedSequence) -> None:
    for part in layer.modules():
        if isinstance(part, cells.Leaky):
            part.a = share(steps_of(layer, input))


REMEDY = Remedy(
    "leaky-integration",
    leaky_integration,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="nothing",
    source="Jaeger, Lukoševičius, Popovici & Siewert 2007, Neural Networks 20:335-352",
)
