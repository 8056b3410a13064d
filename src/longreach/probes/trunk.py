"""The trunk of a network: what everything passes on its way between the loss and the lowest layer.

In the graph of a loss, node A dominates node B if every way from the loss to B leads through A. The dominators of the
lowest layer are a chain, and cutting the graph at any of them cuts off all that is below: of a plain network these are
its layers, of a residual one the sums after each block, of a transformer the stream. A weight that is used at many
steps is dominated by none of them: the steps of a recurrent network are no layers, and time is not depth. Nothing of
this asks for modules: a network of bare functions has the same graph.
"""

from collections import deque
from collections.abc import Set
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node

from longreach.probes.autopsy import SAFE_NODES, name_of, parameter_of
from longreach.probes.repeatable import repeatable

# They read a weight at places that the data tell: what comes out is data.
LOOKUPS = ("Embedding", "EmbeddingBag", "IndexSelect", "Index", "Gather")
# What follows a sum over positions, to make a mean of it.
SCALINGS = ("Div", "Mul")


@dataclass(frozen=True)
class Station:
    """A node of the trunk whose result is one tensor.

    weights     those between here and the next station below
    reduces     whether it makes fewer numbers out of more, without a weight: pooling, a mean over time
    repeatable  whether a product from here to the next station can be taken without a trace
    """

    node: Node
    output: int
    weights: tuple[Tensor, ...]
    reduces: bool
    repeatable: bool

    @property
    def edge(self) -> GradientEdge:
        """As torch.autograd.grad takes it."""
        return GradientEdge(self.node, self.output)


def trunk(root: Node, users: dict[Node, int], made: Set[Node] = frozenset()) -> list[Station]:
    """The stations from the loss down to the output of the lowest layer.

    users  what `walk` has found, of a graph that it has walked to its end
    made   nodes whose results are weights that a parametrization has made
    """
    tree = Dominators(root, users, made)
    path = [node for node in tree.trunk() if len(tree.outputs[node]) == 1]
    regions = tree.regions(path)
    stations: list[Station] = []
    smallest, pooled = 0, False
    for node in reversed(path):
        (output,) = tree.outputs[node]
        weights = tuple(tree.weights[one] for one in regions[node] if one in tree.weights)
        size = _numel(node, output)
        pooled = not weights and (size < smallest or (pooled and name_of(node) in SCALINGS))
        smallest = size if weights else min(size, smallest)
        quiet = all(repeatable(one) for one in regions[node] if one not in tree.bare)
        stations.append(Station(node, output, weights, pooled, quiet))
    return stations[::-1]


def walk(root: Node) -> tuple[dict[Node, int], bool]:
    """The nodes behind `root`, each with how many edges lead to it, and whether these are all: SAFE_NODES at most."""
    users = {root: 0}
    frontier = deque([root])
    while frontier and len(users) < SAFE_NODES:
        for before, _ in frontier.popleft().next_functions:
            if before is not None:
                if before not in users:
                    frontier.append(before)
                users[before] = users.get(before, 0) + 1
    return users, not frontier


class Dominators:
    """The dominator tree of a graph, in one pass because a graph of operations has no cycles.

    bare     nodes made of weights alone: no data flow through them
    above    the nearest node that dominates one
    outputs  which of the results of a node are used
    weights  parameters with at least two axes
    owners   for each of them the nearest node on the way of the data that dominates it
    weighs   how many of them a node dominates
    Source   Cooper, Harvey & Kennedy 2001, A simple, fast dominance algorithm
    """

    def __init__(self, root: Node, users: dict[Node, int], made: Set[Node]):
        order = _sorted(root, users)
        parameters = _parameters(order)
        self.root, self.bare = root, _bare(order, parameters | made)
        self.above: dict[Node, Node] = {}
        self.outputs: dict[Node, set[int]] = {root: {0}}
        self._level = {root: 0}
        for node in order:
            if node in self.above:
                self._level[node] = self._level[self.above[node]] + 1
            if node in self._level:  # the others are reached through a penalty on the weights alone
                self._spread(node)
        self.weights = {
            node: leaf
            for node in self._level
            if node in parameters and (leaf := parameter_of(node)) is not None and leaf.dim() >= 2
        }
        self.owners = {self._flowing(node) for node in self.weights}
        self.weighs = dict.fromkeys(self._level, 0) | dict.fromkeys(self.weights, 1)
        for node in reversed(self._level):
            if node in self.above:
                self.weighs[self.above[node]] += self.weighs[node]

    def _spread(self, node: Node) -> None:
        for before, output in node.next_functions:
            # a norm of weights within the loss is no way through the network
            if before is None or (before in self.bare and _numel(before, 0) == 1):
                continue
            self.outputs.setdefault(before, set()).add(output)
            self.above[before] = self._common(self.above[before], node) if before in self.above else node

    def _common(self, one: Node, other: Node) -> Node:
        while one is not other:
            if self._level[one] < self._level[other]:
                one, other = other, one
            one = self.above[one]
        return one

    def _flowing(self, node: Node) -> Node:
        while node in self.bare and node in self.above:
            node = self.above[node]
        return node

    def trunk(self) -> list[Node]:
        """The dominators of the lowest layer, from the loss down.

        The lowest layer is the first in the forward pass among those at least half as deep as the deepest: what lies
        deeper may be in the branch of a block, and what is earlier and less deep is a side entrance.
        """
        below: dict[Node, int] = {}
        for node in self._level:
            above = self.above.get(node)
            below[node] = 0 if above is None else below[above] + (self.weighs[above] > self.weighs[node])
        deepest = max((below[node] for node in self.owners), default=0)
        deep = [node for node in self.owners if 2 * below[node] >= deepest]
        path = [min(deep, key=lambda node: node._sequence_nr(), default=self.root)]
        while path[-1] in self.above:
            path.append(self.above[path[-1]])
        return path[::-1]

    def regions(self, path: list[Node]) -> dict[Node, list[Node]]:
        """For each node of a path the nodes that it dominates and the next one does not, itself among them."""
        home = {node: node for node in path}
        for node in self._level:
            if node not in home:
                home[node] = home[self.above[node]]
        regions: dict[Node, list[Node]] = {node: [] for node in path}
        for node, place in home.items():
            regions[place].append(node)
        return regions


def _sorted(root: Node, users: dict[Node, int]) -> list[Node]:
    """All nodes, each after those that its result goes to."""
    left = dict(users)
    order = [root]
    for node in order:  # grows on the way
        for before, _ in node.next_functions:
            if before is not None:
                left[before] -= 1
                if left[before] == 0:
                    order.append(before)
    return order


def _parameters(order: list[Node]) -> set[Node]:
    """The leaves that are parameters; where none is an nn.Parameter, all of them."""
    leaves = {node: leaf for node in order if (leaf := parameter_of(node)) is not None}
    return {node for node, leaf in leaves.items() if isinstance(leaf, nn.Parameter)} or set(leaves)


def _bare(order: list[Node], given: Set[Node]) -> set[Node]:
    """What is given, and what is computed from that alone: transposed, cast, normalised."""
    bare: set[Node] = set()
    for node in reversed(order):
        before = [one for one, _ in node.next_functions]
        if node in given or (before and all(one in bare for one in before) and name_of(node) not in LOOKUPS):
            bare.add(node)
    return bare


def _numel(node: Node, output: int) -> int:
    """How many numbers a result holds."""
    made = node._input_metadata
    return prod(made[output].shape) if output < len(made) else 0
