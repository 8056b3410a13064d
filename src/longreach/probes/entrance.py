"""Where a sequence enters a model, and where the model's outputs leave it: told by the calls of one step.

The data of a script carry no gradient. Where the first module makes of them something that does, they have entered:

    an embedding       its vectors stand for the steps
    a linear layer     its outputs do: each is made of one step alone
    any other module   is run once more in a copy (`rerun.py`), for it may mix the steps: a convolution, a recurrent
                       layer, a block or a whole model whose author multiplies by parameters himself
    sums, products     of data and parameters ahead of the first module: what that module is given stands for the steps
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from longreach.probes.autopsy import HANDING_ON, name_of, parameter_of
from longreach.probes.rerun import Call

# Operations that leave every step by itself, so that what they make of data stands for the same steps.
STEPWISE = (*HANDING_ON, "Embedding", "Add", "Sub", "Mul", "Div", "Cat", "NativeDropout")
# More operations than this ahead of the first module are no mere sum of data and parameters.
FEW_OPERATIONS = 24
# Of several results of a model, so many are asked for the error.
MOST_RESULTS = 8


@dataclass
class Entrance:
    """One place where a sequence enters.

    call, place  the call that was given the data, and which of its tensors they are
    axes         (row axis, time axis) that they may have, the most usual first
    flows        tensors of the live graph that stand for them: those of the call, or one tensor that has their axes
    mixed        the call may mix the steps, and has to be run again to lead from the flows to the data
    """

    call: Call
    place: int
    axes: tuple[tuple[int, int], ...]
    flows: list[Tensor]
    mixed: bool = False

    @property
    def longest(self) -> int:
        """The most steps that it may have."""
        return max(self.data.shape[time] for _, time in self.axes)

    @property
    def width(self) -> int:
        """How many numbers a step has."""
        rows, time = self.axes[0]
        return (
            self.data.shape[next(axis for axis in range(3) if axis not in (rows, time))] if self.data.dim() > 2 else 1
        )

    @property
    def data(self) -> Tensor:
        """What the script gave: token ids (two axes) or numbers (three)."""
        return self.call.tensors[self.place]


EITHER = ((0, 1), (1, 0))


@dataclass
class Calls:
    """What one step's calls tell about entrances and exits.

    outermost  calls that no other call surrounds, of modules with parameters
    inner      the last call of a part that has parameters of its own, where it gives more than a number
    """

    outermost: list[Call] = field(default_factory=list)
    inner: Call | None = None
    _embedded: list[Entrance] = field(default_factory=list)
    _entering: list[Call] = field(default_factory=list)
    _met: list[nn.Module] = field(default_factory=list)
    _first: Call | None = None

    def add(self, call: Call, *, outermost: bool) -> None:
        """A call has returned; calls inside of it have been told of before."""
        given, made = call.tensors, call.differentiable
        if not made:
            return
        if outermost and any(True for _ in call.module.parameters()):
            self.outermost.append(call)
        if any(True for _ in call.module.parameters(recurse=False)) and any(made_one.dim() > 1 for made_one in made):
            self.inner = call
        if isinstance(call.module, nn.Embedding):
            if given and given[0].dim() == 2:
                self._embedded.append(Entrance(call, 0, EITHER, made))
        elif not any(tensor.requires_grad for tensor in given):
            self._add_entering(call)
        elif self._first is None and not any(True for _ in call.module.children()):
            self._first = call

    def _add_entering(self, call: Call) -> None:
        if call.module not in self._met:
            self._met.append(call.module)
        if any(_is_sequence(tensor) for tensor in call.tensors):
            self._entering.append(call)

    def entrances(self) -> list[Entrance]:
        """Those of one sequence; empty where none was seen."""
        around = {outer for module in self._met for outer in _surrounding(module, self._entering)}
        numbers = [_of_numbers(call) for call in self._entering if call.module not in around]
        found = [*self._embedded, *numbers] or self._ahead_of_modules()
        if not found:
            return []
        # a table of positions has one row; what matters has all. A convolution may be given more steps, by padding
        main = max(found, key=lambda entrance: entrance.data.numel() / entrance.width)
        rows, time = main.axes[0]
        return [
            other
            for other in found
            if other.axes == main.axes and other.data.shape[rows] == main.data.shape[rows]
            if abs(other.data.shape[time] - main.data.shape[time]) < main.data.shape[time] / 2
        ]

    def _ahead_of_modules(self) -> list[Entrance]:
        flow = next((tensor for tensor in self._first.tensors if tensor.requires_grad), None) if self._first else None
        if flow is None or flow.dim() != 3 or not _is_stepwise(flow.grad_fn):
            return []
        return [
            Entrance(call, place, EITHER, [flow])
            for call in self.outermost
            for place, data in enumerate(call.tensors)
            if data.dim() in (2, 3) and data.shape[:2] == flow.shape[:2]
        ][:1]


def _is_sequence(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dim() == 3


def _surrounding(module: nn.Module, calls: Sequence[Call]) -> list[nn.Module]:
    """Modules of these calls that have another one as a part."""
    around = [call.module for call in calls if call.module is not module]
    return [outer for outer in around if any(part is module for part in outer.modules())]


def _of_numbers(call: Call) -> Entrance:
    place = next(place for place, tensor in enumerate(call.tensors) if _is_sequence(tensor))
    module = call.module
    if isinstance(module, nn.Linear):
        return Entrance(call, place, EITHER, call.differentiable)
    if isinstance(module, nn.Conv1d):
        axes: tuple[tuple[int, int], ...] = ((0, 2),)
    elif isinstance(rows_first := getattr(module, "batch_first", None), bool):
        axes = ((0, 1),) if rows_first else ((1, 0),)
    else:
        axes = (*EITHER, (0, 2))
    return Entrance(call, place, axes, call.differentiable, mixed=True)


def _is_stepwise(node: Node | None) -> bool:
    """Whether a tensor was made of data and parameters by few operations, none of which mixes steps."""
    frontier, seen = [node], set()
    while frontier:
        node = frontier.pop()
        if node is None or node in seen or parameter_of(node) is not None:
            continue
        seen.add(node)
        if name_of(node) not in STEPWISE or len(seen) > FEW_OPERATIONS:
            return False
        frontier += [before for before, _ in node.next_functions]
    return bool(seen)


def exit_of(calls: Calls, root: Tensor, gradient: Tensor | None) -> tuple[Call, int, Tensor] | None:
    """The call whose result the loss is made of, which of its results, and the error ∂L/∂result that comes to it."""
    for call in [*reversed(calls.outermost), *([calls.inner] if calls.inner else [])]:
        for place, result in enumerate(call.results[:MOST_RESULTS]):
            if not result.requires_grad or result.numel() < 2 or not result.is_floating_point():
                continue
            (error,) = torch.autograd.grad(root, result, gradient, retain_graph=True, allow_unused=True)
            if error is not None and bool(error.any()):
                return call, place, error
    return None
