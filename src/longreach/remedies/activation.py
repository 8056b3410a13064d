"""Another activation where there is one: what relu, leaky-relu, prelu, elu and selu have in common."""

from typing import Any, TypeVar, cast

from torch import nn

from longreach.errors import NotApplicable
from longreach.nn.layers import RNN
from longreach.remedies.anatomy import activation_of, kind_of
from longreach.remedies.remedy import remember

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


def put_activation(module: M, activation: str) -> M:
    """Make `activation` that of all recurrent layers without gates and of all activation modules within a module.

    Raises  NotApplicable where there is nothing to change: activations called as functions are not seen
    """
    raise NotImplementedError
