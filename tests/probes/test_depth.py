"""Gain over depth against theory and against products written out by hand, in float64."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import longreach
from longreach.probes.depth import Border, Depth, along, blocks, send
from longreach.probes.names import Names
from longreach.probes.probe import Look
from longreach.probes.seeds import log_norm, seed
from longreach.probes.trace import Trace
from longreach.probes.tree import Call
from longreach.probes.trunk import trunk, walk
from longreach.quantities.depth import DepthSample, pool
from longreach.store import Store


def generator():
    return torch.Generator().manual_seed(0)


def curve(model, loss):
    """(layers, ln gain) of a live graph."""
    users, whole = walk(loss.grad_fn)
    assert whole
    borders = along(trunk(loss.grad_fn, users), Names(model))
    layers = tuple(border.layer for border in borders if border.layer is not None)
    return layers, send(borders, generator()) if len(layers) > 1 else (0.0,) * len(layers)


def linears(*widths, bias=True):
    return [nn.Linear(into, out, bias=bias, dtype=torch.float64) for into, out in pairwise(widths)]


def inputs(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# What the numbers are.


def test_a_deep_linear_network_is_the_product_of_its_matrices():
    layers = linears(3, 5, 7, 4, 6)
    model = nn.Sequential(*layers)
    output = model(inputs(2, 3))
    found, gain = curve(model, output.square().mean())
    v = seed(torch.autograd.graph.GradientEdge(output.grad_fn, 0), generator())
    expected, sent = [0.0], v
    for layer in reversed(layers[1:]):
        sent = sent @ layer.weight.detach()
        expected.append(math.log((sent.norm() / v.norm()).item()))
    assert found == ("3", "2", "1", "0")
    assert gain == pytest.approx(expected, abs=1e-12)


def test_orthogonal_layers_keep_a_gradient_whole():
    layers = linears(*[16] * 30)
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    model = nn.Sequential(*layers)
    _, gain = curve(model, model(inputs(4, 16)).sum())
    assert len(gain) == 29
    assert gain == pytest.approx([0.0] * 29, abs=1e-12)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_what_no_float_could_hold(factor):
    layers = linears(*[4] * 30)
    for layer in layers:
        nn.init.orthogonal_(layer.weight).data.mul_(factor)
    with torch.no_grad():
        layers[0].weight.mul_(factor**-29 if factor > 1 else 1.0)  # else the forward pass overflows
    model = nn.Sequential(*layers)
    _, gain = curve(model, model(inputs(2, 4)).sum())
    assert gain[-1] == pytest.approx(28 * math.log(factor), rel=1e-12)


def test_float32_reads_far_below_its_range():
    layers = [nn.Linear(4, 4, bias=False) for _ in range(29)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight).data.mul_(1e-6)
    model = nn.Sequential(*layers)
    _, gain = curve(model, model(torch.randn(2, 4)).sum())
    assert gain[-1] == pytest.approx(28 * math.log(1e-6), rel=1e-5)


def test_a_sigmoid_network_loses_a_quarter_of_its_norms():
    layers = linears(*[8] * 10)
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.Sigmoid())][:-1])
    _, gain = curve(model, model(inputs(6, 8)).sum())
    largest = [math.log(torch.linalg.matrix_norm(layer.weight.detach(), 2).item() / 4) for layer in reversed(layers)]
    for below in range(1, 9):
        assert gain[below] <= sum(largest[:below])


@pytest.mark.parametrize("branch", [0.0, 0.5])
def test_a_residual_network_with_known_branches(branch):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            (self.linear,) = linears(5, 5)
            self.linear.weight.data.copy_(branch * torch.eye(5))

        def forward(self, x):
            return x + self.linear(x)

    model = nn.Sequential(*linears(3, 5), *(Block() for _ in range(6)), *linears(5, 5))
    nn.init.orthogonal_(model[-1].weight)
    layers, gain = curve(model, model(inputs(4, 3)).square().sum())
    assert layers == ("7", *(f"{number}" if number == 0 else f"{number}.linear" for number in range(6, -1, -1)))
    assert gain == pytest.approx([0.0, *(below * math.log(1 + branch) for below in range(7))], abs=1e-12)


def pooled(pooling):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(linears(6, 6, 6, 6))
            for layer in self.layers:
                nn.init.orthogonal_(layer.weight)

        def forward(self, x):
            x = pooling(self.layers[1](self.layers[0](x)))
            return self.layers[2](x)

    return Net()


@pytest.mark.parametrize(
    "pooling",
    [
        lambda x: x.mean(1),
        lambda x: x.sum(1) / 40,
        lambda x: (x * torch.ones(40, 1, dtype=torch.float64)).sum(1) / torch.full((3, 1), 40.0, dtype=torch.float64),
        lambda x: x[:, -1],
        lambda x: x.amax(1),
        lambda x: F.avg_pool1d(x.transpose(1, 2), 8).mean(2),
    ],
)
def test_what_pooling_takes_off_a_norm_is_left_out(pooling):
    model = pooled(pooling)
    _, gain = curve(model, model(inputs(3, 40, 6)).square().sum())
    assert gain == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)


def test_what_a_sum_adds_to_it_counts():
    model = pooled(lambda x: x.sum(1))
    _, gain = curve(model, model(inputs(3, 40, 6)).square().sum())
    assert gain == pytest.approx([0.0, 0.5 * math.log(40), 0.5 * math.log(40)], abs=1e-12)


def test_a_network_drawn_after_he_keeps_gains_near_one_whatever_its_widths():
    widths = [32, 64, 256, 128, 512, 64, 16]
    layers = linears(*widths)
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    _, gain = curve(model, model(inputs(256, 32)).sum())
    assert all(abs(value) < 0.5 for value in gain)


# Which layers there are.


class Gated(nn.Module):
    """Functional: a list of bare weights, multiplied and added by hand."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(4, 4, dtype=torch.float64)) for _ in range(4))

    def forward(self, x):
        for weight in self.weights:
            x = torch.tanh(x @ weight) * torch.sigmoid(x @ weight)
        return x


def test_a_functional_network_has_the_layers_of_its_weights():
    model = Gated()
    assert curve(model, model(inputs(3, 4)).sum())[0] == tuple(f"weights.{number}" for number in (3, 2, 1, 0))


def test_bare_tensors_have_numbers():
    weights = [torch.randn(4, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    x = inputs(3, 4)
    for weight in weights:
        x = torch.relu(x @ weight)
    assert curve(nn.Identity(), x.sum())[0] == ("layer 3", "layer 2", "layer 1")


def test_a_penalty_on_the_weights_is_no_way_round_the_layers():
    model = nn.Sequential(*linears(4, 4, 4, 4))
    penalty = sum(p.norm() for p in model.parameters()) + sum(p.square().sum() for p in model.parameters())
    assert curve(model, model(inputs(3, 4)).sum() + 0.01 * penalty)[0] == ("2", "1", "0")


def test_weights_made_of_other_weights_are_no_layers():
    layers = linears(4, 4, 4, 4)
    model = nn.Sequential(parametrizations.weight_norm(layers[0]), layers[1], parametrizations.weight_norm(layers[2]))
    assert curve(model, model(inputs(3, 4)).sum())[0] == ("2", "1", "0")


@pytest.mark.parametrize("made", [parametrizations.spectral_norm, parametrizations.orthogonal])
def test_nor_are_those_that_constants_helped_to_make(made):
    layers = [made(layer) for layer in linears(4, 4, 4, 4)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with longreach.watch(model, optimizer) as watch:
        model(inputs(3, 4)).sum().backward()
        optimizer.step()
    assert set(watch.store.samples(DepthSample)) == {"0 to 2"}


@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("pick", [lambda out: out[-1], lambda out: out.mean(0), lambda out: out])
def test_time_is_not_depth(cell, pick):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.entry, self.rnn, self.head = nn.Linear(3, 4), cell(4, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(pick(self.rnn(self.entry(x))[0]))

    model = Net()
    layers, _ = curve(model, model(torch.randn(20, 3, 3)).sum())
    assert layers[0] == "head"
    assert layers[-1] == "entry"
    assert set(layers) == {"head", "rnn", "entry"}
    assert len(layers) <= 4  # the scan, and the product with the inputs of all steps


def test_nor_is_a_loop_over_cells():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(3, 5), nn.Linear(5, 2)

        def forward(self, x):
            h = torch.zeros(x.shape[1], 5)
            for step in x:
                h = self.cell(step, h)
            return self.head(h)

    model = Net()
    assert curve(model, model(torch.randn(20, 3, 3)).sum())[0] == ("head", "cell")


def test_a_transformer_is_its_stream():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(9, 8), nn.Embedding(6, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(8, 9)

        def forward(self, ids):
            return self.head(self.body(self.words(ids) + self.places(torch.arange(6))))

    model = Net()
    layers, gain = curve(model, model(torch.randint(9, (4, 6))).sum())
    blocks = [f"body.layers.{number}{part}" for number in (1, 0) for part in ("", ".self_attn")]
    assert layers == ("head", *blocks, "places", "words")
    assert all(abs(value) < 3 for value in gain)


def test_a_side_entrance_is_not_the_lowest_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.condition, self.stem, self.head = *linears(2, 8), *linears(3, 8), *linears(8, 2)
            self.blocks = nn.ModuleList(linears(*[8] * 6))

        def forward(self, x, when):
            told, x = self.condition(when), self.stem(x)
            for block in self.blocks:
                x = x + torch.tanh(block(x) + told)
            return self.head(x)

    model = Net()
    layers, _ = curve(model, model(inputs(3, 3), inputs(3, 2)).sum())
    assert layers == ("head", *(f"blocks.{number}" for number in (4, 3, 2, 1, 0)), "stem")


def test_a_tied_weight_belongs_to_the_higher_place():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.body = nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

        def forward(self, ids):
            return self.body(self.words(ids)) @ self.words.weight.T

    model = Net()
    assert curve(model, model(torch.randint(9, (5,))).sum())[0] == ("words", "body.2", "body.0")


def test_layers_beyond_sixty_four_are_thinned_and_the_ends_stay():
    model = nn.Sequential(*linears(*[2] * 101))
    layers, _ = curve(model, model(inputs(2, 2)).sum())
    assert (len(layers), layers[0], layers[-1]) == (64, "99", "0")


def test_of_a_graph_too_large_to_walk_the_numbered_blocks_stand_for_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            (self.linear,) = linears(4, 4, bias=False)
            nn.init.orthogonal_(self.linear.weight)

        def forward(self, x):
            for _ in range(60):
                x = x * 1.0
            return 0.5 * self.linear(x)

    model = nn.ModuleDict({"blocks": nn.ModuleList(Block() for _ in range(40))})
    x, calls = inputs(3, 4), []
    for block in model["blocks"]:
        x = block(x)
        calls.append(Call(block, (), (torch.autograd.graph.get_gradient_edge(x),)))
    assert not walk(x.grad_fn)[1]
    borders = blocks(calls, Names(model))
    assert [border.layer for border in borders] == [f"blocks.{number}" for number in range(39, -1, -1)]
    assert send(borders, generator()) == pytest.approx([below * math.log(0.5) for below in range(40)], rel=1e-12)


def test_blocks_that_do_not_feed_each_other_have_no_curve():
    x = inputs(2, 3)
    ends = [torch.autograd.graph.get_gradient_edge(layer(x)) for layer in linears(3, 3, 3)]
    assert send([Border(edge, "branch") for edge in ends], generator()) is None


# What a product on the live graph may not do.


class Counted(torch.autograd.Function):
    """Its backward leaves a trace."""

    calls = 0

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        Counted.calls += 1
        return gradient


def net(between):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.high = nn.Sequential(*linears(4, 4, 4, 4)), nn.Sequential(*linears(4, 4, 4))

        def forward(self, x):
            return self.high(between(self.low, x))

    return Net()


def test_a_function_written_by_hand_is_not_passed():
    model = net(lambda low, x: Counted.apply(low(x)))
    Counted.calls = 0
    assert curve(model, model(inputs(3, 4)).sum())[0] == ("low.2", "low.1", "low.0")
    assert Counted.calls == 0


def test_a_checkpointed_block_is_not_computed_again():
    forwards = []

    def low_again(low, x):
        low[0].register_forward_hook(lambda *_: forwards.append(1))
        return checkpoint(low, x, use_reentrant=False)

    model = net(low_again)
    loss = model(inputs(3, 4).requires_grad_()).sum()
    assert curve(model, loss)[0] == ("high.1", "high.0", "low.2")
    assert forwards == [1]


def train(model, x, watched, steps=4, **options):
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    losses = []

    def steps_of_training():
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    if not watched:
        steps_of_training()
        return losses, None
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        steps_of_training()
    return losses, watch


ODD = {
    "dropout": lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4)),
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 4)),
    "in place": lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.Linear(4, 4)),
    "shared": lambda: nn.Sequential(*[nn.Linear(4, 4)] * 5),
    "checkpointed": lambda: net_of_floats(lambda low, x: checkpoint(low, x, use_reentrant=False)),
    "by hand": lambda: net_of_floats(lambda low, x: Counted.apply(low(x))),
    "frozen": lambda: frozen(nn.Sequential(*[nn.Linear(4, 4) for _ in range(5)])),
    "complex": lambda: Complex(),
}


def net_of_floats(between):
    return net(between).float()


def frozen(model):
    model[1].requires_grad_(False)
    return model


class Complex(nn.Module):
    """Complex numbers inside."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(4, 4, dtype=torch.complex64)) for _ in range(3))

    def forward(self, x):
        x = x.to(torch.complex64)
        for weight in self.weights:
            x = x @ weight
        return x.abs()


@pytest.mark.parametrize("kind", ODD)
def test_odd_models_train_to_the_last_bit(kind):
    runs = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = ODD[kind]()
        losses, watch = train(model, torch.randn(8, 4), watched)
        runs.append((losses, [p.detach().clone() for p in model.parameters()], list(model.buffers())))
    (plain, weights, buffers), (losses, watched_weights, watched_buffers) = runs
    assert losses == plain
    assert all(map(torch.equal, weights, watched_weights))
    assert all(map(torch.equal, buffers, watched_buffers))
    assert watch is not None
    assert not [note for note in watch.store.notes() if note.startswith("depth")]


def test_hooks_and_retained_gradients_of_the_script_see_one_backward_pass():
    seen, kept = [], []

    class Net(nn.Sequential):
        def forward(self, x):
            for layer in self:
                x = layer(x)
                x.register_hook(lambda gradient: seen.append(gradient.clone()))
                x.retain_grad()
                kept.append(x)
            return x

    _, watch = train(Net(*[nn.Linear(4, 4) for _ in range(4)]), torch.randn(8, 4), True, steps=1)
    assert watch is not None
    assert len(watch.store.samples(DepthSample)) == 1
    assert len(seen) == 4
    assert all(torch.equal(tensor.grad, gradient) for tensor, gradient in zip(reversed(kept), seen, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_gain_is_that_of_float32(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(32, 32), nn.Tanh())])
    x = torch.randn(64, 32)
    _, whole = curve(model, model(x).float().square().mean())
    with torch.autocast("cpu", dtype=dtype):
        loss = model(x).float().square().mean()
    layers, half = curve(model, loss)
    assert len(layers) == 8
    assert half == pytest.approx(whole, abs=0.05)


def test_passes_whose_result_is_gone_are_let_go():
    probe, model, block = Depth(), nn.Identity(), nn.Identity()
    trace = Trace(only=None, most_rows=1, turn=0)
    trace.roots[model] = None
    look = Look(0, True, Names(), Store.create(None), generator(), trace)
    probe.opened(look)
    for _ in range(5):
        output = torch.randn(3, 4, requires_grad=True)  # an evaluation that forgot to turn gradients off
        for _ in range(20):
            output = output * 1.0
            probe.saw(look, block, [], [output])
        probe.saw(look, model, [], [output])
    assert [len(one.calls) for one in probe._passes] == [21, 0]


def test_the_generator_of_the_script_is_left_alone():
    torch.manual_seed(5)
    train(nn.Sequential(*[nn.Linear(4, 4) for _ in range(4)]), torch.randn(8, 4), True)
    after = torch.rand(1)
    torch.manual_seed(5)
    train(nn.Sequential(*[nn.Linear(4, 4) for _ in range(4)]), torch.randn(8, 4), False)
    assert torch.equal(torch.rand(1), after)


# Seeds, and what the samples say together.


def test_a_large_result_gets_a_gradient_in_some_rows_only(monkeypatch):
    monkeypatch.setattr("longreach.probes.seeds.MOST_DRAWN", 30)
    layer = nn.Linear(4, 10)
    edge = torch.autograd.graph.get_gradient_edge(layer(torch.randn(2, 6, 4)))
    drawn = seed(edge, generator())
    rows = drawn.view(-1, 10).abs().sum(1).nonzero().flatten().tolist()
    assert drawn.shape == (2, 6, 10)
    assert rows == [0, 4, 8]


def test_an_empty_batch_has_no_gain():
    model = nn.Sequential(*linears(4, 4, 4, 4))
    _, gain = curve(model, model(inputs(0, 4)).sum())
    assert gain is not None
    assert all(map(math.isnan, gain[1:]))


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.tensor([3.0, 4.0]), math.log(5.0)),
        (torch.tensor([3e-40, 4e-40]), math.log(5e-40)),
        (torch.tensor([3e30, 4e30]), math.log(5e30)),
        (torch.tensor([3 + 4j]), math.log(5.0)),
        (torch.zeros(3), -math.inf),
        (torch.zeros(0), -math.inf),
    ],
)
def test_norms_out_of_the_way_of_under_and_overflow(tensor, expected):
    assert log_norm(tensor) == pytest.approx(expected, rel=1e-5)


def test_the_norm_of_what_is_not_finite_is_no_number():
    assert all(math.isnan(log_norm(torch.tensor([1.0, value]))) for value in (math.nan, math.inf))


def test_pooling_takes_the_median_of_the_second_half():
    def sample(step, *gain, layers=("c", "b", "a")):
        return DepthSample("a to c", step, "layers", layers, (0.0, *gain))

    samples = [
        sample(0, -9.0, -19.0),
        sample(50, -2.0, -4.0),
        sample(70, -4.0, -7.0),
        sample(80, math.nan, math.nan),
        sample(90, 1.0, layers=("c", "a")),
        sample(100, -3.0, -5.0),
    ]
    (found,) = pool({"a to c": samples})
    assert (found.log_gain, found.at_start, found.growth, found.samples) == ((0, -3, -5), (0, -9, -19), -2.5, 3)
    assert pool({"a to c": samples[3:4]}) == ()


def test_a_network_of_two_layers_says_nothing_about_depth():
    _, watch = train(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.randn(8, 4), True)
    assert watch is not None
    assert watch.store.samples(DepthSample) == {}


def test_two_networks_trained_in_turn_are_two():
    critic, maker = nn.Sequential(*linears(4, 4, 4, 1)), nn.Sequential(*linears(2, 4, 4, 4))
    optimizers = [torch.optim.SGD(one.parameters(), 0.01) for one in (critic, maker)]
    model = nn.ModuleDict({"critic": critic, "maker": maker})
    with longreach.watch(model, budget=1.0) as watch:
        for number in range(8):
            made = maker(inputs(3, 2))
            critic(made if number % 2 else made.detach()).sum().backward()
            optimizers[number % 2].step()
            watch.step()
    assert set(watch.store.samples(DepthSample)) == {"critic.0 to critic.2", "maker.0 to critic.2"}
