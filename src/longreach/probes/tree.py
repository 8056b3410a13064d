"""Trees: one module called again and again, each time on what several earlier calls of it gave.

A recursive network runs from the leaves of a tree to its root, and depth is the number of hops from the root. A loop
over time is a tree without branches, and belongs to `loop.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node

from longreach.probes.autopsy import SAFE_NODES
from longreach.probes.seeds import log_norm, seed

FEWEST_CALLS = 4
# Nodes looked at between a call and those that feed it.
LONGEST_SEARCH = 200
MOST_ROOTS, MOST_CALLS = 8, 512


@dataclass(frozen=True)
class Call:
    """One call of a module: the nodes that made its arguments, and its results."""

    module: nn.Module
    given: tuple[Node, ...]
    results: tuple[GradientEdge, ...]


@dataclass(frozen=True)
class Tree:
    """Calls of one module by their distance from the root: levels[0] holds the roots."""

    module: nn.Module
    levels: list[list[Call]]


def trees(calls: Sequence[Call]) -> list[Tree]:
    """The trees among the calls of one forward pass; of modules within one another, the outermost."""
    of: dict[nn.Module, list[Call]] = {}
    for call in calls:
        of.setdefault(call.module, []).append(call)
    found = []
    for module, own in of.items():
        shared = any(parameter.dim() >= 2 for parameter in module.parameters())
        if len(own) >= FEWEST_CALLS and shared and (tree := _tree(module, own)) is not None:
            found.append(tree)
    inner = {part for tree in found for part in tree.module.modules() if part is not tree.module}
    return [tree for tree in found if tree.module not in inner]


def gains(tree: Tree, generator: torch.Generator) -> list[float]:
    """ln gain(d) = median over the calls d hops from their root of ln rms(∂⟨v, root⟩/∂result) / rms(v), v random.

    Root mean squares and not norms, because one call may compute a whole level of nodes, twice as many as the next.
    Of a call with several results, h and c, the one that the most arrives at: what goes from c through h is part of
    what arrives at c.
    Cost   one vector-Jacobian product from the roots to the leaves
    Range  of the results' dtype: a gain below 1e-38 reads 0 in float32
    """
    roots, below = tree.levels[0], tree.levels[1:]
    starts = [edge for call in roots for edge in call.results]
    seeds = [seed(edge, generator) for edge in starts]
    ends = [edge for level in below for call in level for edge in call.results]
    arrived = torch.autograd.grad(starts, ends, seeds, retain_graph=True, allow_unused=True)
    sent = median(map(_log_rms, seeds))
    sizes = iter([-math.inf if part is None else _log_rms(part) - sent for part in arrived])
    curve = [[max(next(sizes) for _ in call.results) for call in level] for level in below]
    return [0.0, *(median(level) for level in curve)]


def _log_rms(tensor: Tensor) -> float:
    return log_norm(tensor) - 0.5 * math.log(max(1, tensor.numel()))


def _tree(module: nn.Module, calls: list[Call]) -> Tree | None:
    """The calls as trees; None if some call feeds several others, or if nothing branches."""
    calls = calls[-MOST_CALLS:]
    made_by = {edge.node: number for number, call in enumerate(calls) for edge in call.results}
    fed: dict[int, int] = {}
    branches = len({tuple(call.results[0].node._input_metadata[0].shape) for call in calls}) > 1
    room = SAFE_NODES
    for number, call in enumerate(calls):
        children, looked_at = _feeding(call, made_by, room)
        room -= looked_at
        branches = branches or len(children) > 1
        for child in children:
            if fed.setdefault(child, number) != number:
                return None
    roots = [number for number in range(len(calls)) if number not in fed][-MOST_ROOTS:]
    if not branches or not fed or room <= 0:
        return None
    levels = [roots]
    while following := [child for child, parent in fed.items() if parent in set(levels[-1])]:
        levels.append(following)
    return Tree(module, [[calls[number] for number in level] for level in levels]) if len(levels) > 1 else None


def _feeding(call: Call, made_by: dict[Node, int], room: int) -> tuple[set[int], int]:
    """The calls whose results went into this one, and how many nodes were looked at."""
    children: set[int] = set()
    frontier, seen = list(call.given), set(call.given)
    while frontier and len(seen) < min(LONGEST_SEARCH, room):
        node = frontier.pop(0)
        if node in made_by:
            children.add(made_by[node])
            continue
        before = {above for above, _ in node.next_functions if above is not None} - seen
        seen |= before
        frontier += before
    return children, len(seen)
