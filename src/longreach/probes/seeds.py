"""Random gradients to send back through a live graph, and the size of what arrives."""

import math

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

# Numbers drawn for one seed; of a larger result, some of its rows get a gradient.
MOST_DRAWN = 2**20


def seed(edge: GradientEdge, generator: torch.Generator) -> Tensor:
    """Normally distributed numbers of the shape of a node's result, about one in size.

    Of a large result (words by vocabulary) only some rows, evenly spaced; the others 0.
    """
    made = edge.node._input_metadata[edge.output_nr]
    whole = torch.zeros(tuple(made.shape), dtype=made.dtype, device=made.device)
    if not whole.numel():
        return whole
    rows = whole.view(-1, made.shape[-1]) if len(made.shape) else whole.view(1, 1)
    count = min(len(rows), max(1, MOST_DRAWN // rows.shape[1]))
    chosen = torch.arange(count) * len(rows) // count
    drawn_in = torch.complex128 if made.dtype.is_complex else torch.float64
    drawn = torch.randn(count, rows.shape[1], generator=generator, dtype=drawn_in)
    rows[chosen.to(rows.device)] = drawn.to(made.dtype).to(rows.device)
    return whole


def log_norm(tensor: Tensor) -> float:
    """ln ‖tensor‖; -inf for zeros, NaN where a number is not finite."""
    return _sized(tensor)[1]


def renewed(tensor: Tensor) -> Tensor:
    """A finite tensor, not all zeros, scaled to 1 in the root mean square.

    Numbers that are of length 1 all together would be too small for half precision.
    """
    largest, log = _sized(tensor)
    return tensor / largest * (largest * math.sqrt(tensor.numel()) / math.exp(log))


def _sized(tensor: Tensor) -> tuple[float, float]:
    """The largest entry and the logarithm of the norm: squares of the numbers as they are could leave the range."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    largest = float(tensor.abs().amax()) if tensor.numel() else 0.0
    if not math.isfinite(largest):
        return largest, math.nan
    return largest, math.log(largest) + math.log(float((tensor / largest).norm())) if largest > 0 else -math.inf
