"""Cells called over and over in one forward pass: the states that pass from call to call, and reach through them.

Nothing is replayed here: the vector-Jacobian products run on the live graph, before the script's own backward frees
it, from state to state and renormalised in between. Whatever stands between two calls (a mask, a dropout, an
activation outside of the module) is part of what is measured.
"""

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from longreach.probes.channel import State, Stretch, side_by_side, sphere, travel
from longreach.probes.fused import kind_of, subnormal_share, summarised
from longreach.probes.lags import lag_grid, split
from longreach.probes.samples import Curve, LayerKey

# The live graph has the script's own dtype: in float32 a gain of 1e-4 a step is renormalised before it underflows.
LONGEST_STRETCH = 8
# Fewer calls are a stack of shared layers rather than a walk through time.
FEWEST_CALLS = 4
# How far back to look for the previous call's output when an input is not that output itself.
LONGEST_SEARCH = 400


@dataclass
class Chain:
    """The calls of one module within one forward pass, each fed by the one before.

    slots    which tensors among the arguments carry the state
    sources  which tensors among the results become the next call's state; None where something lies in between
    states   s_0, s_1, ...: the state entering each call but the first, and, where `sources` tells it, the last result
    drives   for each call the tensors among the arguments that carry no state
    entering the state that the first call was given, as far as it is known by then
    """

    module: nn.Module
    slots: tuple[int, ...] = ()
    sources: tuple[int, ...] | None = None
    states: list[State] = field(default_factory=list)
    drives: list[list[Tensor]] = field(default_factory=list)
    final: State | None = None
    entering: State = ()
    # what the last call was given and gave, until the next one tells what of it is the state
    last_arguments: list[Tensor] = field(default_factory=list)
    last_results: list[Tensor] = field(default_factory=list)
    on_state: Callable[[int, State], None] | None = None

    @property
    def row_dim(self) -> int | None:
        """The batch dimension of the state: fused layers keep their stack in front of it. None without a batch."""
        part = self.states[0][0]
        if isinstance(self.module, nn.RNNBase) or is_ours(self.module, "recurrent", "Recurrent"):
            return 1 if part.dim() == 3 else None
        return 0 if part.dim() > 1 else None

    @property
    def rows(self) -> int:
        """How many sequences run side by side."""
        return 1 if self.row_dim is None else self.states[0][0].shape[self.row_dim]

    @property
    def all_states(self) -> list[State]:
        """Every state that is known, in the order of time."""
        return [*self.states, self.final] if self.final is not None else self.states

    def extend(self, arguments: list[Tensor], results: list[Tensor]) -> bool:
        """Take one more call in. False if its state does not come from the call before: then a new chain begins."""
        if self.last_results:
            if not self.slots:
                self.slots = tuple(n for n, leaf in enumerate(arguments) if descends(leaf, self.last_results))
                self.sources = _sources([arguments[n] for n in self.slots], self.last_results)
                if self.slots:
                    self.drives.append(_drives(self.last_arguments, self.slots))
                    self.entering = tuple(self.last_arguments[n] for n in self.slots if n < len(self.last_arguments))
            elif not all(n < len(arguments) and arguments[n].grad_fn is not None for n in self.slots):
                return False
            if not self.slots:
                return False
            self.states.append(tuple(arguments[n] for n in self.slots))
            self.drives.append(_drives(arguments, self.slots))
            self._tell(self.states[-1])
        self.last_arguments, self.last_results = arguments, results
        return True

    def close(self) -> None:
        """The last call has been made."""
        if self.sources is not None and self.states:
            self.final = tuple(self.last_results[n] for n in self.sources)
            self._tell(self.final)
        self.last_arguments, self.last_results = [], []

    def _tell(self, state: State) -> None:
        if self.on_state is not None:
            self.on_state(len(self.all_states) - 1, state)

    @property
    def is_a_loop(self) -> bool:
        """Enough calls, of one shape of state, with a weight that all of them share."""
        shapes = {tuple(part.shape for part in state) for state in self.all_states}
        shared = any(parameter.dim() >= 2 for parameter in self.module.parameters())
        return len(self.drives) >= FEWEST_CALLS and len(shapes) == 1 and shared


@dataclass(frozen=True)
class LiveStretch:
    """A stretch of the live graph between two states of a chain."""

    entering: State
    leaving: State

    def pull_back(self, cotangent: State) -> State:
        """Jᵀ v, each part of the state taken as independent of the others."""
        total = torch.autograd.grad(self.leaving, self.entering, cotangent, retain_graph=True, allow_unused=True)
        return apart(self.entering, total)


def apart(state: State, total: tuple[Tensor | None, ...]) -> State:
    """Gradients of the parts of a state as if they were independent.

    In a live graph h_t is itself computed from c_t, so what arrives at h_t flows on into c_t; that share is taken off.
    """
    grads = [torch.zeros_like(part) if grad is None else grad for part, grad in zip(state, total, strict=True)]
    result = list(grads)
    for n, part in enumerate(state):
        for m, other in enumerate(state):
            if m == n or other.grad_fn is None:
                continue
            (through,) = torch.autograd.grad(other, part, grads[m], retain_graph=True, allow_unused=True)
            if through is not None:
                result[n] = result[n] - through
    return tuple(result)


def measure(
    chain: Chain, name: str, step: int, root: Tensor, root_gradient: Tensor | None, generator: torch.Generator
) -> tuple[LayerKey, Curve]:
    """Curve of a chain; to be called when the loss is known and its backward has not begun.

    Cost: about two backward passes through the loop.
    """
    states = chain.all_states
    horizon = len(states) - 1
    lags = lag_grid(horizon)
    borders = split(lags, LONGEST_STRETCH)
    read = [borders.index(lag) for lag in lags]
    stretches: list[Stretch] = [
        LiveStretch(states[horizon - far], states[horizon - near]) for near, far in itertools.pairwise(borders)
    ]
    end, rows = states[-1], chain.row_dim
    gain = travel(stretches, sphere(end, generator), rows).log_norm[read]
    arrived = torch.autograd.grad(root, end, root_gradient, retain_graph=True, allow_unused=True)
    seed = apart(end, arrived)
    sent = travel(stretches, seed, rows)
    entries = side_by_side(seed, rows)
    subnormal = subnormal_share(sent, entries.double().norm(dim=1).log(), end[0].dtype)[read]
    curve = summarised(step, lags, *(part.cpu().numpy() for part in (gain, sent.log_norm[read], subnormal)))
    units = getattr(chain.module, "hidden_size", side_by_side(end[:1], rows).shape[1])
    return LayerKey(name, _kind(chain.module), 0, "forward", int(units)), curve


def _kind(module: nn.Module) -> str:
    known = {nn.LSTMCell: "LSTM", nn.GRUCell: "GRU"}
    if isinstance(module, nn.RNNBase):
        return kind_of(module.mode)
    if isinstance(module, nn.RNNCell):
        return f"RNN {module.nonlinearity}"
    return known.get(type(module), type(module).__name__)


def is_ours(module: nn.Module, home: str, name: str) -> bool:
    """Whether a module is an instance of longreach.nn.`home`.`name`; where that was never imported, it is not."""
    ours = sys.modules.get(f"longreach.nn.{home}")
    return ours is not None and isinstance(module, getattr(ours, name))


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [leaf for entry in value for leaf in tensors_in(entry)]


def descends(leaf: Tensor, results: list[Tensor]) -> bool:
    """Whether a tensor was computed from one of these results."""
    goals = {result.grad_fn for result in results if result.grad_fn is not None}
    frontier: list[Node] = [] if leaf.grad_fn is None else [leaf.grad_fn]
    # nothing made before the oldest goal can descend from it
    oldest = min((goal._sequence_nr() for goal in goals), default=0)
    seen: set[Node] = set()
    while frontier and len(seen) < LONGEST_SEARCH:
        node = frontier.pop(0)
        if node in goals:
            return True
        if node in seen or node._sequence_nr() < oldest:
            continue
        seen.add(node)
        frontier += [parent for parent, _ in node.next_functions if parent is not None]
    return False


def _sources(leaves: list[Tensor], results: list[Tensor]) -> tuple[int, ...] | None:
    """Which results these tensors are; None unless each of them is one."""
    found = [next((n for n, result in enumerate(results) if leaf is result), None) for leaf in leaves]
    return None if None in found else tuple(n for n in found if n is not None)


def _drives(arguments: list[Tensor], slots: tuple[int, ...]) -> list[Tensor]:
    return [leaf for n, leaf in enumerate(arguments) if n not in slots]
