"""Units that see of the state only themselves (Li et al. 2018, arXiv 1803.04831)."""

from collections.abc import Callable
from math import inf
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from longreach.errors import ArgumentError
from longreach.kernels import border, native
from longreach.kernels.half import widened
from longreach.kernels.linear import before, beside, cut_off, first, in_lines, last, sent_back
from longreach.kernels.reference import ACTIVATIONS
from longreach.kernels.walk import Probe, State, Steps, walk

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

# f' as a function of f, for the activations that have one
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda f: 1 - f * f,
    "relu": lambda f: (f > 0).to(f.dtype),
    "leaky_relu": lambda f: torch.where(f > 0, torch.ones_like(f), 0.01),
    "elu": lambda f: torch.where(f > 0, 1.0, f + 1),
    "selu": lambda f: torch.where(f > 0, SELU_SCALE, f + SELU_SCALE * SELU_ALPHA),
    "sigmoid": lambda f: f * (1 - f),
    "identity": torch.ones_like,
}


@widened
def diagonal(
    x: Float[Tensor, "N H"],
    u: Float[Tensor, "H"],
    h0: Float[Tensor, "B H"],
    *,
    activation: str = "relu",
    **steps: Unpack[Steps],
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"]]:
    """hₜ = f(u hₜ₋₁ + xₜ), unit by unit, f one of SLOPES;  gives h and h_n.

    Keywords as of longreach.kernels.walk.walk
    Cost     three elementwise operations a step; the gradient is a linear recurrence, which takes 2 √T sweeps
    """
    if activation not in SLOPES:
        raise ArgumentError(f"activation: expected one of {', '.join(SLOPES)}, got {activation!r}")
    if steps.get("clip", inf) != inf or forward_ad._current_level >= 0:
        return _stepwise(x, u, h0, activation, **steps)
    sizes, reverse = steps.get("batch_sizes"), steps.get("reverse", False)
    resets, probe = steps.get("resets"), steps.get("probe")
    rows = u.expand_as(x)
    if resets is not None:
        rows = rows.masked_fill(resets[:, None], 0)
    carried = cut_off(rows, h0, sizes, reverse, steps.get("cut", 0))
    h = DiagonalScan.apply(x, rows, carried, h0, None if probe is None else probe[0], activation, sizes, reverse)
    return h, last(h, h0, sizes, reverse)


@torch.library.custom_op("longreach::diagonal_scan", mutates_args=())
def diagonal_scan(
    x: Tensor,
    u: Tensor,
    carried: Tensor | None,
    h0: Tensor,
    activation: str,
    batch_sizes: Tensor | None,
    reverse: bool,
) -> Tensor:
    """h of hₜ = f(u hₜ₋₁ + xₜ), all of rows. `carried`, if given, carries a gradient on in the place of u."""
    if x.device.type == "cpu" and native.built():
        steps = native.Steps(batch_sizes, reverse)
        return native.diagonal(x.contiguous(), in_lines(u), h0.contiguous(), activation, steps)
    f, batch = ACTIVATIONS[activation], len(h0)
    sizes = [batch] * (len(x) // batch if batch else 0) if batch_sizes is None else batch_sizes.tolist()
    xs, us, h = x.split(sizes), u.split(sizes), [x] * len(sizes)
    previous = h0
    for t in reversed(range(len(sizes))) if reverse else range(len(sizes)):
        if sizes[t] > len(previous):
            previous = torch.cat((previous, h0[len(previous) : sizes[t]]))
        h[t] = previous = f(torch.addcmul(xs[t], us[t], previous[: sizes[t]]))
    return torch.cat([h0[:0], *h])


@diagonal_scan.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@diagonal_scan.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
    tensors = (beside(*pair, info.batch_size) for pair in zip(inputs[:4], in_dims[:4], strict=True))
    h = diagonal_scan(*tensors, *inputs[4:])
    return h.unflatten(1, (info.batch_size, -1)), 1


class DiagonalScan(torch.autograd.Function):
    """diagonal_scan and its gradient, a linear scan, to any order. `probe` takes up the norms of dL/dh."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        u: Tensor,
        carried: Tensor | None,
        h0: Tensor,
        probe: Tensor | None,
        activation: str,
        batch_sizes: Tensor | None,
        reverse: bool,
    ) -> Tensor:
        """h."""
        return diagonal_scan(x, u, carried, h0, activation, batch_sizes, reverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep everything but x."""
        _, u, carried, h0, _, activation, batch_sizes, reverse = inputs
        ctx.save_for_backward(u, carried, h0, output)
        ctx.slope, ctx.layout = SLOPES[activation], (batch_sizes, reverse)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dL/dxₜ = f' dL/dhₜ, where dL/dhₜ has come back through f'ₜ₊₁ u."""
        (gradient,), (u, carried, h0, h) = gradients, ctx.saved_tensors
        slopes = ctx.slope(h)
        errors = sent_back(gradient, slopes * (u if carried is None else carried), h0, *ctx.layout)
        norms = border.row_norms(errors) if ctx.needs_input_grad[4] else None
        of_x = errors * slopes
        of_u = of_x * before(h, h0, *ctx.layout) if ctx.needs_input_grad[1] else None
        return of_x, of_u, None, first(of_x * u, h0, *ctx.layout), norms, None, None, None


def _stepwise(x: Tensor, u: Tensor, h0: Tensor, activation: str, **steps: Unpack[Steps]) -> tuple[Tensor, Tensor]:
    def step(x_t: Tensor, state: State, probe: Probe) -> State:
        return (border.report(ACTIVATIONS[activation](u * state[0] + x_t), probe[0]),)

    states, (h_n,) = walk(step, x, (h0,), **steps)
    return torch.cat([h0[:0], *(h for (h,) in states)]), h_n
