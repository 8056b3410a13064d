"""The path that a recurrent layer's state takes under given inputs, and the Jacobians of its steps.

Whatever the layer is, it becomes one of longreach.nn.cells, copied, in float64 and in evaluation: torch's layers are
those cells weight for weight. Forward-mode differentiation carries vectors through a cell's step, so that no Jacobian
is written out anywhere.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrize

from longreach.errors import ArgumentError
from longreach.nn import Recurrent, cells
from longreach.nn.cell import Cell, Step, entries, rebuilt
from longreach.nn.cells.lstm import Memory
from longreach.nn.gates import Recur
from longreach.nn.rows import Sequences

KINDS_OF_CELLS = {nn.LSTMCell: "LSTM", nn.GRUCell: "GRU"}
KINDS = {"RNN": cells.Elman, "GRU": cells.GRU, "LSTM": cells.LSTM}
EXPECTED = "an RNN, GRU, LSTM or cell of torch.nn or longreach.nn, a longreach.nn.Recurrent, or a longreach.nn.Cell"


@dataclass(frozen=True, eq=False)
class Orbit:
    """One layer in one direction, driven by given inputs, in its own running time and in float64.

    A state is a row of n numbers: its entries side by side, h and c of an LSTM, a complex number as two.

    layer, reverse  its place in the module
    cell, advance   what it is, and the step it takes
    inputs          of every step, as the cell projects them
    states          before the first step, and after each
    """

    layer: int
    reverse: bool
    cell: Cell
    advance: Step
    inputs: Shaped[Tensor, "time row projected"]
    states: Float[Tensor, "border row n"]

    @property
    def name(self) -> str:
        """layer 0 forward."""
        return f"layer {self.layer} {'reverse' if self.reverse else 'forward'}"

    def push(self, t: int, vectors: Float[Tensor, "row n count"]) -> Float[Tensor, "row n count"]:
        """J V, with J = ∂s_t/∂s_{t-1} at step t: one forward-mode product for each column."""
        return self.step(t, self.states[t], vectors)[1]

    def step(
        self, t: int, state: Float[Tensor, "row n"], vectors: Float[Tensor, "row n count"]
    ) -> tuple[Float[Tensor, "row n"], Float[Tensor, "row n count"]]:
        """Step t from a state that need not be the orbit's: the state after it, and J V there."""
        rows, size, count = vectors.shape
        x = self.inputs[t].repeat_interleave(count, 0)
        columns = vectors.mT.reshape(rows * count, size)
        of_state = partial(_stepped, self.cell, self.advance, x)
        result: Any = torch.func.jvp(of_state, (state.repeat_interleave(count, 0),), (columns,))
        after, pushed = result
        return after[::count], pushed.view(rows, count, size).mT

    def jacobian(self, t: int) -> Float[Tensor, "row n n"]:
        """∂s_t/∂s_{t-1} at step t."""
        _, rows, size = self.states.shape
        return self.push(t, torch.eye(size).to(self.states).expand(rows, size, size))


@torch.no_grad()
def orbits(module: nn.Module, inputs: Sequences, state: Any = None) -> Iterator[Orbit]:
    """Every layer and direction of a recurrent module under these inputs, from the bottom up.

    inputs  as the module takes them; a cell takes (time, row, feature) or (time, feature)
    state   to start from, as the module takes it; zeros if None
    Leaves  the module, its mode and the global random numbers as they were: what runs is a copy, in evaluation
    Raises  ArgumentError where module, inputs or state do not fit, and where a state leaves the range of float64
    """
    if isinstance(module, Cell | nn.RNNCellBase):
        directions, batch_first, residual = 1, False, False
    elif isinstance(module, nn.RNNBase | Recurrent):
        directions, batch_first = 1 + module.bidirectional, module.batch_first
        residual = isinstance(module, Recurrent) and module.residual
    else:
        raise ArgumentError(f"module: expected {EXPECTED}, got {type(module).__name__}; pass the recurrent part alone")
    flow, batched = _time_major(module, inputs, batch_first)
    places = _cells(module)
    starts = _starts(module, places, flow, state, batched)
    for layer in range(0, len(places), directions):
        outputs = []
        for side in range(directions):
            cell, start = places[layer + side], starts[layer + side]
            orbit = _run(layer // directions, bool(side), cell, flow.flip(0) if side else flow, start)
            rows = cell.output(_unpacked(cell, orbit.states[1:].flatten(0, 1)))
            output = rows.view(*flow.shape[:2], -1)
            outputs.append(output.flip(0) if side else output)
            yield orbit
        out = torch.cat(outputs, dim=-1)
        flow = flow + out if residual and layer > 0 else out


def _run(layer: int, reverse: bool, cell: Cell, inputs: Tensor, start: Tensor) -> Orbit:
    time, rows, _ = inputs.shape
    projected = cell.project(inputs.flatten(0, 1)).view(time, rows, -1)
    advance = cell.begin(time, rows, like=inputs)
    states = [start]
    for t in range(time):
        states.append(_stepped(cell, advance, projected[t], states[-1]))
        if not states[-1].isfinite().all():
            raise ArgumentError(
                f"inputs: expected states within the range of float64, got one beyond it in layer {layer} after step "
                f"{t} of its own running time; pass fewer steps, and inputs that are finite"
            )
    return Orbit(layer, reverse, cell, advance, projected, torch.stack(states))


# The module.


class Projected(cells.LSTM):
    """torch.nn.LSTM with proj_size: hₜ = W_hr (o tanh(cₜ))."""

    weight_hr: Tensor

    def step(self, x: Tensor, state: Memory, recur: Recur, read: Callable[[Tensor], Tensor] = torch.tanh) -> Memory:
        """The LSTM's, and the projection."""
        h, c = super().step(x, state, recur, read)
        return Memory(linear(h, self.weight_hr), c)

    def start(self, batch: int, *, like: Tensor) -> Memory:
        """Zeros."""
        return Memory(like.new_zeros(batch, len(self.weight_hr)), like.new_zeros(batch, self.hidden_size))


def _cells(module: nn.Module) -> list[Cell]:
    """A cell for every place of the module, in float64 and in evaluation: nothing is shared."""
    home = _home(module)
    if isinstance(module, nn.RNNCellBase):
        kind = next((kind for cls, kind in KINDS_OF_CELLS.items() if isinstance(module, cls)), "RNN")
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if module.bias else [])]
        names += ["slope"] if hasattr(module, "slope") else []
        weights = {name: getattr(module, name) for name in names}
        return [_twin(kind, getattr(module, "nonlinearity", None), weights, home)]
    if isinstance(module, nn.RNNBase):
        kind, _, activation = module.mode.partition("_")
        found = []
        for names in module._all_weights:
            slope = names[0].replace("weight_ih", "slope")
            names = [*names, slope] if hasattr(module, slope) else names
            weights = {name[: name.index("_l")]: getattr(module, name) for name in names}
            found.append(_twin(kind, activation.lower(), weights, home))
        return found
    return [_copied(cast(Cell, cell)) for cell in (module.cells if isinstance(module, Recurrent) else [module])]


def _twin(kind: str, activation: str | None, weights: dict[str, Tensor], home: torch.device) -> Cell:
    """One of our cells with these weights, whose names are those of torch's cells."""
    build = Projected if "weight_hr" in weights else KINDS[kind]
    options: dict[str, Any] = {"activation": activation} if kind == "RNN" else {}
    hidden = len(weights["weight_hh"]) // build.gates
    cell = build(weights["weight_ih"].shape[1], hidden, bias="bias_ih" in weights, device="meta", **options)
    for name, weight in weights.items():
        setattr(cell, name, nn.Parameter(weight.detach().to(home, torch.float64), requires_grad=False))
    return cell.eval()


def _copied(cell: Cell) -> Cell:
    if not cell.independent_rows:
        raise ArgumentError(
            f"module: expected a cell whose sequences do not see each other, got {type(cell).__name__}; "
            "of batch normalisation, pass a cell without it"
        )
    with torch.random.fork_rng(devices=[]):  # a cell may draw weights when it is copied
        cell = copy.deepcopy(cell)
    for part in [part for part in cell.modules() if parametrize.is_parametrized(part)]:
        _settle(part)
    return cell.to(_home(cell), torch.float64).requires_grad_(False).eval()


def _settle(part: nn.Module) -> None:
    """Weights that are computed from others become plain: computed once, not at every step.

    torch's remove_parametrizations would change the class, which the copy has in common with the user's module.
    """
    weights = {name: getattr(part, name).detach() for name in cast(nn.ModuleDict, part.parametrizations)}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part.parametrizations
    for name, weight in weights.items():
        part.register_parameter(name, nn.Parameter(weight))


def _home(module: nn.Module) -> torch.device:
    """Where to compute: on the module's device, or on the CPU where that has no float64."""
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    return torch.device("cpu") if device.type == "mps" else device


# The inputs, and the state before them.


def _time_major(
    module: nn.Module, inputs: Sequences, batch_first: bool
) -> tuple[Float[Tensor, "time row feature"], bool]:
    """Inputs of all steps in float64, and whether the module was given several sequences."""
    shape = "(row, time, feature)" if batch_first else "(time, row, feature)"
    expected = f"inputs: expected a tensor of real numbers, {shape} or (time, feature), with a step or more"
    if not isinstance(inputs, Tensor):
        raise ArgumentError(f"{expected}, got a {type(inputs).__name__}; all sequences have the same length here")
    width = getattr(module, "input_size", inputs.shape[-1] if inputs.dim() else 0)
    fits = inputs.dim() in (2, 3) and inputs.shape[-1] == width and inputs.numel() > 0
    if not fits or not inputs.dtype.is_floating_point:
        raise ArgumentError(f"{expected} and {width} features, got {tuple(inputs.shape)} of {inputs.dtype}")
    flow = inputs[:, None] if inputs.dim() == 2 else inputs.transpose(0, 1) if batch_first else inputs
    return flow.detach().to(_home(module), torch.float64), inputs.dim() == 3


def _starts(
    module: nn.Module, places: list[Cell], flow: Tensor, state: Any, batched: bool
) -> list[Float[Tensor, "row n"]]:
    """The state that every place starts from."""
    zeros = [cell.start(flow.shape[1], like=flow) for cell in places]
    if state is None:
        return [_packed(zero) for zero in zeros]
    # torch's layers have a dimension for the place, cells have not, and neither has one for a single sequence
    stacked = isinstance(module, nn.RNNBase | Recurrent)
    expected = []
    for entry in entries(zeros[0]):
        row = entry.shape if batched else entry.shape[1:]
        expected.append((len(places), *row) if stacked else tuple(row))
    given = entries(state)
    if [tuple(entry.shape) for entry in given] != expected:
        raise ArgumentError(f"state: expected {expected}, got {[tuple(entry.shape) for entry in given]}")
    found = []
    for place, zero in enumerate(zeros):
        parts = [(entry[place] if stacked else entry).detach() for entry in given]
        parts = [part.to(z).reshape(z.shape) for part, z in zip(parts, entries(zero), strict=True)]
        found.append(_packed(rebuilt(zero, tuple(parts))))
    return found


# States as rows of numbers.


def _stepped(cell: Cell, advance: Step, x: Tensor, state: Float[Tensor, "row n"]) -> Float[Tensor, "row n"]:
    return _packed(advance(x, _unpacked(cell, state)))


def _packed(state: Any) -> Float[Tensor, "row n"]:
    parts = [torch.view_as_real(entry) if entry.is_complex() else entry for entry in entries(state)]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _unpacked(cell: Cell, rows: Float[Tensor, "row n"]) -> Any:
    like = cell.start(1, like=rows)
    parts, first = [], 0
    for entry in entries(like):
        real = torch.view_as_real(entry) if entry.is_complex() else entry
        part = rows[:, first : first + real.numel()].reshape(-1, *real.shape[1:])
        parts.append(torch.view_as_complex(part) if entry.is_complex() else part)
        first += real.numel()
    return rebuilt(like, tuple(parts))
