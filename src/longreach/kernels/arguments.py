"""What a scan can be given: shapes, types and devices that fit each other, asked before any work is done."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from longreach.errors import ArgumentError
from longreach.kernels.reference import ACTIVATIONS

FLOATS = (torch.float32, torch.float64)


def check(
    gates: int,
    x: Tensor,
    weight_ih: Tensor | None,
    weights: Mapping[str, tuple[Tensor | None, tuple[int, ...]]],
    states: Mapping[str, Tensor],
    batch_sizes: Tensor | None,
    resets: Tensor | None,
    cut: int,
    clip: float,
    probe: Tensor | None,
) -> None:
    """ArgumentError unless these are one problem, the rest as the scans take it.

    gates    what the input adds to, in multiples of H
    weights  all others with their shapes in multiples of H: first the matrix that is on the state
    states   h0, or h0 and c0

    Whether the numbers in `batch_sizes` fit is asked by check_batch_sizes, where they are known.
    """
    if x.dtype not in FLOATS:
        raise ArgumentError(f"x: expected a floating-point type, got {x.dtype}; convert it with x.float()")
    name, (matrix, shape) = next(iter(weights.items()))
    assert matrix is not None
    if x.dim() != 2 or matrix.dim() != 2:
        raise ArgumentError(
            f"x and {name}: expected rows [N, I] and [G, H], got {_shape(x)} and {_shape(matrix)}; "
            "time-major steps and sequences are joined with x.flatten(0, 1)"
        )
    (rows, inputs), hidden = x.shape, matrix.shape[1] // shape[1]
    width = gates * hidden
    for name, (weight, shape) in weights.items():
        _fits(x, name, weight, tuple(multiple * hidden for multiple in shape))
    _fits(x, "weight_ih", weight_ih, (width, inputs))
    first = next(iter(states.values()))
    batch = first.shape[0] if first.dim() else 0
    for name, state in states.items():
        _fits(x, name, state, (batch, hidden))
    if weight_ih is None and inputs != width:
        raise ArgumentError(
            f"x: expected [N, {width}], what {gates} x {hidden} gates get from the input, as there is no weight_ih; "
            f"got {_shape(x)}; give weight_ih or project x first"
        )
    if batch_sizes is None:
        if rows % batch if batch else rows:
            raise ArgumentError(
                f"x: expected a multiple of {batch} rows, one for each sequence of h0 at each step, got {rows}; "
                "for sequences of different length give batch_sizes"
            )
    elif batch_sizes.dtype != torch.int64 or batch_sizes.dim() != 1 or batch_sizes.device.type != "cpu":
        raise ArgumentError(
            f"batch_sizes: expected int64 [T] on the CPU, as PackedSequence has it, got {batch_sizes.dtype} "
            f"{_shape(batch_sizes)} on {batch_sizes.device}"
        )
    if resets is not None and (resets.dtype != torch.bool or resets.shape != (rows,) or resets.device != x.device):
        raise ArgumentError(
            f"resets: expected bool [{rows}] on {x.device}, one for each row of x, got {resets.dtype} {_shape(resets)} "
            f"on {resets.device}"
        )
    _fits(x, "probe", probe, (len(states), rows))
    if cut < 0:
        raise ArgumentError(f"cut: expected a number of steps, or 0 for never, got {cut}")
    if not clip > 0:
        raise ArgumentError(f"clip: expected a norm above 0, or inf for never, got {clip}")


def check_activation(activation: str, slope: Tensor | None, x: Tensor, weight_hh: Tensor) -> None:
    """ArgumentError unless the activation is known and has a slope just if it needs one."""
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if (activation == "prelu") != (slope is not None):
        raise ArgumentError(
            f"slope: expected with prelu, and with prelu alone, got activation={activation!r} and "
            f"{'no slope' if slope is None else 'a slope'}"
        )
    if slope is not None:
        _fits(x, "slope", slope, (1,) if slope.numel() == 1 else (weight_hh.shape[1],))


def check_batch_sizes(batch_sizes: Tensor, rows: int, batch: int) -> None:
    """ArgumentError unless the sequences that run at each step fall from `batch` to 1 or more and fill the rows."""
    sizes = batch_sizes.numpy()
    if len(sizes) == 0:
        fits = rows == 0
    else:
        fits = sizes[0] == batch and sizes[-1] >= 1 and sizes.sum() == rows and not (sizes[1:] > sizes[:-1]).any()
    if not fits:
        raise ArgumentError(
            f"batch_sizes: expected to begin with {batch}, the sequences of h0, never to rise, to stay above 0, and to "
            f"add up to {rows}, the rows of x; got {_listed(batch_sizes.tolist())}; take a PackedSequence's own"
        )


def _fits(x: Tensor, name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    if tensor is None:
        return
    if tensor.shape != shape:
        raise ArgumentError(f"{name}: expected {list(shape)} to go with x {_shape(x)}, got {_shape(tensor)}")
    if tensor.dtype != x.dtype or tensor.device != x.device:
        raise ArgumentError(
            f"{name}: expected {x.dtype} on {x.device}, as x is, got {tensor.dtype} on {tensor.device}; "
            "move or convert one of the two"
        )


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)


def _listed(sizes: Sequence[int]) -> str:
    return f"{list(sizes)}" if len(sizes) <= 8 else f"{list(sizes[:3])} ... {sizes[-1]}, {len(sizes)} steps"
