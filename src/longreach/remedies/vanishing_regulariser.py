"""The regulariser Ω against vanishing gradients (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 3.3).

    Ω = Σₜ (‖dₜ ∂hₜ/∂hₜ₋₁‖² / ‖dₜ‖² - 1)²,   dₜ = dC/dhₜ

is 0 where a gradient keeps its size from step to step: in the direction that the error has, not in all. By its gradient
W_hh alone is moved, with h and d held constant. That has a closed form: with vₜ = f'(hₜ)·dₜ and rₜ = ‖vₜ W‖²/‖dₜ‖²,

    ∂Ω/∂W = Σₜ 4 (rₜ - 1) vₜᵀ (vₜ W) / ‖dₜ‖²

The squares are those of equation 10, and of the code that the authors released; equation 9 has the norms themselves.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.anatomy import Layer, activation_of, recurrent_layers
from longreach.remedies.remedy import Remedy, applied, remember_hooks, wholly

M = TypeVar("M", bound=nn.Module)

# f' by the value of f
DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda h: 1 - h * h,
    "sigmoid": lambda h: h * (1 - h),
    "relu": lambda h: (h > 0).to(h.dtype),
}
SILENT = 1e-20  # of ‖dₜ‖²: below it there is no error whose size could be kept; the authors' number


@wholly
def vanishing_regulariser(
    module: M, *, alpha: float | Callable[[int], float] = 4.0, normalisation: Literal["average", "sum"] = "average"
) -> M:
    """Add alpha · ∂Ω/∂W_hh to the gradient of W_hh, in every backward pass: errors are to keep their size through time.

    alpha          a number; or of the number of backward passes so far. The paper took 4 where memory is all that
                   counts; on natural data a fixed one did harm, and it took 1/(2t), t counting the epochs
    normalisation  "average" over all steps and rows that have an error: the authors' code, and alphas; "sum" over the
                   steps, averaged over the rows: their equation. At equal alpha the sum is about T times as strong

    Fits       an nn.RNN, or longreach.nn's, of one layer and direction, with tanh, sigmoid or relu, in any layout
    Promises   the gradient of W_hh alone becomes that of C + alpha Ω; what is clipped, is clipped after it
    Changes    nothing that the model computes; the loss that the script prints does not contain Ω
    Twice      is the same as once; the first alpha holds
    Undo       the hook leaves; the weights stay as they are
    Price      the backward pass through time once more, as a loop of one product a step; its states once more
    Is not     for unclipped training: what it lengthens explodes sooner or later. Nor for a loss scaled for float16,
               against which alpha would be too small; added at every backward pass, also at those that accumulate
    Raises     NotApplicable where there is no such layer; ArgumentError where an option does not fit
    """
    if not callable(alpha) and not alpha > 0:
        raise ArgumentError(f"alpha: expected a number above 0, got {alpha}; the paper has 0.5 to 4")
    if normalisation not in ("average", "sum"):
        raise ArgumentError(f'normalisation: expected "average" or "sum", got {normalisation!r}')
    layers = [layer for layer in recurrent_layers(module, "vanishing-regulariser", "rnn") if _fits(layer)]
    if not layers:
        raise NotApplicable(
            "vanishing-regulariser: expected an RNN of one layer and one direction, of tanh, sigmoid or relu, its W_hh "
            "a parameter, got only others; its formula is of one W_hh: stack single layers instead"
        )
    for layer in layers:
        if "vanishing-regulariser" not in applied(layer):
            hook = layer.register_forward_hook(_Regulariser(alpha, normalisation).follow, with_kwargs=True)
            remember_hooks(layer, "vanishing-regulariser", hook)
    return module


def _fits(layer: Layer) -> bool:
    single = isinstance(layer, nn.RNNBase) and layer.num_layers == 1 and not layer.bidirectional
    return single and activation_of(layer) in DERIVATIVES and not parametrize.is_parametrized(layer)


class _Regulariser:
    """What hears of a layer's calls, and adds to its gradient."""

    def __init__(self, alpha: float | Callable[[int], float], normalisation: str):
        self._alpha, self._normalisation = alpha, normalisation
        self._passes = 0

    def follow(self, layer: Any, _: Any, options: dict[str, Any], given: tuple[Any, Tensor]) -> None:
        """After a call of the layer: wait for what the loss sends back to its output and to its last state."""
        output, h_n = given
        weight, states = layer.weight_hh_l0, output.data if isinstance(output, PackedSequence) else output
        if not (torch.is_grad_enabled() and weight.requires_grad):
            return
        if not weight.is_leaf:
            raise NotApplicable("vanishing-regulariser: expected W_hh as a parameter, got one computed from others")
        if options.get("resets") is not None:
            raise NotApplicable("vanishing-regulariser: expected calls without resets; split the sequences there")
        call = _Call(output, layer.batch_first, states.detach())
        derivative = DERIVATIVES[activation_of(layer)]
        limits = {"cut": getattr(layer, "cut", 0), "clip": getattr(layer, "clip", math.inf)}

        @torch.no_grad()
        def arrived(gradients: Any) -> None:
            h, direct = call.steps(call.states), call.direct(*gradients)
            wide = torch.promote_types(h.dtype, torch.float32)
            omega = omega_gradient(
                weight.detach().to(wide),
                derivative(h.to(wide)),
                direct.to(wide),
                average=self._normalisation == "average",
                **limits,
            )
            self._add(weight, omega)

        # both, or whichever of them the script uses; W_hh's own gradient is complete only after
        torch.autograd.graph.register_multi_grad_hook((states, h_n), arrived)

    def _add(self, weight: Tensor, omega: Tensor) -> None:
        """To the gradient that is under way, and to no other: a pass may not go as far as the weight."""
        under_way = torch._C._current_graph_task_id()
        alpha = self._alpha(self._passes) if callable(self._alpha) else self._alpha
        self._passes += 1

        def add(gradient: Tensor) -> Tensor | None:
            hook.remove()
            if torch._C._current_graph_task_id() != under_way:
                return None
            return gradient + alpha * omega.to(gradient.dtype)

        hook = weight.register_hook(add)


class _Call:
    """A call of a layer, its layout undone: everything (time, batch, unit), sequences padded behind their end."""

    def __init__(self, output: Any, batch_first: bool, states: Tensor):
        self.states = states
        self._packing = output[1:] if isinstance(output, PackedSequence) else None
        self._batch_first = batch_first

    def steps(self, rows: Tensor) -> Float[Tensor, "time batch unit"]:
        if self._packing is not None:
            return pad_packed_sequence(PackedSequence(rows, *self._packing))[0]
        if rows.dim() == 2:
            return rows[:, None]
        return rows.transpose(0, 1) if self._batch_first else rows

    def direct(self, to_output: Tensor | None, to_last: Tensor | None) -> Float[Tensor, "time batch unit"]:
        """What the loss sends to each step not by way of later ones."""
        rows = torch.zeros_like(self.states) if to_output is None else to_output
        direct = self.steps(rows).clone()
        if to_last is not None:
            last = len(direct) - 1
            if self._packing is not None:
                last = pad_packed_sequence(PackedSequence(rows, *self._packing))[1] - 1
            direct[last, torch.arange(direct.shape[1])] += to_last.reshape(direct.shape[1:])
        return direct


def omega_gradient(
    weight: Float[Tensor, "unit unit"],
    slopes: Float[Tensor, "time batch unit"],
    direct: Float[Tensor, "time batch unit"],
    *,
    average: bool,
    cut: int = 0,
    clip: float = math.inf,
) -> Float[Tensor, "unit unit"]:
    """∂Ω/∂W from f' and the direct errors of all steps; `cut` and `clip` are the layer's own, of longreach.nn.RNN."""
    d, v, sent = direct.contiguous().clone(), torch.empty_like(direct), torch.empty_like(direct)
    for t in reversed(range(len(d))):
        torch.mul(d[t], slopes[t], out=v[t])
        torch.mm(v[t], weight, out=sent[t])
        if t and not (cut and t % cut == 0):
            d[t - 1] += sent[t] if clip == math.inf else sent[t].renorm(2, 0, clip)
    size = torch.linalg.vector_norm(d, dim=-1, keepdim=True, dtype=torch.float64)  # whose squares shall not overflow
    heard = size.square() >= SILENT
    scale = torch.where(heard, 1 / size, 0.0).to(d.dtype)
    v, sent = v * scale, sent * scale
    excess = torch.where(heard, sent.square().sum(-1, keepdim=True) - 1, 0.0)
    count = heard.sum().clamp(min=1).to(d.dtype) if average else d.shape[1]
    return 4 / count * (excess * v).flatten(0, 1).T @ sent.flatten(0, 1)


REMEDY = Remedy(
    "vanishing-regulariser",
    vanishing_regulariser,
    "module",
    preserves=True,
    answers=("vanishing-in-time",),
    cost="the backward pass through time once more",
    source="Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 3.3",
)
