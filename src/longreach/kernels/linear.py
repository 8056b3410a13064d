"""The linear recurrence, one number for each unit: not a step after the other, but all of them in about 2 √T sweeps."""

from collections.abc import Sequence
from math import inf, isqrt
from typing import Any, Unpack

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd import forward_ad

from longreach.kernels import border, native
from longreach.kernels.half import widened
from longreach.kernels.walk import Probe, State, Steps, walk

SHORT = 8  # steps: fewer are not worth dividing
WIDE = 16 * 1024  # bytes of one step of all sequences: more of them at once is more than the nearest cache holds


@widened
def linear(
    x: Shaped[Tensor, "N H"],
    a: Shaped[Tensor, "N H"] | Shaped[Tensor, "H"],
    h0: Shaped[Tensor, "B H"],
    **steps: Unpack[Steps],
) -> tuple[Shaped[Tensor, "N H"], Shaped[Tensor, "B H"]]:
    """hₜ = aₜ hₜ₋₁ + xₜ, unit by unit, real or complex;  gives h and h_n.

    a        one for each row, or the same for all
    Keywords as of longreach.kernels.walk.walk
    Cost     steps are divided into √T blocks: one sweep through all blocks side by side, one from block to block, one
             that adds what came from the block before. Packed rows and steps of 16 kB and more go step by step;
             a finite clip and forward mode, by walk
    Exact    nothing is divided, and no logarithm taken: |a| may be 0 or 1. The gradient is such a recurrence again,
             backwards (Martin & Cundy 2018, arXiv 1709.04057), to any order of derivative
    Is not   free of NaN after a reset where the state before it was NaN
    """
    rows = a.expand_as(x)
    if steps.get("clip", inf) != inf or forward_ad._current_level >= 0:
        return _stepwise(x, rows, h0, **steps)
    sizes, reverse = steps.get("batch_sizes"), steps.get("reverse", False)
    resets, probe = steps.get("resets"), steps.get("probe")
    if resets is not None:
        rows = rows.masked_fill(resets[:, None], 0)
    if probe is not None:
        x = border.report(x, probe[0])  # dL/dxₜ is dL/dhₜ
    carried = cut_off(rows, h0, sizes, reverse, steps.get("cut", 0))
    h = LinearScan.apply(x, rows, carried, h0, sizes, reverse)
    return h, last(h, h0, sizes, reverse)


@torch.library.custom_op("longreach::linear_scan", mutates_args=())
def linear_scan(
    x: Tensor, a: Tensor, carried: Tensor | None, h0: Tensor, batch_sizes: Tensor | None, reverse: bool
) -> Tensor:
    """h of hₜ = aₜ hₜ₋₁ + xₜ, all of rows. `carried`, if given, carries a gradient on in the place of a."""
    if x.device.type == "cpu" and native.built():
        steps = native.Steps(batch_sizes, reverse)
        return native.linear(x.contiguous(), in_lines(a), h0.contiguous(), steps)
    h = x.clone(memory_format=torch.contiguous_format)
    batch = len(h0)
    if batch_sizes is not None:
        sizes = batch_sizes.tolist()
        _sweep(h.split(sizes), a.split(sizes), h0, reverse)
    elif len(h) <= SHORT * batch or h0.nbytes >= WIDE:
        _sweep(h.split(max(batch, 1)), a.split(max(batch, 1)), h0, reverse)
    else:
        _sweep_blocks(h.unflatten(0, (-1, batch)), a.unflatten(0, (-1, batch)), h0, reverse)
    return h


@linear_scan.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@linear_scan.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
    tensors = (beside(*pair, info.batch_size) for pair in zip(inputs[:4], in_dims[:4], strict=True))
    h = linear_scan(*tensors, *inputs[4:])
    return h.unflatten(1, (info.batch_size, -1)), 1


class LinearScan(torch.autograd.Function):
    """linear_scan and its gradient, a linear scan again, to any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, a: Tensor, carried: Tensor | None, h0: Tensor, batch_sizes: Tensor | None, reverse: bool
    ) -> Tensor:
        """h."""
        return linear_scan(x, a, carried, h0, batch_sizes, reverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep everything but x."""
        _, a, carried, h0, batch_sizes, reverse = inputs
        ctx.save_for_backward(a, carried, h0, output)
        ctx.layout = batch_sizes, reverse

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dL/dxₜ is dL/dhₜ in full, dL/daₜ = dL/dhₜ hₜ₋₁."""
        (gradient,), (a, carried, h0, h) = gradients, ctx.saved_tensors
        batch_sizes, reverse = ctx.layout
        errors = sent_back(gradient, a if carried is None else carried, h0, batch_sizes, reverse)
        of_a = errors * before(h, h0, batch_sizes, reverse).conj() if ctx.needs_input_grad[1] else None
        return errors, of_a, None, first(errors * a.conj(), h0, batch_sizes, reverse), None, None


def in_lines(a: Tensor) -> Tensor:
    """Rows whose numbers lie side by side: as they are if one row stands for all."""
    return a if a.stride(1) == 1 and a.stride(0) in (0, a.shape[1]) else a.contiguous()


def beside(tensor: Tensor | None, dim: int | None, count: int) -> Tensor | None:
    """For vmap: rows of `count` problems as rows of one, their units side by side."""
    if tensor is None:
        return None
    several = tensor.unsqueeze(1).expand(-1, count, -1) if dim is None else tensor.movedim(dim, 1)
    return several.flatten(1)


def sent_back(
    gradient: Tensor, carried: Tensor, h0: Tensor, batch_sizes: Tensor | None, reverse: bool
) -> Shaped[Tensor, "N H"]:
    """dL/dhₜ in full: what arrives at h itself, and what the step after it sends back, `carried`ₜ₊₁ times its own."""
    zeros = torch.zeros_like(h0)
    onwards = before(carried.conj(), zeros, batch_sizes, not reverse)
    return LinearScan.apply(gradient, onwards, None, zeros, batch_sizes, not reverse)


def before(
    rows: Shaped[Tensor, "N H"], start: Shaped[Tensor, "B H"], batch_sizes: Tensor | None, reverse: bool
) -> Shaped[Tensor, "N H"]:
    """For every row the one that its sequence came from; `start` where it came from none."""
    if batch_sizes is not None:
        return torch.cat((rows, start))[_sources(batch_sizes, len(rows), reverse).to(rows.device)]
    kept = len(rows) - len(start)
    if kept <= 0:
        return start[: len(rows)]
    return torch.cat((rows[-kept:], start) if reverse else (start, rows[:kept]))


def last(
    rows: Shaped[Tensor, "N H"], start: Shaped[Tensor, "B H"], batch_sizes: Tensor | None, reverse: bool
) -> Shaped[Tensor, "B H"]:
    """The rows that the sequences end in; `start` where there is no step."""
    batch = len(start)
    if not len(rows):
        return start
    if batch_sizes is None or reverse:
        return rows[:batch] if reverse else rows[-batch:]
    sizes = batch_sizes
    lengths = (sizes[:, None] > torch.arange(batch)).sum(0)
    return rows[((sizes.cumsum(0) - sizes)[lengths - 1] + torch.arange(batch)).to(rows.device)]


def first(rows: Tensor, start: Tensor, batch_sizes: Tensor | None, reverse: bool) -> Shaped[Tensor, "B H"]:
    """The rows that the sequences begin with; zeros where there is no step."""
    return last(rows, torch.zeros_like(start), batch_sizes, not reverse)


def cut_off(
    rows: Tensor, start: Tensor, batch_sizes: Tensor | None, reverse: bool, cut: int
) -> Shaped[Tensor, "N H"] | None:
    """What carries a gradient from every row to the one before it: the rows, but 0 at borders that are cut.

    None: the rows themselves.
    """
    if not cut or not len(rows):
        return None
    batch = len(start)
    sizes = torch.full((len(rows) // batch,), batch) if batch_sizes is None else batch_sizes
    time = torch.arange(len(sizes)).repeat_interleave(sizes, output_size=len(rows))
    edge = time + 1 if reverse else time
    # no step comes before the first, and a start is never cut off
    severed = (edge % cut == 0) & (_sources(sizes, len(rows), reverse) < len(rows))
    return rows.masked_fill(severed[:, None].to(rows.device), 0)


def _sources(batch_sizes: Tensor, rows: int, reverse: bool) -> Shaped[Tensor, "N"]:
    """For every row the number of the one before it in its sequence; N + b for the first row of sequence b."""
    row = torch.arange(rows)
    time = torch.arange(len(batch_sizes)).repeat_interleave(batch_sizes, output_size=rows)
    sequence = row - (batch_sizes.cumsum(0) - batch_sizes)[time]
    if not reverse:
        return torch.where(time > 0, row - batch_sizes[time - 1], rows + sequence)
    following = torch.cat((batch_sizes[1:], batch_sizes.new_zeros(1)))[time]
    return torch.where(sequence < following, row + batch_sizes[time], rows + sequence)


def _sweep(h: Sequence[Tensor], a: Sequence[Tensor], h0: Tensor, reverse: bool) -> None:
    """hₜ <- hₜ + aₜ hₜ₋₁ in place, step by step; sequences that start later find their h0."""
    previous = h0
    for t in reversed(range(len(h))) if reverse else range(len(h)):
        running = len(h[t])
        if running > len(previous):
            previous = torch.cat((previous, h0[len(previous) : running]))
        h[t].addcmul_(a[t], previous[:running])
        previous = h[t]


def _sweep_blocks(h: Tensor, a: Tensor, h0: Tensor, reverse: bool) -> None:
    """The same of h and a [T, B, H]: each block as if it began at zero; then what comes from the block before."""
    length = isqrt(len(h))
    blocks = len(h) // length
    whole = blocks * length
    # the steps that are left over come last
    rest, inner = (
        (slice(0, len(h) - whole), slice(len(h) - whole, None)) if reverse else (slice(whole, None), slice(0, whole))
    )
    parts, factors = h[inner].unflatten(0, (blocks, length)), a[inner].unflatten(0, (blocks, length))
    order = list(reversed(range(length)) if reverse else range(length))
    product = factors[:, order[0]].clone()
    for t, previous in zip(order[1:], order[:-1], strict=True):
        parts[:, t].addcmul_(factors[:, t], parts[:, previous])
        product.mul_(factors[:, t])
    entering, state = [], h0
    ends = parts[:, order[-1]].clone()
    for block in reversed(range(blocks)) if reverse else range(blocks):
        entering.append(state)
        state = torch.addcmul(ends[block], product[block], state)
    carried = torch.stack(entering[::-1] if reverse else entering)
    for t in order:
        carried.mul_(factors[:, t])
        parts[:, t].add_(carried)
    _sweep(h[rest].unbind(), a[rest].unbind(), state, reverse)


def _stepwise(x: Tensor, a: Tensor, h0: Tensor, **steps: Unpack[Steps]) -> tuple[Tensor, Tensor]:
    def step(row: Tensor, state: State, probe: Probe) -> State:
        x_t, a_t = row.chunk(2, 1)
        return (border.report(a_t * state[0] + x_t, probe[0]),)

    states, (h_n,) = walk(step, torch.cat((x, a), 1), (h0,), **steps)
    return torch.cat([h0[:0], *(h for (h,) in states)]), h_n
