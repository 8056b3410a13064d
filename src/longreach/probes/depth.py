"""Gain over depth: how much of a gradient survives from the top layer of a network to its lowest, or down a tree.

    gain(l) = ‖Jᵀv‖ / ‖v‖,   J = ∂z_top/∂z_l,   v random

z_l is what layer l puts out: of a plain layer what its weights make, before the activation; of a residual block the
sum. The products run on the live graph, from station to station of its trunk, with the norm taken out at each. What a
pooling takes off a norm (a mean over S places divides it by √S, and the weights below it are shared by as many) is left
out: it says nothing of a fault. In a network whose weights are drawn with variance 1 / fan-in, and 2 / fan-in before a
rectifier (Glorot & Bengio 2010; He et al. 2015), whatever the widths are, gain is about 1 throughout.
"""

import math
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.nn.utils.parametrize import ParametrizationList

from longreach.probes.autopsy import SAFE_NODES
from longreach.probes.names import Names
from longreach.probes.probe import Look, Probe
from longreach.probes.repeatable import repeatable
from longreach.probes.seeds import log_norm, renewed, seed
from longreach.probes.tree import Call, gains, trees
from longreach.probes.trunk import Station, trunk, walk
from longreach.quantities.depth import DepthSample

_T = TypeVar("_T")
# Layers of one curve: more are thinned. A curve of fewer than the least says nothing about depth.
MOST_LAYERS, FEWEST_LAYERS = 64, 3
FEWEST_HOPS = 2
# A cell that a script calls in a recursion of its own has few modules inside.
CALLS_OF_A_CELL = 8


@dataclass(frozen=True)
class Border:
    """A place between two products.

    layer    its name, if it is the output of a layer
    counted  whether what a norm loses above it, up to the border before, is part of the gain
    """

    edge: GradientEdge
    layer: str | None
    counted: bool = True


@dataclass
class Pass:
    """The calls within one call from outside of any module: most often one forward pass of a model.

    Calls keep their graph alive, and an evaluation that forgets to turn gradients off makes many. A result that the
    script has let go of will not be sent back, unless it was one of a cell, and has gone into that of another.
    """

    calls: list[Call] = field(default_factory=list)
    result: Callable[[], Tensor | None] | None = None

    def is_needed(self) -> bool:
        """Whether a backward pass may still come."""
        return len(self.calls) <= CALLS_OF_A_CELL or self.result is None or self.result() is not None


class Depth(Probe):
    """One curve from the first backward pass of a step that has curves.

    Cost  a backward pass without the gradients of weights, and one visit of every node of the graph
    """

    def __init__(self):
        self._passes: list[Pass] = [Pass()]
        self._made: set[Node] = set()
        self._unseen = False

    def opened(self, look: Look) -> None:
        """A new step."""
        self._unseen = look.with_curves

    def saw(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Keep which nodes of the graph were given and made: no tensor, which would cost memory."""
        edges = tuple(get_gradient_edge(part) for part in results if part.grad_fn is not None)
        if not self._unseen or not edges:
            return
        if isinstance(module, ParametrizationList):
            self._made.update(edge.node for edge in edges)
        elif sum(len(one.calls) for one in self._passes) < SAFE_NODES:
            given = tuple(part.grad_fn for part in arguments if part.grad_fn is not None)
            self._passes[-1].calls.append(Call(module, given, edges))
        if module in look.trace.roots:
            self._passes[-1].result = weakref.ref(results[0])
            self._passes = [one for one in self._passes if one.is_needed()] + [Pass()]

    def before_backward(self, look: Look, root: Tensor, gradient: Tensor | None) -> None:
        """Measure."""
        calls, made = [call for one in self._passes for call in one.calls], self._made
        self._passes, self._made = [Pass()], set()
        if not self._unseen or root.grad_fn is None:
            return
        self._unseen = False
        users, whole = walk(root.grad_fn)
        grown = trees(calls)
        borders = along(trunk(root.grad_fn, users, made), look.names) if whole else blocks(calls, look.names)
        if (grown or not whole) and not all(repeatable(node) for node in users):
            # their way was not walked to its end: what was seen of the graph stands for it
            grown, borders = [], borders if whole else []
        if len(_layers(borders)) >= FEWEST_LAYERS:
            look.silence()
            _measure(borders, look)
        for tree in grown:
            if len(tree.levels) > FEWEST_HOPS:
                look.silence()
                hops = tuple(str(hop) for hop in range(len(tree.levels)))
                curve = tuple(gains(tree, look.generator))
                look.store.add(DepthSample(look.names.of(tree.module), look.step, "hops", hops, curve))

    def closed(self, look: Look) -> None:
        """A step without a backward pass."""
        self._passes, self._made = [Pass()], set()


def _measure(borders: list[Border], look: Look) -> None:
    layers, curve = _layers(borders), send(borders, look.generator)
    if curve is not None:
        look.store.add(DepthSample(f"{layers[-1]} to {layers[0]}", look.step, "layers", layers, curve))


def _layers(borders: list[Border]) -> tuple[str, ...]:
    return tuple(border.layer for border in borders if border.layer is not None)


def along(stations: list[Station], names: Names) -> list[Border]:
    """The borders along a trunk: the outputs of its layers, and the two ends of each pooling between them."""
    run = _longest(stations)
    owners = names.owners()
    layers = [number for number, station in enumerate(run) if station.weights]
    called = {number: _named(run[number], owners, len(layers) - place) for place, number in enumerate(_thinned(layers))}
    borders: list[Border] = []
    counted = True
    for number, station in enumerate(run):
        layer = called.get(number)
        if layer is not None or station.reduces == counted:
            borders.append(Border(station.edge, layer, counted))
            counted = not station.reduces
    return borders


def _longest(stations: list[Station]) -> list[Station]:
    """The longest run of stations with products that leave no trace, from a layer to a layer."""
    runs: list[list[Station]] = [[]]
    for station in stations:
        runs[-1].append(station)
        if not station.repeatable:
            runs.append([])
    best = max(runs, key=lambda run: sum(bool(station.weights) for station in run))
    layers = [number for number, station in enumerate(best) if station.weights]
    return best[layers[0] : layers[-1] + 1] if layers else []


def _named(station: Station, owners: dict[Tensor, tuple[str, str]], number: int) -> str:
    """The module that holds the weights of a layer, or what the names of its modules begin with."""
    called = [_called(*owners[weight]) for weight in station.weights if weight in owners]
    parts = zip(*(name.split(".") for name in called), strict=False)
    shared = takewhile(lambda alike: len(set(alike)) == 1, parts)
    return ".".join(part for part, *_ in shared) or (called[0] if called else f"layer {number}")


def _called(module: str, parameter: str) -> str:
    """A weight by its module; one that is not simply that module's weight by its own name."""
    if ".parametrizations" in module:
        return module[: module.index(".parametrizations")]
    return module if parameter.startswith("weight") else f"{module}.{parameter}"


def blocks(calls: list[Call], names: Names) -> list[Border]:
    """The borders in a graph that is too large to walk: the outputs of the largest row of numbered modules.

    Such are the blocks of a deep network, in an nn.Sequential or nn.ModuleList.
    """
    often = Counter(call.module for call in calls)
    rows: dict[str, list[Border]] = {}
    for call in calls:
        parent, _, last = names.of(call.module).rpartition(".")
        weighs = any(parameter.dim() >= 2 for parameter in call.module.parameters())
        if last.isdigit() and weighs and often[call.module] == 1:
            rows.setdefault(parent, []).append(Border(call.results[0], names.of(call.module)))
    return _thinned(max(rows.values(), key=len, default=[])[::-1])


def _thinned(row: list[_T]) -> list[_T]:
    """MOST_LAYERS of a row at most, evenly spaced, with its first and its last."""
    if len(row) <= MOST_LAYERS:
        return row
    return [row[(len(row) - 1) * place // (MOST_LAYERS - 1)] for place in range(MOST_LAYERS)]


def send(borders: list[Border], generator: torch.Generator) -> tuple[float, ...] | None:
    """ln gain at each layer, 0 at the first; None where one border does not lead to the next."""
    cotangent = seed(borders[0].edge, generator)
    size, total = log_norm(cotangent), 0.0
    curve = [0.0]
    for here, there in pairwise(borders):
        if math.isfinite(total):
            (arrived,) = torch.autograd.grad(
                [here.edge], [there.edge], [cotangent], retain_graph=True, allow_unused=True
            )
            if arrived is None:
                return None
            norm = log_norm(arrived)
            change = norm - size
            total += max(change, 0.0) if math.isfinite(change) and not there.counted else change
            if math.isfinite(norm):
                cotangent = renewed(arrived)
                size = log_norm(cotangent)
        if there.layer is not None:
            curve.append(total)
    return tuple(curve)
