"""Rectifiers in the place of other activations (Glorot, Bordes & Bengio 2011, AISTATS)."""

from typing import TypeVar

from torch import nn

from longreach.remedies.activation import put_activation
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def relu(module: M) -> M:
    """f(x) = max(x, 0) in the place of tanh and sigmoid, in recurrent layers without gates and between plain layers.

    Promises   f' = 1 wherever a unit is on: no saturation, no factor below 1 on the way back
    Changes    the function; no weight
    Twice      is the same as once
    Undo       the activations from before it
    Price      none
    Is not     bounded: a recurrent layer of rectifiers can blow up, so clip as well; units may die (LR301)
    Leaves     the last activation, after which no weights follow: it makes what the loss sees
    Raises     NotApplicable where there is no activation to change; those that are called as functions are not seen
    """
    return put_activation(module, "relu")


REMEDY = Remedy(
    "relu",
    relu,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "vanishing-in-depth", "saturated-units"),
    cost="nothing",
    source="Glorot, Bordes & Bengio 2011, AISTATS 15:315-323",
)
