"""Leaky rectifiers in the place of other activations (Maas, Hannun & Ng 2013, ICML workshop on deep learning)."""

from typing import TypeVar

from torch import nn

from longreach.remedies.activation import put_activation
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def leaky_relu(module: M) -> M:
    """f(x) = x for x > 0, else 0.01 x,
    in the place of other activations, in recurrent layers without gates and between plain layers.

    Promises   f' = 1 or 0.01, never 0: a unit that is off still learns
    Changes    the function; no weight
    Twice      is the same as once
    Undo       the activations from before it
    Price      nothing
    Leaves     the last activation, after which no weights follow: it makes what the loss sees
    Is not     bounded: a recurrent layer of it can blow up, so clip as well
    Raises     NotApplicable where there is no activation to change; those that are called as functions are not seen
    """
    return put_activation(module, "leaky_relu")


REMEDY = Remedy(
    "leaky-relu",
    leaky_relu,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "vanishing-in-depth", "saturated-units", "dead-units"),
    cost="nothing",
    source="Maas, Hannun & Ng 2013, ICML workshop on deep learning for audio, speech and language",
)
