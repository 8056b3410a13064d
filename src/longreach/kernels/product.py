"""Products of matrices on the CPU, by the faster of the two libraries that torch brings.

torch.mm calls MKL, which keeps its best code for Intel's processors: on others oneDNN, which torch's own nn.LSTM calls,
is twice as fast (docs/layers.md).
"""

import functools
import platform
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

PIECE = 512  # numbers that oneDNN adds up one after the other; MKL's sums are of about as many, and as exact
NARROW = 64  # below, in any direction, there is nothing to be gained


def product(
    a: Shaped[Tensor, "row inner"], b: Shaped[Tensor, "inner column"], bias: Shaped[Tensor, " column"] | None = None
) -> Shaped[Tensor, "row column"]:
    """a b + bias, in memory of its own.

    Exact  as torch.mm: sums are taken in pieces
    """
    if min(*a.shape, b.shape[1]) < NARROW or a.dtype != torch.float32 or a.device.type != "cpu" or not mkl_is_slow():
        return torch.mm(a, b) if bias is None else torch.addmm(bias, a, b)
    a, inner, total = _dense(a), a.shape[1], None
    for begin, end in pairwise([*range(0, max(1, inner // PIECE) * PIECE, PIECE), inner]):
        rows, columns = a[:, begin:end], _dense(b[begin:end].t())
        if total is None:
            total = torch.ops.mkldnn._linear_pointwise(rows, columns, bias, "none", [], "")
        else:
            total = torch.ops.mkldnn._linear_pointwise.binary(rows, total, columns, None, "add")
    assert total is not None
    return total


def _dense(part: Tensor) -> Tensor:
    """Without gaps between its rows, or its columns: over some gaps oneDNN goes a hundred times as slowly."""
    return part if part.is_contiguous() or part.t().is_contiguous() else part.contiguous()


@functools.cache
def mkl_is_slow() -> bool:
    """Whether torch.mm is MKL's, on a processor that is not Intel's, and oneDNN is there."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not has_both or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    told = Path("/proc/cpuinfo")
    maker = told.read_text(errors="replace") if told.is_file() else platform.processor()
    return "AuthenticAMD" in maker
