"""Dead and saturated units: the slopes of all activations in the live graph of a sampled step.

An activation is an operation of autograd: whether a script wrote `nn.ReLU()`, `F.relu` or `torch.relu` makes no
difference, and a cell called in a loop shows all its calls. Operations keep what their backward pass needs, and that is
what is read. Fused recurrent layers keep none of it in sight: `gates.py` computes their gates again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import Node

from longreach.probes import gates
from longreach.probes.autopsy import SAFE_NODES, name_of, parameter_of, saved
from longreach.probes.probe import Look, Probe
from longreach.quantities.units import UnitsSample

# Evenly spaced: units of one layer, numbers of one call, calls of one layer in a loop.
MOST_UNITS, MOST_NUMBERS, MOST_CALLS = 256, 2**18, 16
# Slopes, as shares of the largest that the activation has. A smooth one never reaches 0.
FLAT, SATURATED = 1e-3, 0.05
# Of a fused layer so many rows are computed again, over all their time; on steps without curves one, and only where
# this takes no more multiplications.
ROWS, LITTLE = 4, 2**25


@dataclass(frozen=True)
class Activation:
    """How the slope of an activation is read from what its operation keeps.

    kept       the name of the kept tensor
    slope      its function, divided by the largest slope that there is
    two_sided  flat on both sides: such a unit saturates. One that is flat on one side only dies
    """

    kind: str
    kept: str
    slope: Callable[[Tensor], Tensor]
    two_sided: bool = False


def _derivative(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def slope(inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_()
            (found,) = torch.autograd.grad(function(leaf).sum(), leaf)
        return found

    return slope


ACTIVATIONS = {
    "Relu": Activation("ReLU", "result", lambda y: (y > 0).to(y)),
    "Threshold": Activation("ReLU", "self", lambda x: (x > 0).to(x)),
    "ClampMin": Activation("ReLU", "self", lambda x: (x > 0).to(x)),
    "Tanh": Activation("tanh", "result", lambda y: 1 - y * y, two_sided=True),
    "Sigmoid": Activation("sigmoid", "result", lambda y: 4 * y * (1 - y), two_sided=True),
    "Hardsigmoid": Activation("hard sigmoid", "self", lambda x: (x.abs() < 3).to(x), two_sided=True),
    "Elu": Activation("ELU", "self", _derivative(F.elu)),
    "Celu": Activation("CELU", "self", _derivative(F.elu)),
    "Gelu": Activation("GELU", "self", _derivative(F.gelu)),
    "Silu": Activation("SiLU", "self", _derivative(F.silu)),
    "Mish": Activation("Mish", "self", _derivative(F.mish)),
    "Hardswish": Activation("hard swish", "self", _derivative(F.hardswish)),
    "Softplus": Activation("softplus", "self", _derivative(F.softplus)),
}
# Of a convolution or a normalisation the units are the channels, along the second axis.
CHANNELS_FIRST = ("Convolution", "BatchNorm", "GroupNorm")


class Units(Probe):
    """Slopes of activations, unit by unit.

    Cost  a walk over at most 2000 operations, and one look at 2^18 numbers of each activation; of a fused recurrent
          layer one forward pass of four rows in float64
    """

    def before_backward(self, look: Look, root: Tensor, gradient: Tensor | None) -> None:
        """The graph is whole, and nothing that it keeps was given up."""
        fused = {visit.module: visit for visit in look.trace.fused}
        within = {look.names.of(module) for module in fused}
        owners = {own: name for own, (name, _) in look.names.owners().items() if name not in within}
        for sample in of_graph(root, owners, look.step):
            look.store.add(sample)
        for visit in fused.values():
            if not isinstance(visit.module, nn.RNNBase):
                continue  # cells in a loop are in the graph
            count = min(visit.inputs.shape[1], ROWS) if look.with_curves else 1
            size = count * len(visit.inputs) * sum(own.numel() for own in visit.module.parameters())
            if size > LITTLE and not look.with_curves:
                continue
            call = visit.call(torch.arange(count) * visit.inputs.shape[1] // count)
            for kind, slopes, shut in gates.slopes(call, look.generator):
                units = torch.arange(slopes.shape[1])[:: -(-slopes.shape[1] // MOST_UNITS)]
                dead, saturated = shut[units], _mostly_flat(slopes[:, units])
                look.store.add(_sample(look.names.of(visit.module), look.step, kind, len(slopes), dead, saturated))


def of_graph(root: Tensor, owners: dict[Tensor, str], step: int) -> Iterator[UnitsSample]:
    """One sample for each kind of activation behind each module.

    owners  the names of the modules that parameters belong to
    """
    graph = Graph(root)
    groups: dict[tuple[str, str], list[tuple[Node, Node, Tensor]]] = {}
    for node in graph.nodes:
        activation = ACTIVATIONS.get(name_of(node))
        if activation is None:
            continue
        source = graph.owner(node)
        if source is not None and source[1] in owners:
            place = owners[source[1]].split(".parametrizations")[0]
            groups.setdefault((place, activation.kind), []).append((node, *source))
    for (place, kind), calls in groups.items():
        if kind.endswith("sigmoid") and any(graph.is_gate(node) for node, *_ in calls):
            continue  # a gate near 1 is memory, one near 0 attention elsewhere
        slopes = list(_slopes_of_calls(calls))
        width = min((part.shape[1] for part in slopes), default=0)
        slopes = [part for part in slopes if part.shape[1] == width]
        if not width:
            continue
        nodes = [node for node, *_ in calls]
        found = torch.cat(slopes)
        two_sided = ACTIVATIONS[name_of(nodes[0])].two_sided
        dead = torch.zeros(width, dtype=torch.bool) if two_sided else (found.abs() < FLAT).all(dim=0)
        saturated = _mostly_flat(found) if two_sided else torch.zeros(width, dtype=torch.bool)
        hidden = any(node in graph.hidden for node in nodes)
        cut = bool(dead.all()) and hidden and graph.is_cut_by(nodes)
        yield _sample(place, step, kind, len(found), dead, saturated, hidden=hidden, cut=cut)


def _slopes_of_calls(calls: list[tuple[Node, Node, Tensor]]) -> Iterator[Tensor]:
    """Slopes as (input, unit), of evenly spaced calls."""
    for node, feeding, parameter in calls[:: -(-len(calls) // MOST_CALLS)]:
        activation = ACTIVATIONS[name_of(node)]
        kept = saved(node).get(activation.kept)
        if kept is None and activation.kept == "self" and name_of(node) == "Elu":
            continue  # computed in place: the result is kept
        if kept is None or kept.dim() == 0 or not kept.numel() or _is_other(node):
            continue
        yield activation.slope(_thinned(kept.detach(), _axis(kept, feeding, parameter)))


def _mostly_flat(slopes: Tensor) -> Tensor:
    """Which units are nearly flat at more than half of their inputs."""
    return 2 * (slopes < SATURATED).sum(dim=0) > len(slopes)


def _is_other(node: Node) -> bool:
    """Whether a threshold is no ReLU."""
    return any(
        getattr(node, name, 0) != 0 for name in ("_saved_threshold", "_saved_min") if name_of(node) != "Softplus"
    )


def _thinned(values: Tensor, axis: int) -> Tensor:
    """Some of the values as (input, unit)."""
    if values.dim() > 1 and axis > 0:
        values = values[:: -(-values.numel() // MOST_NUMBERS)]
    flat = values.movedim(axis, -1).flatten(0, -2) if values.dim() > 1 else values[None]
    return flat[:, :: -(-flat.shape[1] // MOST_UNITS)].float()


def _axis(values: Tensor, feeding: Node, parameter: Tensor) -> int:
    """Along which axis the units lie."""
    channels = any(name in name_of(feeding) for name in CHANNELS_FIRST)
    return 1 if channels and values.dim() > 2 and values.shape[1] in parameter.shape[:2] else values.dim() - 1


def _sample(
    place: str,
    step: int,
    kind: str,
    inputs: int,
    dead: Tensor,
    saturated: Tensor,
    *,
    hidden: bool = True,
    cut: bool = False,
) -> UnitsSample:
    return UnitsSample(place, step, kind, len(dead), inputs, _mask(dead), _mask(saturated), hidden, cut)


def _mask(flags: Tensor) -> int:
    """Bit i is set where flag i is."""
    return sum(1 << place for place, flag in enumerate(flags.tolist()) if flag)


class Graph:
    """The operations before a loss, nearest first, as many as may be looked at (see autopsy.SAFE_NODES).

    nodes   operations
    hidden  those between which and the loss there are parameters
    whole   whether that is all of them
    """

    def __init__(self, root: Tensor):
        self._start = [root.grad_fn] if root.grad_fn is not None else []
        self.nodes, self.whole = self._walk(self._start)
        self._feeds: dict[Node, list[Node]] = {}
        known = set(self.nodes)
        for node in self.nodes:
            for before, _ in node.next_functions:
                if before in known:
                    self._feeds.setdefault(before, []).append(node)
        weighted = [node for node in self.nodes if self._parameters(node)]
        self.hidden = self._behind(weighted)

    @staticmethod
    def _walk(start: Iterable[Node]) -> tuple[list[Node], bool]:
        frontier, seen = deque(start), dict.fromkeys(start)
        while frontier:
            for before, _ in frontier.popleft().next_functions:
                if before is None or before in seen or parameter_of(before) is not None:
                    continue
                if len(seen) >= SAFE_NODES:
                    return list(seen), False
                seen[before] = None
                frontier.append(before)
        return list(seen), True

    def _behind(self, nodes: Iterable[Node], without: frozenset[Node] = frozenset()) -> set[Node]:
        """Operations whose results go into these, which are not among them unless they feed each other."""
        known, frontier, found = set(self.nodes), list(nodes), set[Node]()
        while frontier:
            for before, _ in frontier.pop().next_functions:
                if before in known and before not in found and before not in without:
                    found.add(before)
                    frontier.append(before)
        return found

    @staticmethod
    def _parameters(node: Node) -> list[Tensor]:
        """Parameters that an operation reads, through casts and turns of them."""
        found = []
        for before, _ in node.next_functions:
            for _ in range(3):
                if before is None or parameter_of(before) is not None or len(before.next_functions) != 1:
                    break
                before = before.next_functions[0][0]
            parameter = parameter_of(before)
            if isinstance(parameter, nn.Parameter):
                found.append(parameter)
        return found

    def owner(self, node: Node) -> tuple[Node, Tensor] | None:
        """The nearest operation before a node that reads a parameter, and the last one that it reads: its weight."""
        frontier, seen = deque([node]), {node}
        known = set(self.nodes)
        while frontier:
            current = frontier.popleft()
            if parameters := self._parameters(current):
                return current, parameters[-1]
            before = [above for above, _ in current.next_functions if above in known and above not in seen]
            seen.update(before)
            frontier.extend(before)
        return None

    def is_gate(self, node: Node) -> bool:
        """Whether all that is done with a result is to multiply something with it."""
        after = self._feeds.get(node, [])
        return bool(after) and all(
            name_of(other) == "Mul" and all(factor is not None for factor, _ in other.next_functions) for other in after
        )

    def is_cut_by(self, nodes: list[Node]) -> bool:
        """Whether all that lies before these nodes reaches the loss through them alone."""
        wall = frozenset(nodes)
        before = self._behind(nodes) - wall
        around = {*self._start, *self._behind(self._start, without=wall)} - wall
        return self.whole and bool(before) and not before & around
