"""Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167; in recurrent layers Cooijmans et al. 2016, arXiv
1603.09025)."""

from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn import functional

from longreach.errors import ArgumentError
from longreach.nn import cells
from longreach.remedies.blocks import Plain
from longreach.remedies.norms import put_norms
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def batch_norm(module: M, *, max_length: int = 200) -> M:
    """Before every activation, give each unit the mean 0 and the variance 1 over the batch, then a gain and a bias.

    In recurrent layers, apart for each step, as longreach.nn.cells.BatchNorm does it (the gain starts at 0.1); behind
    each linear map and convolution that has an activation module behind it and no norm yet.

    max_length  steps of a sequence that have statistics of their own; later ones have those of the last

    Promises   no unit is dead or saturated in all rows at the start, however deep the net, whatever its weights; in a
               wide plain net a layer scales a gradient by √(E f'² / Var f) over a standard normal: 1.02 for sigmoid,
               1.09 for tanh, 1.21 for relu
    Changes    the function; in evaluation it uses averages from training. Weights are kept. New parameters are
               batch_norm.weight and .bias under the linear map's own name, so make the optimizer after it
    Twice      is the same as once
    Undo       the norms leave; a recurrent layer is back as it was before, with the weights from before
    Price      a pass over the sums; recurrent layers lose their fused form and run as a loop, many times as slow
    Is not     for batches of a few rows, whose means are noise; one row alone takes the averages. Plain layers of an
               unrolled net see all its steps as one
    Raises     NotApplicable where there is nothing to normalise: activations called as functions are not seen
    """
    if max_length < 1:
        raise ArgumentError(f"max_length: expected a number of steps, 1 or more, got {max_length}")
    put_norms(module, "batch-norm", cells.BatchNorm, _norm_for, lambda cell: cell.bias, max_length=max_length)
    return module


class RowNorm(nn.BatchNorm1d):
    """Of units that are the last dimension, over all others; one row alone is normalised as in evaluation."""

    def forward(self, input: Tensor) -> Tensor:
        """The rows, normalised."""
        rows = input.reshape(-1, input.shape[-1])
        if self.training and len(rows) > 1:
            return super().forward(rows).reshape(input.shape)
        averages = self.running_mean, self.running_var
        return functional.batch_norm(rows, *averages, self.weight, self.bias, eps=self.eps).reshape(input.shape)


def _norm_for(layer: Plain) -> nn.Module:
    place: Any = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        return RowNorm(layer.out_features, **place)
    kind = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[layer.weight.dim()]
    return kind(layer.out_channels, **place)


REMEDY = Remedy(
    "batch-norm",
    batch_norm,
    "module",
    preserves=False,
    answers=("vanishing-in-depth", "exploding-in-depth", "saturated-units", "dead-units", "badly-scaled-input"),
    cost="a pass over the sums; a recurrent layer runs as a loop, many times as slow",
    source="Ioffe & Szegedy 2015, arXiv 1502.03167; Cooijmans et al. 2016, arXiv 1603.09025",
)
