"""Exponential linear units (Clevert, Unterthiner & Hochreiter 2016, arXiv 1511.07289)."""

from typing import TypeVar

from torch import nn

from longreach.remedies.activation import put_activation
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def elu(module: M) -> M:
    """f(x) = x for x > 0, else exp(x) - 1,
    in the place of other activations, in recurrent layers without gates and between plain layers.

    Promises   f' = 1 above 0, and exp(x) below: outputs have a mean near 0, and no unit dies at once
    Changes    the function; no weight
    Twice      is the same as once
    Undo       the activations from before it
    Price      an exponential a unit
    Leaves     the last activation, after which no weights follow: it makes what the loss sees
    Is not     bounded above: a recurrent layer of it can blow up, so clip as well
    Raises     NotApplicable where there is no activation to change; those that are called as functions are not seen
    """
    return put_activation(module, "elu")


REMEDY = Remedy(
    "elu",
    elu,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "vanishing-in-depth", "saturated-units", "dead-units"),
    cost="an exponential a unit",
    source="Clevert, Unterthiner & Hochreiter 2016, arXiv 1511.07289",
)
