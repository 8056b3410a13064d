"""One layer of a longreach.nn.Recurrent, in one direction, replayed in chunks: what replay.py does, for any cell.

A cell is run as it is, in a copy, by its own fused scan where it has one. Its state may be anything: entries are taken
as real numbers, complex ones as pairs, and those that no gradient passes through (a count of steps) go along unseen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils import parametrize

from longreach.nn.cell import Cell, Step, Wrapper, entries, rebuilt
from longreach.nn.recurrent import Recurrent, loop
from longreach.probes.randomness import untouched_randomness
from longreach.probes.replay import Place, State, dropped, turn_around
from longreach.probes.rerun import copied, without_global_hooks


@dataclass(frozen=True)
class CellStrand:
    """A cell over the inputs of a few rows, in its own running time; see replay.Strand.

    step   what the cell begins with: the masks that it draws once for a sequence are drawn once for all chunks
    start  the state before the first step, all its entries as real numbers
    passes for each entry whether a gradient passes through it
    """

    cell: Cell
    step: Step
    inputs: Float[Tensor, "time row feature"]
    start: State
    passes: tuple[bool, ...]

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs of every step and the state after the last one."""
        structure, before = self.cell.start(0, like=inputs), self._state(state)
        if self.cell.fuses():
            rows, after = self.cell.scan(inputs.flatten(0, 1), before)
        else:
            rows, after = loop(self.cell, self.step, structure, inputs.flatten(0, 1), entries(before))
        return rows.unflatten(0, inputs.shape[:2]), as_reals(after)

    def rows(self, chosen: Tensor) -> "CellStrand":
        """The same layer with these rows alone."""
        inputs = self.inputs[:, chosen]
        step = self.cell.begin(len(inputs), len(chosen), like=inputs)
        return replace(self, step=step, inputs=inputs, start=tuple(part[chosen] for part in self.start))

    def passing(self, state: State) -> State:
        """The entries that a gradient passes through."""
        return tuple(part for part, passes in zip(state, self.passes, strict=True) if passes)

    def arriving(self, state: State, error: Tensor) -> State:
        """∂L/∂s for an error at what the layer shows of a state s."""
        with torch.enable_grad():
            leaves = tuple(part.detach().requires_grad_(part.is_floating_point()) for part in state)
            shown = self.cell.output(self._state(leaves))
            found = torch.autograd.grad(shown, self.passing(leaves), error, allow_unused=True)
        return tuple(torch.zeros_like(s) if f is None else f for f, s in zip(found, self.passing(state), strict=True))

    def _state(self, reals: State) -> Any:
        like = self.cell.start(0, like=self.inputs)
        parts = [
            torch.view_as_complex(real.contiguous()) if entry.is_complex() else real
            for real, entry in zip(reals, entries(like), strict=True)
        ]
        return rebuilt(like, tuple(parts))


def as_reals(state: Any) -> State:
    """The entries of a state; of complex ones real and imaginary parts along a last axis."""
    return tuple(torch.view_as_real(entry) if entry.is_complex() else entry for entry in entries(state))


@contextmanager
def unnoticed(device: torch.device) -> Iterator[None]:
    """Within, cells may be copied and called: nobody's hooks and random numbers take notice."""
    with without_global_hooks(), untouched_randomness(device), parametrize.cached():
        yield


def strands(
    module: Recurrent,
    inputs: Float[Tensor, "time row feature"],
    lengths: Int[Tensor, " row"],
    start: State | None,
    generator: torch.Generator,
) -> Iterator[Place]:
    """Every layer and direction of a module, from the bottom up; see replay.strands. To be called `unnoticed`.

    What a cell draws in training is drawn anew. Batch normalisation takes its statistics over these rows.
    """
    torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
    dtype = torch.float32 if inputs.device.type == "mps" else torch.float64
    flow = inputs.detach().to(dtype).requires_grad_()
    for layer in range(module.num_layers):
        outputs = []
        for reverse in range(module.directions):
            place = layer * module.directions + reverse
            cell = cast(Cell, copied(module.cells[place]).to(dtype))
            given = turn_around(flow, lengths) if reverse else flow
            step = cell.begin(len(flow), flow.shape[1], like=flow)
            zeros = as_reals(cell.start(flow.shape[1], like=flow))
            own = zeros if start is None else tuple(p[place].to(z) for p, z in zip(start, zeros, strict=True))
            strand = CellStrand(cell, step, given.detach(), own, (True,) * len(own))
            with torch.enable_grad():
                output, ended = strand.run(given, own)
                output = turn_around(output, lengths) if reverse else output
            strand = replace(strand, passes=tuple(part.requires_grad for part in ended))
            outputs.append(output)
            yield Place(layer, bool(reverse), strand, output, strand.passing(ended))
        below, flow = flow, torch.cat(outputs, dim=-1)
        flow = below + flow if module.residual and layer else flow
        flow = dropped(flow, module.dropout if module.training else 0.0, generator)


def kind_of(cell: Callable[..., Any]) -> str:
    """A cell, as people write it: MinGRU, Zoneout LSTM."""
    name = parametrize.type_before_parametrizations(cast(Cell, cell)).__name__
    return f"{name} {kind_of(cell.inner)}" if isinstance(cell, Wrapper) else name
