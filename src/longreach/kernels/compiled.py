"""The scans on the CPU: a product over all steps, the compiled scan, and after its backward pass products again.

The compiled scan does what depends on the state. What the input adds is one product before it; the gradients of input
and weights are products of da = dL/d(pre-activation), which the backward scan gives for every row.

Each `*_forward` gives what the scan gives and then what its `*_backward` wants. Each `*_backward` gives the gradient of
every tensor in the order of its arguments, None where `wanted` is false, and the norms.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from longreach.kernels import native
from longreach.kernels.native import Steps
from longreach.kernels.product import product

Gradients = tuple[Tensor | None, ...]

FULL = 8  # sequences for each thread that fill the tiles of a product
MANY = 1024  # rows of a product that pay for turning its result round


def in_memory(batch_sizes: Tensor | None, reverse: bool, resets: Tensor | None, keeps: bool = True) -> Steps:
    """The steps, by tensors that lie in memory as the compiled scans read them."""
    return Steps(_dense(batch_sizes), reverse, _dense(resets), keeps)


def elman_forward(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor,
    slope: Tensor | None,
    steps: Steps,
    activation: str,
    decay: float,
    rate: float,
) -> tuple[Tensor, ...]:
    """h, h_n; saved."""
    a = _project(x, weight_ih, _sum(bias_ih, bias_hh))
    return native.elman_forward(
        a, weight_hh.contiguous(), h0.contiguous(), _slopes(slope, h0), activation, decay, rate, steps
    )


def elman_backward(
    errors: Sequence[Tensor | None],
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor,
    slope: Tensor | None,
    steps: Steps,
    activation: str,
    decay: float,
    rate: float,
    cut: int,
    clip: float,
    h: Tensor,
    saved: Tensor,
    wanted: Sequence[bool],
) -> Gradients:
    """Gradients of the seven tensors; norms."""
    dh, dh_n = map(_dense, errors)
    weight, start = weight_hh.contiguous(), h0.contiguous()
    da, dslopes, dh0, norms = native.elman_backward(
        dh, dh_n, saved, h, weight, start, _slopes(slope, h0), activation, decay, rate, steps, cut, clip
    )
    dx, dw_ih = _of_input(da, x, weight_ih, wanted)
    dw_hh = _of_recurrence(da, h, h0, steps) if wanted[2] else None
    db_ih, db_hh = _of_biases(da, wanted[3:5])
    dslope = None
    if slope is not None and dslopes is not None and wanted[6]:
        dslope = dslopes.sum(0).view_as(slope) if slope.numel() > 1 else dslopes.sum().view_as(slope)
    return dx, dw_ih, dw_hh, db_ih, db_hh, dh0, dslope, norms


def gru_forward(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor,
    steps: Steps,
) -> tuple[Tensor, ...]:
    """h, h_n; gates r, z, n and the recurrent part of n."""
    bias, bias_n = bias_ih, None
    if bias_hh is not None:
        r_and_z = 2 * h0.shape[1]
        bias_n = bias_hh[r_and_z:].contiguous()  # acts inside the scan: r multiplies it
        bias = torch.zeros_like(bias_hh) if bias_ih is None else bias_ih.clone()
        bias[:r_and_z] += bias_hh[:r_and_z]
    return native.gru_forward(_project(x, weight_ih, bias), weight_hh.contiguous(), bias_n, h0.contiguous(), steps)


def gru_backward(
    errors: Sequence[Tensor | None],
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor,
    steps: Steps,
    cut: int,
    clip: float,
    h: Tensor,
    gates: Tensor,
    recurrent: Tensor,
    wanted: Sequence[bool],
) -> Gradients:
    """Gradients of the six tensors; norms."""
    dh, dh_n = map(_dense, errors)
    weight, start = weight_hh.contiguous(), h0.contiguous()
    da, dm, dh0, norms = native.gru_backward(dh, dh_n, gates, recurrent, h, weight, start, steps, cut, clip)
    r_and_z = 2 * h0.shape[1]
    dx, dw_ih = _of_input(da, x, weight_ih, wanted)
    dw_hh = db_ih = db_hh = None
    if wanted[2]:
        dw_hh = torch.cat((_of_recurrence(da[:, :r_and_z], h, h0, steps), _of_recurrence(dm, h, h0, steps)))
    if any(wanted[3:5]):
        db_ih = da.sum(0)
        db_hh = torch.cat((db_ih[:r_and_z], dm.sum(0))) if wanted[4] else None
    return dx, dw_ih, dw_hh, db_ih, db_hh, dh0, norms


def lstm_forward(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    peephole: Tensor | None,
    steps: Steps,
) -> tuple[Tensor, ...]:
    """h, h_n, c_n; c and the gates i, f, g, o."""
    bias = _sum(bias_ih, bias_hh)
    given = (
        native.Input(x.contiguous(), weight_ih.contiguous(), _or_zeros(bias, weight_hh))
        if (weight_ih is not None and _is_for_the_scan(x, h0))
        else _project(x, weight_ih, bias)
    )
    h, h_n, c, c_n, gates = native.lstm_forward(
        given, weight_hh.contiguous(), _dense(peephole), h0.contiguous(), c0.contiguous(), steps
    )
    return h, h_n, c_n, c, gates


def lstm_backward(
    errors: Sequence[Tensor | None],
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    peephole: Tensor | None,
    steps: Steps,
    cut: int,
    clip: float,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    wanted: Sequence[bool],
) -> Gradients:
    """Gradients of the eight tensors; norms."""
    dh, dh_n, dc_n = map(_dense, errors)
    da, dh0, dc0, norms = native.lstm_backward(
        dh, dh_n, dc_n, gates, c, weight_hh.contiguous(), _dense(peephole), c0.contiguous(), steps, cut, clip
    )
    dx, dw_ih = _of_input(da, x, weight_ih, wanted)
    dw_hh = _of_recurrence(da, h, h0, steps) if wanted[2] else None
    db_ih, db_hh = _of_biases(da, wanted[3:5])
    dpeephole = _of_peephole(da, c, c0, steps) if peephole is not None and wanted[7] else None
    return dx, dw_ih, dw_hh, db_ih, db_hh, dh0, dc0, dpeephole, norms


def cornn_forward(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    y0: Tensor,
    z0: Tensor,
    steps: Steps,
    dt: float,
    gamma: float,
    epsilon: float,
) -> tuple[Tensor, ...]:
    """y, y_n, z_n; z and the forces."""
    a = _project(x, weight_ih, bias)
    y, y_n, z, z_n, force = native.cornn_forward(
        a, weight_hh.contiguous(), y0.contiguous(), z0.contiguous(), dt, gamma, epsilon, steps
    )
    return y, y_n, z_n, z, force


def cornn_backward(
    errors: Sequence[Tensor | None],
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    y0: Tensor,
    z0: Tensor,
    steps: Steps,
    dt: float,
    gamma: float,
    epsilon: float,
    cut: int,
    clip: float,
    y: Tensor,
    z: Tensor,
    force: Tensor,
    wanted: Sequence[bool],
) -> Gradients:
    """Gradients of the six tensors; norms."""
    dy, dy_n, dz_n = map(_dense, errors)
    da, dy0, dz0, norms = native.cornn_backward(
        dy, dy_n, dz_n, force, weight_hh.contiguous(), y0.contiguous(), dt, gamma, epsilon, steps, cut, clip
    )
    dx, dw_ih = _of_input(da, x, weight_ih, wanted)
    dw_hh = None
    if wanted[2]:
        dw_hh = torch.cat((_of_recurrence(da, y, y0, steps), _of_recurrence(da, z, z0, steps)), 1)
    return dx, dw_ih, dw_hh, da.sum(0) if wanted[3] else None, dy0, dz0, norms


def lem_forward(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_y: Tensor,
    weight_z: Tensor,
    bias: Tensor | None,
    y0: Tensor,
    z0: Tensor,
    steps: Steps,
    dt: float,
) -> tuple[Tensor, ...]:
    """y, y_n, z_n; z and what has been made of the pre-activations."""
    a = _project(x, weight_ih, bias)
    y, y_n, z, z_n, gates = native.lem_forward(
        a, weight_y.contiguous(), weight_z.contiguous(), y0.contiguous(), z0.contiguous(), dt, steps
    )
    return y, y_n, z_n, z, gates


def lem_backward(
    errors: Sequence[Tensor | None],
    x: Tensor,
    weight_ih: Tensor | None,
    weight_y: Tensor,
    weight_z: Tensor,
    bias: Tensor | None,
    y0: Tensor,
    z0: Tensor,
    steps: Steps,
    dt: float,
    cut: int,
    clip: float,
    y: Tensor,
    z: Tensor,
    gates: Tensor,
    wanted: Sequence[bool],
) -> Gradients:
    """Gradients of the seven tensors; norms."""
    dy, dy_n, dz_n = map(_dense, errors)
    weights, start = (weight_y.contiguous(), weight_z.contiguous()), (y0.contiguous(), z0.contiguous())
    da, dy0, dz0, norms = native.lem_backward(dy, dy_n, dz_n, gates, y, z, *weights, *start, dt, steps, cut, clip)
    dx, dw_ih = _of_input(da, x, weight_ih, wanted)
    before, now = da.split((3 * y0.shape[1], y0.shape[1]), 1)
    dw_y = _of_recurrence(before, y, y0, steps) if wanted[2] else None
    dw_z = _product_over_rows(now, z) if wanted[3] else None
    return dx, dw_ih, dw_y, dw_z, da.sum(0) if wanted[4] else None, dy0, dz0, norms


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _slopes(slope: Tensor | None, h0: Tensor) -> Tensor | None:
    """One for each unit."""
    return None if slope is None else slope.expand(h0.shape[1]).contiguous()


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _or_zeros(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias


def _is_for_the_scan(x: Tensor, h0: Tensor) -> bool:
    """Whether W x is better made step by step: not written and read again, where tiles have rows to fill them."""
    return h0.shape[0] >= FULL * torch.get_num_threads() and x.shape[1] <= h0.shape[1]


def _project(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """W x + b for every row, in memory of its own: the scan writes over it."""
    if weight is None:
        return x.clone(memory_format=torch.contiguous_format) if bias is None else (x + bias).contiguous()
    return product(x, weight.t(), bias)


def _of_input(da: Tensor, x: Tensor, weight: Tensor | None, wanted: Sequence[bool]) -> Gradients:
    """Gradients of x and weight_ih."""
    if weight is None:
        return da if wanted[0] else None, None
    return product(da, weight) if wanted[0] else None, _product_over_rows(da, x) if wanted[1] else None


def _of_biases(da: Tensor, wanted: Sequence[bool]) -> Gradients:
    """Gradients of bias_ih and bias_hh where both are terms of one sum: equal, each in memory of its own."""
    if not any(wanted):
        return None, None
    total = da.sum(0)
    return total if wanted[0] else None, total.clone() if all(wanted) else total if wanted[1] else None


def _of_recurrence(da: Tensor, h: Tensor, h0: Tensor, steps: Steps) -> Tensor:
    """Σₜ daₜ hₜ₋₁ᵀ, the gradient of weight_hh."""
    batch = h0.shape[0]
    if h.shape[0] == 0:
        return da.new_zeros((da.shape[1], h0.shape[1]))
    if steps.batch_sizes is not None or steps.resets is not None:
        return _product_over_rows(da, _before(h, h0, steps))
    if steps.reverse:  # the states before lie one step away in h: no copy of them is needed
        return _product_over_rows(da[:-batch], h[batch:]).addmm_(da[-batch:].t(), h0)
    return _product_over_rows(da[batch:], h[:-batch]).addmm_(da[:batch].t(), h0)


def _of_peephole(da: Tensor, c: Tensor, c0: Tensor, steps: Steps) -> Tensor:
    """Σₜ daₜ cₜ₋₁ of the gates i and f, Σₜ daₜ cₜ of o."""
    i, f, _, o = da.chunk(4, 1)
    before = _before(c, c0, steps)
    return torch.cat([(i * before).sum(0), (f * before).sum(0), (o * c).sum(0)])


def _product_over_rows(da: Tensor, values: Tensor) -> Tensor:
    """daᵀ · values; of many rows as its transpose: where da is wide, that is the faster product."""
    if da.shape[0] < MANY:
        return product(da.t(), values)
    return product(values.t(), da).t().contiguous()


def _before(h: Tensor, h0: Tensor, steps: Steps) -> Tensor:
    """The state from which each row's step started."""
    sizes, rows, batch = steps.batch_sizes, len(h), len(h0)
    if rows == 0:
        return h
    if sizes is None:
        before = torch.cat((h[batch:], h0)) if steps.reverse else torch.cat((h0, h[:-batch]))
    elif steps.reverse:
        row, first = torch.arange(rows), (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        following = torch.cat((sizes[1:], sizes.new_zeros(1))).repeat_interleave(sizes)
        starts = row - first >= following  # a sequence's last step: its row of h0 lies behind all of h
        source = torch.where(starts, rows + row - first, row + sizes.repeat_interleave(sizes))
        before = torch.cat((h, h0)).index_select(0, source)
    else:
        preceding = torch.cat((sizes[:1], sizes[:-1])).repeat_interleave(sizes)
        before = torch.cat((h0, h)).index_select(0, torch.arange(rows) + batch - preceding)
    return before if steps.resets is None else before.masked_fill_(steps.resets[:, None], 0.0)
