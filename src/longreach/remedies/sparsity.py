"""Sparse states by an L1 penalty (Glorot, Bordes & Bengio 2011, AISTATS 15:315-323, section 3.2)."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.anatomy import activation_of
from longreach.remedies.remedy import Remedy, applied, remember_hooks, wholly

M = TypeVar("M", bound=nn.Module)

RECTIFIED = ("relu", "leaky_relu", "prelu")
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU)


@wholly
def sparsity(module: M, *, amount: float = 0.1) -> M:
    """Add amount · mean |h| to the loss for every rectified layer, by its gradient: units that say little fall silent.

    amount     of the mean over all units, steps and rows of a layer's call. The paper has the sum over units, times
               0.001: for 100 of them 0.1 here

    Fits       recurrent layers without gates, of relu, leaky relu or prelu, and the modules of these activations
    Promises   gradients become those of the loss with the penalty; the loss that the script prints stays its own
    Changes    nothing that the model computes
    Twice      is the same as once; the first amount holds
    Undo       the hooks leave; the weights stay as they are
    Price      one sign for each state; one copy of what a recurrent layer gives
    Is not     a cure where units are dead already (LR301): it silences more of them. Nor for a rectifier whose output
               is the model's own, nor for a loss scaled for float16, against which it would be too small
    Raises     NotApplicable where nothing is rectified; ArgumentError unless amount > 0
    """
    if not amount > 0:
        raise ArgumentError(f"amount: expected a number above 0, got {amount}")
    layers = [part for part in module.modules() if isinstance(part, nn.RNNBase) and activation_of(part) in RECTIFIED]
    layers = [layer for layer in layers if layer.mode.startswith("RNN")]
    rectifiers = [part for part in module.modules() if isinstance(part, RECTIFIERS)]
    if not layers and not rectifiers:
        raise NotApplicable(
            "sparsity: expected an RNN of rectified units, or rectifiers as modules, got neither; other units have no "
            "silence that a penalty could bring them to: apply relu first"
        )
    hooks = [(layer, _penalised_layer) for layer in layers] + [(part, _penalised) for part in rectifiers]
    for part, hook in hooks:
        if "sparsity" not in applied(part):
            remember_hooks(part, "sparsity", part.register_forward_hook(_Penalty(amount, hook)))
    return module


class _Penalty:
    """A forward hook, in training."""

    def __init__(self, amount: float, add: Any):
        self._amount, self._add = amount, add

    def __call__(self, module: nn.Module, _: Any, output: Any) -> Any:
        """As torch calls it."""
        return self._add(self._amount, output) if module.training and torch.is_grad_enabled() else None


def _penalised(amount: float, output: Tensor) -> None:
    """What the loss sends back gains that of the penalty; nothing comes back to what the loss does not use."""
    if output.requires_grad:
        states = output.detach()
        output.register_hook(lambda gradient: gradient + slope_of_l1(states, amount).to(gradient.dtype))


def _penalised_layer(amount: float, output: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
    """Of a recurrent layer, whose last state alone may be used: its outputs are to be sparse at all steps."""
    packed, h_n = output
    states = packed.data if isinstance(packed, PackedSequence) else packed
    if not states.requires_grad:
        return output
    states, h_n = _Joined.apply(states, h_n, amount)
    return (packed._replace(data=states) if isinstance(packed, PackedSequence) else states), h_n


class _Joined(torch.autograd.Function):
    """Outputs and last state as they are; where the loss uses either, the penalty's gradient reaches the outputs."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, h_n: Tensor, amount: float) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(states)
        ctx.amount = amount
        return states.clone(), h_n.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (states,) = ctx.saved_tensors
        return gradients[0] + slope_of_l1(states, ctx.amount).to(gradients[0].dtype), gradients[1], None


def slope_of_l1(states: Tensor, amount: float) -> Tensor:
    """Of amount · mean |h|: 0 where h = 0."""
    return amount / states.numel() * states.sign()


REMEDY = Remedy(
    "sparsity",
    sparsity,
    "module",
    preserves=True,
    answers=(),
    cost="one sign for each state",
    source="Glorot, Bordes & Bengio 2011, AISTATS 15:315-323",
)
