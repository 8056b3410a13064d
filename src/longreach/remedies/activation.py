"""Another activation where there is one: what relu, leaky-relu, prelu, elu and selu have in common."""

from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, prelu

from longreach import kernels
from longreach.errors import NotApplicable
from longreach.nn import cells
from longreach.nn.cells.elman import PRELU_START
from longreach.remedies.anatomy import Layer, activation_of, become_ours, has_weights, kind_of
from longreach.remedies.remedy import remember_structure, turn_into

M = TypeVar("M", bound=nn.Module)

# What stands between plain layers, by the name it has in longreach.kernels.ACTIVATIONS.
MODULES: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
}
OTHERS = (nn.CELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LogSigmoid, nn.Mish, nn.ReLU6, nn.SiLU)
KINDS = (*MODULES.values(), *OTHERS, nn.Softplus, nn.Softsign, nn.Tanhshrink)
TORCHS = ("tanh", "relu")  # what torch's own layers can be told


def put_activation(module: M, activation: str) -> M:
    """Make `activation` that of all recurrent layers without gates and of all activation modules within a module.

    The last activation, after which the module holds no more weights, is left alone: it makes what the loss sees.
    "After" is in the order in which the parts were given to the model.
    Raises  NotApplicable where there is nothing to change: activations called as functions are not seen
    """
    verb = activation.replace("_", "-")
    layers = [part for part in module.modules() if isinstance(part, Layer) and kind_of(part) == "rnn"]
    between = activations_between(module)
    if not layers and not between:
        raise NotApplicable(
            f"{verb}: expected an RNN, or activation modules with weights after them, as nn.Tanh between two "
            f"nn.Linear, got {type(module).__name__}, which has none; activations that a forward calls as "
            "functions are not seen"
        )
    for layer in layers:
        if activation_of(layer) != activation:
            _put_in_layer(layer, activation, verb)
    like = next(module.parameters())
    for part in between:
        if type(part) is not MODULES[activation]:
            remember_structure(part, verb)
            new = MODULES[activation]().to(like)
            turn_into(part, type(new), vars(new))
    return module


def activations_between(module: nn.Module) -> list[nn.Module]:
    """Activation modules after which a part with weights is registered, in that order; each once."""
    # a part that stands at several places counts at the last of them
    order = {part: None for _, part in reversed(list(module.named_modules(remove_duplicate=False)))}
    parts = list(order)[::-1]
    last = max((number for number, part in enumerate(parts) if has_weights(part)), default=0)
    return [part for part in parts[:last] if type(part) in KINDS]


class ActivatedCell(nn.RNNCell):
    """torch's RNNCell with any of longreach.kernels.ACTIVATIONS."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The state after one step, [B, H] or [H]."""
        if hx is None:
            hx = input.new_zeros(*input.shape[:-1], self.hidden_size)
        weights = cast(Any, self)
        sums = linear(input, weights.weight_ih, weights.bias_ih) + linear(hx, weights.weight_hh, weights.bias_hh)
        return (
            prelu(sums, weights.slope) if "slope" in self._parameters else kernels.ACTIVATIONS[self.nonlinearity](sums)
        )


def _put_in_layer(layer: Any, activation: str, verb: str) -> None:
    is_step = isinstance(layer, nn.RNNCell)
    if is_step and activation not in TORCHS and type(layer) not in (nn.RNNCell, ActivatedCell):
        raise NotApplicable(
            f"{verb}: expected torch's own RNNCell, got {type(layer).__name__}; torch has tanh and relu for it, "
            "and a class of the user's, or one whose weights are computed, cannot be made another"
        )
    if activation in TORCHS:
        remember_structure(layer, verb)
    else:
        become_ours(layer, verb)
        layer.__class__ = ActivatedCell if is_step else type(layer)
    _set(layer, activation)
    for name in [name for name in layer._parameters if name.startswith("slope")]:
        layer._parameters.pop(name)
    if isinstance(layer, cells.Elman):
        layer.slope = None
    for name, slope in _new_slopes(layer).items() if activation == "prelu" else ():
        setattr(layer, name, slope)


def _set(layer: Any, activation: str) -> None:
    if isinstance(layer, cells.Elman):
        layer.activation = activation
    else:
        layer.nonlinearity = activation
    if isinstance(layer, nn.RNNBase):
        layer.mode = f"RNN_{activation.upper()}"


def _new_slopes(layer: Any) -> dict[str, nn.Parameter]:
    names = ["slope"]
    if isinstance(layer, nn.RNNBase):
        names = [of_place[0].replace("weight_ih", "slope") for of_place in layer._all_weights]
    like = next(layer.parameters())
    start = torch.full_like(like.detach().flatten()[:1], PRELU_START)
    return {name: nn.Parameter(start.clone(), requires_grad=like.requires_grad) for name in names}
