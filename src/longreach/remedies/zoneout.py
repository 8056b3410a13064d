"""Zoneout (Krueger et al. 2017, arXiv 1606.01305)."""

from typing import TypeVar

from torch import nn

from longreach.errors import ArgumentError
from longreach.nn import cells
from longreach.remedies.apart import generator_apart
from longreach.remedies.kept import wrap_all
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def zoneout(module: M, *, rate: float = 0.1) -> M:
    """At every step, let each unit of every recurrent layer keep its old value with this probability.

    rate       of h, and of c in an LSTM; the paper has 0.05 and 0.5 for characters, 0.15 for permuted MNIST
    Promises   ∂hₜ/∂hₜ₋₁ = diag(d) + diag(1 - d)·J, d drawn at every step: a share of `rate` passes each step untouched
    Changes    the function, in evaluation too, where d is its mean; weights are kept, under the names of
               longreach.nn.cells, so make the optimizer after it
    Twice      is the same as once, with the first rate
    Undo       the layer from before it, with the weights that it had then
    Price      one random number for each number of the state, and a Python loop: on one core, for 32 sequences and 64
               units, 1.5 to 2 times as slow as torch's RNN or GRU, 4 to 6 times as slow as its LSTM
    Is not     dropout: nothing is set to zero
    Raises     NotApplicable where there is no recurrent layer; ArgumentError unless 0 <= rate <= 1
    """
    if not 0 <= rate <= 1:
        raise ArgumentError(f"rate: expected a share between 0 and 1, got {rate}")
    wrap_all(module, cells.Zoneout, "zoneout", rate=rate, generator=generator_apart("zoneout"))
    return module


REMEDY = Remedy(
    "zoneout",
    zoneout,
    "module",
    preserves=False,
    answers=("vanishing-in-time",),
    cost="a Python loop over the steps: 1.5 to 2 times as slow as torch's RNN or GRU, 4 to 6 times as its LSTM",
    source="Krueger et al. 2017, arXiv 1606.01305",
)
