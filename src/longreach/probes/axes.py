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
# Share of all steps by which the last output listens later than the first, if that axis is time and not classes.
MOVED = 0.2


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
    """All layouts that these shapes allow: those with an output for each step before one for the whole sequence."""
    found = [layout for row, time in axes for layout in _layouts(row, time, entering, leaving)]
    return sorted(found, key=lambda layout: not layout.stepwise)


def _layouts(row: int, time: int, entering: tuple[int, ...], leaving: tuple[int, ...]) -> list[Layout]:
    rows, steps = entering[row], entering[time]
    found = []
    for out_row in [axis for axis, size in enumerate(leaving) if size == rows]:
        others = [axis for axis in range(len(leaving)) if axis != out_row]
        timed = [axis for axis in others if leaving[axis] == steps]
        if not timed and len(leaving) == 3:  # fewer steps leave than enter: strides, or no padding
            timed = [axis for axis in others if 1 < leaving[axis] < steps]
        found += [Layout(row, time, out_row, axis) for axis in timed]
        found.append(Layout(row, time, out_row))
    if 1 <= len(leaving) <= 2 and leaving[0] == rows * steps:
        found += [Layout(row, time, flat=order) for order in ("rows", "time")]
    return found


@dataclass
class Search:
    """Finds the layout of a model by sending gradients into parts of its output.

    sensitivity  sizes of what comes back at every row and step for a gradient sent into a (row, time, feature) output
    Cost         one product for each way that rows may lie, until one keeps them entirely apart; two more for each axis
                 that may be time, where shapes leave a choice
    """

    output: Tensor
    entering: tuple[int, ...]
    sensitivity: Callable[[Tensor, Tensor, Layout], Float[Tensor, "row time"]]
    generator: torch.Generator

    def find(self, candidates: list[Layout]) -> Layout | None:
        """The layout in which what is sent into one row comes back in that row; None if there is none."""
        groups: dict[tuple[int, int, str | None], list[Layout]] = {}
        for layout in candidates:
            groups.setdefault((layout.row, layout.out_row, layout.flat), []).append(layout)
        best, share = None, OWN_SHARE
        for group in groups.values():
            own = self._own_share(group[0])
            if own > share:
                best, share = group, own
            if own == 1.0:
                break
        return None if best is None else self._timed(best)

    def _own_share(self, layout: Layout) -> float:
        rows = self.entering[layout.row]
        seen = layout.leaving(self.output, rows)
        seed = torch.zeros_like(seen)
        seed[rows // 2] = self._random(seen[0])
        energy = self.sensitivity(seen, seed, layout).square().sum(dim=1)
        return float(energy[rows // 2] / energy.sum()) if energy.any() else 0.0

    def _timed(self, group: list[Layout]) -> Layout:
        """Of layouts with the same rows that in which time leaves as it enters: later outputs listen later."""
        stepwise = [layout for layout in group if layout.stepwise]
        exact = self.output.dim() == 3 and all(
            self.output.shape[layout.out_time or 0] == self.entering[layout.time] for layout in stepwise
        )
        if len(stepwise) == 1 and (exact or stepwise[0].flat):
            return stepwise[0]
        moved = [(self._moves(layout), -place) for place, layout in enumerate(stepwise)]
        farthest, place = max(moved, default=(0.0, 0))
        if farthest > MOVED:
            return stepwise[-place]
        return next(layout for layout in group if not layout.stepwise)

    def _moves(self, layout: Layout) -> float:
        """How far the middle of what an output listens to moves from the first to the last, as a share of all steps."""
        middles = []
        for step in (0, -1):
            seen = layout.leaving(self.output, self.entering[layout.row])
            seed = torch.zeros_like(seen)
            seed[:, step] = self._random(seen[:, step])
            size = self.sensitivity(seen, seed, layout).sum(dim=0)
            middles.append(float((size * torch.arange(len(size)).to(size)).sum() / size.sum().clamp(min=1e-300)))
        return (middles[1] - middles[0]) / self.entering[layout.time]

    def _random(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like)
