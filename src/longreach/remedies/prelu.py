"""Rectifiers that learn their slope below zero (He, Zhang, Ren & Sun 2015, arXiv 1502.01852)."""

from typing import TypeVar

from torch import nn

from longreach.remedies.activation import put_activation
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def prelu(module: M) -> M:
    """f(x) = x for x > 0, else a x, a learned, 0.25 at the start,
    in the place of other activations, in recurrent layers without gates and between plain layers.

    Promises   f' = 1 or a: the net finds itself how much passes a unit that is off
    Changes    the function; adds one parameter a for each layer and direction, and for each activation module, so make
               the optimizer after it; no weight
    Twice      is the same as once
    Undo       the activations from before it
    Price      next to nothing
    Leaves     the last activation, after which no weights follow: it makes what the loss sees
    Is not     bounded: a recurrent layer of it can blow up, so clip as well
    Raises     NotApplicable where there is no activation to change; those that are called as functions are not seen
    """
    return put_activation(module, "prelu")


REMEDY = Remedy(
    "prelu",
    prelu,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "vanishing-in-depth", "saturated-units", "dead-units"),
    cost="next to nothing",
    source="He, Zhang, Ren & Sun 2015, arXiv 1502.01852",
)
