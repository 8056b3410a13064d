"""Which axes of a model's inputs and outputs are rows of a batch, and which is time.

Shapes alone cannot tell (T, B) from (B, T). What tells is that rows do not influence each other: a gradient sent into
one row of the output comes back in one row of the input.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Share of what is sent into a row that must come back in it. Batch norm lets a little of it leak.
OWN_SHARE = 0.5


@dataclass(frozen=True)
class Layout:
    """Axes of what enters and of what leaves.

    row, time          axes of the input
    out_row, out_time  axes of the output; out_time None where one output stands for the whole sequence
    flat               the output has rows and time in one axis: "rows" with the rows outermost, or "time"
    """

    row: int
    time: int
    out_row: int = 0
    out_time: int | None = None
    flat: str | None = None

    @property
    def stepwise(self) -> bool:
        """Whether there is an output for each step."""
        return self.out_time is not None or self.flat is not None

    def entering(self, tensor: Tensor) -> Tensor:
        """(row, time, feature) of something with the axes of the input."""
        tensor = tensor.movedim((self.row, self.time), (0, 1))
        return tensor.flatten(2) if tensor.dim() > 2 else tensor[:, :, None]

    def leaving(self, tensor: Tensor, rows: int) -> Tensor:
        """(row, time, feature) of something with the axes of the output; one step where it has no time."""
        if self.flat:
            steps = tensor.shape[0] // rows
            parts = (rows, steps) if self.flat == "rows" else (steps, rows)
            tensor = tensor.reshape(*parts, -1)
            return tensor if self.flat == "rows" else tensor.transpose(0, 1)
        if self.out_time is None:
            return tensor.movedim(self.out_row, 0).flatten(1)[:, None] if tensor.dim() > 1 else tensor[:, None, None]
        tensor = tensor.movedim((self.out_row, self.out_time), (0, 1))
        return tensor.flatten(2) if tensor.dim() > 2 else tensor[:, :, None]


def layouts(axes: tuple[tuple[int, int], ...], entering: tuple[int, ...], leaving: tuple[int, ...]) -> list[Layout]:
    """All layouts that these shapes allow: an output at every step before one for the whole sequence."""
    found = [layout for row, time in axes for layout in _layouts(row, time, entering, leaving)]
    return sorted(found, key=lambda layout: not layout.stepwise)


def _layouts(row: int, time: int, entering: tuple[int, ...], leaving: tuple[int, ...]) -> list[Layout]:
    rows, steps = entering[row], entering[time]
    found = []
    for out_row in [axis for axis, size in enumerate(leaving) if size == rows]:
        others = [axis for axis in range(len(leaving)) if axis != out_row]
        timed = [axis for axis in others if leaving[axis] == steps]
        if not timed and len(leaving) == 3:  # fewer steps leave than enter: strides, or no padding
            last = max(others) if time == 2 else min(others)
            timed = [last] if 1 < leaving[last] < steps else []
        found += [Layout(row, time, out_row, axis) for axis in timed]
        found.append(Layout(row, time, out_row))
    if 1 <= len(leaving) <= 2 and leaving[0] == rows * steps:
        found += [Layout(row, time, flat=order) for order in ("rows", "time")]
    return found


def find(
    candidates: list[Layout],
    output: Tensor,
    entering: tuple[int, ...],
    sensitivity: Callable[[Tensor, Tensor, Layout], Float[Tensor, "row time"]],
    generator: torch.Generator,
) -> Layout | None:
    """The layout in which what is sent into one row comes back in that row; None if there is none.

    sensitivity  sizes of what comes back at every row and step for a gradient sent into a (row, time, feature) output
    Cost         one product for each candidate, until one keeps its rows entirely apart
    """
    best, share = None, OWN_SHARE
    tried: set[tuple[int, int, str | None]] = set()
    for layout in candidates:
        rows_of_both = (layout.row, layout.out_row, layout.flat)
        if rows_of_both in tried:
            continue
        rows = entering[layout.row]
        seen = layout.leaving(output, rows)
        seed = torch.zeros_like(seen)
        seed[rows // 2] = torch.randn(seen.shape[1:], generator=generator).to(seen)
        if output.dim() == 2 and _is_for_classes(layout, seen, sensitivity, generator):
            continue
        tried.add(rows_of_both)
        energy = sensitivity(seen, seed, layout).square().sum(dim=1)
        own = float(energy[rows // 2] / energy.sum()) if energy.any() else 0.0
        if own > share:
            best, share = layout, own
        if own == 1.0:
            break
    return best


def _is_for_classes(
    layout: Layout,
    seen: Tensor,
    sensitivity: Callable[[Tensor, Tensor, Layout], Float[Tensor, "row time"]],
    generator: torch.Generator,
) -> bool:
    """As many outputs as steps may be ten classes for ten steps: what is said of the first step sees no later one."""
    if layout.out_time is None:
        return False
    seed = torch.zeros_like(seen)
    seed[:, 0] = torch.randn(seen.shape[0], seen.shape[2], generator=generator).to(seen)
    return bool(sensitivity(seen, seed, layout)[:, 1:].any())
