"""Recursive networks: which calls are a tree, and the gain down it, against closed forms in float64."""

import math

import pytest
import torch
from torch import nn

import longreach
from longreach.probes.tree import Call, gains, trees
from longreach.quantities.depth import DepthSample


class Sum(nn.Module):
    """Linear: w times an orthogonal matrix times the sum of the children."""

    def __init__(self, width=6, w=0.5):
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False, dtype=torch.float64)
        nn.init.orthogonal_(self.linear.weight).data.mul_(w)

    def forward(self, *children):
        return self.linear(torch.stack(children).sum(0))


class Grown:
    """Builds trees out of a cell and keeps its calls, as the watch sees them."""

    def __init__(self, cell, width=6):
        self.cell, self.width, self.calls = cell, width, []

    def call(self, *arguments):
        given = tuple(part.grad_fn for part in arguments if part.grad_fn is not None)
        result = self.cell(*arguments)
        edges = tuple(
            torch.autograd.graph.get_gradient_edge(part) for part in (result if type(result) is tuple else [result])
        )
        self.calls.append(Call(self.cell, given, edges))
        return result

    def full(self, depth, children=2):
        if depth == 0:
            return self.call(torch.randn(3, self.width, dtype=torch.float64))
        return self.call(*(self.full(depth - 1, children) for _ in range(children)))


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("children", [2, 3])
@pytest.mark.parametrize("w", [0.1, 1.0, 3.0])
def test_a_linear_cell_takes_its_factor_at_every_hop(w, children):
    grown = Grown(Sum(w=w))
    grown.full(4, children)
    (tree,) = trees(grown.calls)
    assert [len(level) for level in tree.levels] == [children**depth for depth in range(5)]
    assert gains(tree, generator()) == pytest.approx([depth * math.log(w) for depth in range(5)], abs=1e-12)


def test_a_lopsided_tree_is_as_deep_as_its_longest_branch():
    grown = Grown(Sum(w=0.5))
    node = grown.full(0)
    for _ in range(5):
        node = grown.call(node, grown.full(0))
    (tree,) = trees(grown.calls)
    assert [len(level) for level in tree.levels] == [1, 2, 2, 2, 2, 2]
    assert gains(tree, generator()) == pytest.approx([depth * math.log(0.5) for depth in range(6)], abs=1e-12)


def test_the_median_over_the_calls_at_one_depth():
    grown = Grown(Sum(w=1.0))
    grown.call(grown.full(0), 0.01 * grown.full(0), 100 * grown.full(0))
    (tree,) = trees(grown.calls)
    assert gains(tree, generator()) == pytest.approx([0.0, 0.0], abs=1e-12)


def test_several_trees_have_several_roots():
    grown = Grown(Sum())
    for _ in range(3):
        grown.full(2)
    (tree,) = trees(grown.calls)
    assert [len(level) for level in tree.levels] == [3, 6, 12]


def test_levels_computed_at_once_are_a_tree():
    cell = Sum()
    grown = Grown(cell)
    level = grown.call(torch.randn(8, 6, dtype=torch.float64))
    for _ in range(3):
        level = grown.call(level[0::2], level[1::2])
    (tree,) = trees(grown.calls)
    assert gains(tree, generator()) == pytest.approx([depth * math.log(0.5) for depth in range(4)], abs=1e-12)


class TreeLSTM(nn.Module):
    """Binary, after Tai, Socher & Manning 2015."""

    def __init__(self, width=6):
        super().__init__()
        self.gates = nn.Linear(2 * width, 5 * width, dtype=torch.float64)

    def forward(self, left, right, left_c, right_c):
        i, o, u, f, g = self.gates(torch.cat([left, right], 1)).chunk(5, 1)
        c = i.sigmoid() * u.tanh() + f.sigmoid() * left_c + g.sigmoid() * right_c
        return o.sigmoid() * c.tanh(), c


def test_of_h_and_c_the_one_that_carries_more():
    cell = TreeLSTM()
    with torch.no_grad():
        cell.gates.weight.zero_()
        cell.gates.bias.zero_()
        cell.gates.bias[18:] = 30.0  # forget gates wide open: the memory passes whole
    grown = Grown(cell)

    def build(depth):
        if depth == 0:
            return grown.call(*(torch.randn(3, 6, dtype=torch.float64) for _ in range(4)))
        (left, left_c), (right, right_c) = build(depth - 1), build(depth - 1)
        return grown.call(left, right, left_c, right_c)

    build(5)
    (tree,) = trees(grown.calls)
    assert [len(level) for level in tree.levels] == [2**depth for depth in range(6)]
    curve = gains(tree, generator())
    assert curve[1:] == pytest.approx([curve[1]] * 5, abs=1e-9)


def test_a_loop_is_no_tree():
    grown = Grown(Sum())
    state = grown.full(0)
    for _ in range(6):
        state = grown.call(state)
    assert trees(grown.calls) == []


def test_nor_is_a_network_whose_results_go_to_several():
    grown = Grown(Sum())
    states = [grown.full(0)]
    for _ in range(6):
        states.append(grown.call(*states[-2:]))
    assert trees(grown.calls) == []


def test_nor_are_calls_that_have_nothing_to_do_with_each_other():
    grown = Grown(Sum())
    for _ in range(6):
        grown.full(0)
    assert trees(grown.calls) == []


class Parser(nn.Module):
    """A recursive network as people write it: trees of nested tuples, one after the other."""

    def __init__(self, cell):
        super().__init__()
        self.words, self.cell, self.head = nn.Embedding(5, 6), cell, nn.Linear(6, 2)

    def encode(self, tree):
        if isinstance(tree, int):
            return self.words(torch.tensor([tree]))
        return self.cell(*(self.encode(part) for part in tree))

    def forward(self, trees):
        return self.head(torch.cat([self.encode(tree) for tree in trees]))


class Cell(nn.Module):
    """One that many people write."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 6)

    def forward(self, left, right):
        return torch.tanh(self.linear(torch.cat([left, right], 1)))


def train(watched, steps=3):
    torch.manual_seed(0)
    model, forest = Parser(Cell()), [(((0, 1), 2), (3, 4)), ((0, (1, (2, (3, 4)))), 0)]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []

    def run():
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(forest).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    if not watched:
        run()
        return losses, None
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        run()
    return losses, watch


def test_a_parser_is_watched_without_a_trace():
    losses, watch = train(True)
    assert losses == train(False)[0]
    assert watch is not None
    assert not [note for note in watch.store.notes() if note.startswith("depth")]
    (samples,) = (found for place, found in watch.store.samples(DepthSample).items() if place == "cell")
    assert {sample.axis for sample in samples} == {"hops"}
    assert samples[0].layers == ("0", "1", "2", "3", "4")
    assert all(after < before for before, after in zip(samples[0].log_gain, samples[0].log_gain[1:], strict=False))
