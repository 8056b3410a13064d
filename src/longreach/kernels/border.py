"""What happens to a gradient at the border between two steps: it is reported, or clipped.

Both are the identity for values. They act on whatever passes, gradients of second order too. Cutting a gradient off
needs no name: that is detach().
"""

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def report(state: Shaped[Tensor, "B *rest"], probe: Float[Tensor, "B"] | None) -> Shaped[Tensor, "B *rest"]:
    """`state` itself; in the backward pass the "gradient" of `probe` is the norm of every row of dL/dstate.

    Of everything that arrives: from the output, from the next step, from h if `state` is the c that h is made of.
    `probe` is of zeros, requires grad, and does not enter the value. None: nothing is done.
    """
    return state if probe is None else _Report.apply(state, probe)


def clip(states: tuple[Tensor, ...], largest: float) -> tuple[Tensor, ...]:
    """`states` themselves; in the backward pass a row's gradient is scaled to norm <= `largest`.

    Each is [B, ...]; the norm of a row is taken over all states together. inf: nothing is done.
    Put where a state is handed to the next step, it clips what that step sends back and not what the loss adds.
    """
    if largest == torch.inf or not any(state.requires_grad for state in states):
        return states
    return _Clip.apply(largest, *states)


def row_norms(gradient: Shaped[Tensor, "B *rest"]) -> Float[Tensor, "B"]:
    """Euclidean norm of every row, also where the squares would underflow or overflow."""
    sizes = _as_rows(gradient.abs())
    unit = sizes.detach().amax(1, keepdim=True)
    unit = torch.where((unit > 0) & unit.isfinite(), unit, 1.0)
    return torch.linalg.vector_norm(sizes / unit, dim=1) * unit.squeeze(1)


def _as_rows(gradient: Shaped[Tensor, "B *rest"]) -> Shaped[Tensor, "B numbers"]:
    return gradient.flatten(1) if gradient.dim() > 1 else gradient.unsqueeze(1)


class _Report(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(state: Tensor, probe: Tensor) -> Tensor:
        return state.view_as(state)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.dtype = inputs[1].dtype

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        return gradient, row_norms(gradient).to(ctx.dtype)


class _Clip(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(largest: float, *states: Tensor) -> tuple[Tensor, ...]:
        return tuple(state.view_as(state) for state in states)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.largest = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        norm = row_norms(torch.cat([_as_rows(gradient) for gradient in gradients], dim=1))
        scale = (ctx.largest / norm).clamp(max=1.0)
        return None, *(g * scale.to(g.dtype).view(-1, *[1] * (g.dim() - 1)) for g in gradients)
