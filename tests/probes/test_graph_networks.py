"""Graph networks of torch_geometric: their layers are hops, and found like any others."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import longreach
from longreach.diagnosis.exploding_in_depth import exploding_in_depth
from longreach.diagnosis.vanishing_in_depth import vanishing_in_depth
from longreach.probes.depth import along, send
from longreach.probes.names import Names
from longreach.probes.seeds import seed
from longreach.probes.trunk import trunk, walk

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it still compiles by TorchScript while it is imported
    from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv, global_mean_pool

NODES, WIDTH = 60, 16


def graph(seed=0):
    """Edges in both directions, between nodes of one class nine times out of ten; features that half tell the class."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.arange(NODES) % 3
    ends = torch.randint(NODES, (2, 400), generator=generator)
    keep = (kind[ends[0]] == kind[ends[1]]) | (torch.rand(400, generator=generator) < 0.05)
    edges = ends[:, keep]
    x = F.one_hot(kind, 3).float() + torch.randn(NODES, 3, generator=generator)
    return x, torch.cat([edges, edges.flip(0)], dim=1), kind


class Net(nn.Module):
    """Rounds of messages between an encoder and a decoder."""

    def __init__(self, make, depth, *, residual=False, pool=False):
        super().__init__()
        self.encode, self.decode = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 3)
        self.convs = nn.ModuleList(make(WIDTH, WIDTH) for _ in range(depth))
        self.residual, self.pool = residual, pool

    def forward(self, x, edges):
        h = self.encode(x)
        for conv in self.convs:
            # layer norm ahead of each branch, as deep graph networks have it (Li et al. 2020, DeeperGCN)
            h = h + F.relu(conv(F.layer_norm(h, [WIDTH]), edges)) if self.residual else F.relu(conv(h, edges))
        return self.decode(global_mean_pool(h, torch.arange(NODES) // 20) if self.pool else h)


def gin(inputs, outputs):
    return GINConv(nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs)))


def curve(model):
    x, edges, _ = graph()
    loss = model(x, edges).square().mean()
    users, whole = walk(loss.grad_fn)
    assert whole
    borders = along(trunk(loss.grad_fn, users), Names(model))
    layers = [border.layer for border in borders if border.layer is not None]
    return layers, send(borders, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("make", [GCNConv, GATConv, SAGEConv, gin])
@pytest.mark.parametrize("residual", [False, True])
def test_every_round_of_messages_is_a_layer(make, residual):
    layers, gain = curve(Net(make, 6, residual=residual))
    rounds = [name.split(".")[1] for name in layers if name.startswith("convs")]
    assert (layers[0], layers[-1]) == ("decode", "encode")
    assert list(dict.fromkeys(rounds)) == ["5", "4", "3", "2", "1", "0"]
    assert all(map(math.isfinite, gain))


def test_linear_rounds_are_products_with_the_normalised_adjacency():
    model = Net(lambda inputs, outputs: GCNConv(inputs, outputs, bias=False), 3).double()
    messages = GCNConv(NODES, NODES, bias=False).double()
    messages.lin.weight = nn.Parameter(torch.eye(NODES, dtype=torch.float64))
    x, edges, _ = graph()
    adjacency = messages(torch.eye(NODES, dtype=torch.float64), edges).detach()
    h = model.encode(x.double())
    for conv in model.convs:
        h = conv(h, edges)
    users, _ = walk(h.grad_fn)
    borders = along(trunk(h.grad_fn, users), Names(model))
    v = seed(borders[0].edge, torch.Generator().manual_seed(0))
    start, expected = v.norm(), [0.0]
    for conv in reversed(model.convs):
        v = v @ conv.lin.weight.detach()
        v = adjacency.T @ v if conv is not model.convs[0] else v
        expected.append((v.norm() / start).log().item())
    assert [border.layer for border in borders] == ["convs.2.lin", "convs.1.lin", "convs.0.lin", "encode"]
    assert send(borders, torch.Generator().manual_seed(0)) == pytest.approx(expected, abs=1e-12)


def test_pooling_a_graph_is_left_out():
    model = Net(GCNConv, 4, residual=True, pool=True)
    _, gain = curve(model)
    assert all(abs(value) < 2 for value in gain)


def train(model, steps=60):
    x, edges, kind = graph()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with longreach.watch(model, optimizer) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x, edges), kind).backward()
            optimizer.step()
    record = watch.record()
    return [*vanishing_in_depth(record), *exploding_in_depth(record)], record


def test_a_deep_gcn_vanishes_and_a_residual_one_does_not():
    torch.manual_seed(0)
    (finding,), record = train(Net(GCNConv, 16))
    assert (finding.code, finding.severity, finding.where) == ("LR201", "critical", "encode to decode")
    assert record.depth[0].log_gain[-1] < math.log(1e-3)
    found, record = train(Net(GCNConv, 16, residual=True))
    assert found == []
    assert record.depth[0].log_gain[-1] > math.log(0.1)
    assert record.loss is not None
    assert record.loss.values[-1] < 0.5 * record.loss.values[0]
