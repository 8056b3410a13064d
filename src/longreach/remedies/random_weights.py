"""A change of the weights that means nothing: the second control beside remedies that change the weights."""

from typing import TypeVar

import torch
from torch import nn

from longreach.errors import NotApplicable
from longreach.remedies.apart import apart
from longreach.remedies.remedy import Remedy, applied, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def random_weights(module: M, *, draw: int = 0) -> M:
    """Shuffle the entries of every weight matrix: the same numbers, each at another place.

    Promises   mean, spread and every other moment of a matrix's entries as before; biases and vectors untouched
    Changes    the function; a start that was drawn at random is as good as before, one that was chosen is lost
    Twice      is the same as once, whatever the draw
    Undo       the weights from before it
    Price      none
    Is not     a remedy: what helps no more than this does not help
    Raises     NotApplicable where there is no weight matrix
    """
    matrices = [own for own in module.parameters() if own.dim() >= 2]
    if not matrices:
        raise NotApplicable(
            f"random-weights: expected a module with a weight matrix, got {type(module).__name__}, which has none; "
            "take random-steps"
        )
    if "random-weights" in applied(module):
        return module
    remember_weights(module, "random-weights")
    with torch.no_grad(), apart(f"random-weights {draw}"):
        for matrix in matrices:
            matrix.copy_(matrix.flatten()[torch.randperm(matrix.numel()).to(matrix.device)].view_as(matrix))
    return module


REMEDY = Remedy(
    "random-weights",
    random_weights,
    "module",
    preserves=False,
    answers=(),
    cost="nothing",
    source="a control, not from a paper",
)
