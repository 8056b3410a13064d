"""Where the first NaN or infinity of a forward pass is found to have come from, in what people really write."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import longreach.nn as ours
from longreach.probes.autopsy import autopsy
from longreach.probes.names import Names

TIME, ROWS, BAD = 20, 3, 7
FUSED = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
    "our lstm": ours.LSTM,
    "our gru": ours.GRU,
    "our rnn": ours.RNN,
}
# what torch does not fuse on the CPU is a loop over products
OPERATIONS = {"lstm": "LSTM", "our lstm": "LSTM", "our gru": "GRU", "our rnn": "RNN tanh"}
CELLS = {"lstm cell": nn.LSTMCell, "gru cell": nn.GRUCell, "rnn cell": nn.RNNCell}


class Net(nn.Module):
    def __init__(self, kind, *, before=False, **options):
        super().__init__()
        self.embed = nn.Linear(2, 2) if before else nn.Identity()
        self.rnn = (FUSED | CELLS)[kind](2, 4, **options)
        self.head = nn.Linear(8 if options.get("bidirectional") else 4, 1)

    def forward(self, x):
        if isinstance(self.rnn, nn.RNNBase):
            output = self.rnn(self.embed(x))[0]
            return self.head(output[:, -1] if self.rnn.batch_first else output[-1])
        state = torch.zeros(x.shape[1], 4)
        state = (state, state) if isinstance(self.rnn, nn.LSTMCell) else state
        for step in self.embed(x):
            state = self.rnn(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def found(model, loss):
    assert not loss.isfinite().all()
    return autopsy(loss, Names(model), 3)


def batch(bad=math.nan, *, batch_first=False):
    x = torch.randn(TIME, ROWS, 2)
    x[BAD, 1, 1] = bad
    return x.transpose(0, 1).contiguous() if batch_first else x


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("kind", FUSED)
def test_nan_in_the_data_of_a_fused_layer(kind, num_layers, batch_first, bidirectional, before):
    options = {"num_layers": num_layers, "batch_first": batch_first, "bidirectional": bidirectional}
    net = Net(kind, before=before, **options)
    event = found(net, net(batch(batch_first=batch_first)).square().mean())
    assert (event.step, event.direction, event.cause, event.value) == (3, "forward", "data", "nan")
    assert (event.module, event.time_step) == ("embed" if before else "rnn", BAD)
    assert event.operation == ("matmul" if before else OPERATIONS.get(kind, "matmul"))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_nan_in_the_data_of_a_loop_over_cells(kind, before):
    net = Net(kind, before=before)
    event = found(net, net(batch()).mean())
    assert (event.cause, event.module, event.operation, event.time_step) == (
        "data",
        "embed" if before else "rnn",
        "matmul",
        BAD,
    )


def test_infinity_in_the_data_that_becomes_nan_on_its_way():
    net = Net("gru cell", before=True)
    event = found(net, net(batch(math.inf)).mean())
    assert (event.cause, event.module, event.time_step, event.value) == ("data", "embed", BAD, "inf")


def test_nan_in_the_data_of_a_plain_network():
    net = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 1))
    x = torch.randn(ROWS, 2)
    x[0] = math.nan
    event = found(net, net(x).mean())
    assert (event.cause, event.module, event.operation, event.time_step) == ("data", "0", "matmul", None)


@pytest.mark.parametrize(
    ("loss", "operation"),
    [
        (F.mse_loss, "mse_loss"),
        (F.l1_loss, "subtraction"),
        (lambda p, y: ((p - y) ** 2).mean(), "subtraction"),
        (F.binary_cross_entropy_with_logits, "binary_cross_entropy_with_logits"),
    ],
)
def test_nan_in_the_target_is_data_and_no_modules_fault(loss, operation):
    net = Net("lstm")
    event = found(net, loss(net(torch.randn(TIME, ROWS, 2)), torch.full((ROWS, 1), math.nan)))
    assert (event.cause, event.module, event.operation, event.time_step) == ("data", None, operation, None)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_state_that_grows_overflows_at_the_step_that_theory_says(batch_first):
    """h_t = 100 h_{t-1} + 1: about 100^t, beyond the 3.4e38 of float32 from t = 20 on (100^19 = 1e38)."""
    rnn = nn.RNN(1, 1, nonlinearity="relu", bias=False, batch_first=batch_first)
    with torch.no_grad():
        rnn.weight_ih_l0.fill_(1.0)
        rnn.weight_hh_l0.fill_(100.0)
    x = torch.ones(30, 2, 1)
    event = found(rnn, rnn(x.transpose(0, 1) if batch_first else x)[0].mean())
    assert (event.cause, event.module, event.operation) == ("overflow", "rnn", "matmul")
    assert (event.time_step, event.value) == (20, "inf")


def test_a_state_that_grows_the_other_way_overflows_at_the_mirrored_step():
    rnn = nn.RNN(1, 1, nonlinearity="relu", bias=False, bidirectional=True)
    with torch.no_grad():
        for name, weight in rnn.named_parameters():
            weight.fill_(100.0 if name == "weight_hh_l0_reverse" else 0.5)
        rnn.weight_ih_l0_reverse.fill_(1.0)
    assert found(rnn, rnn(torch.ones(30, 2, 1))[0].mean()).time_step == 29 - 20


def test_a_cell_written_by_hand_overflows_at_the_step_that_theory_says():
    """h_t = exp(2 h_{t-1}) from 0: 1, 7.4, 2.6e6, overflow. The first step starts from a constant."""

    class Hand(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.Linear(2, 4)

        def forward(self, x):
            h = torch.zeros(x.shape[1], 4)
            for t in range(len(x)):
                h = torch.exp(0 * self.read(x[t]) + 2 * h)
            return h

    net = Hand()
    event = found(net, net(torch.randn(TIME, ROWS, 2)).mean())
    assert (event.cause, event.module, event.operation, event.time_step) == ("overflow", "read", "exp", 3)


@pytest.mark.parametrize(
    ("head", "operation", "value"),
    [
        (lambda p: torch.log(p * 0), "log", "inf"),
        (lambda p: torch.log1p(-1 - p.abs()), "log1p", "nan"),
        (lambda p: 1 / (p * 0), "division", "inf"),
        (lambda p: p / torch.zeros(1), "division", "inf"),
        (lambda p: (p * 0) / (p * 0), "division", "nan"),
        (lambda p: torch.sqrt(-1 - p.abs()), "sqrt", "nan"),
        (lambda p: (-1 - p.abs()) ** 0.5, "pow", "nan"),
        (lambda p: (1e30 + p.abs()) ** 2, "pow", "inf"),
        (lambda p: torch.exp(1000 + p.abs()), "exp", "inf"),
        (lambda p: torch.softmax(torch.exp(1000 + p.abs()), 0), "exp", "inf"),
        (lambda p: p.masked_fill(p > -1e9, -math.inf).softmax(0), "softmax", "nan"),
        (lambda p: torch.acos(2 + p.abs()), "acos", "nan"),
        (lambda p: (1e30 * p).norm(), "norm", "inf"),
        (lambda p: torch.relu((1e20 * (1 + p.abs())) * (1e20 * (1 + p.abs()))), "multiplication", "inf"),
    ],
)
def test_operations_outside_of_where_they_are_finite(head, operation, value):
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    event = found(net, head(net(torch.randn(ROWS, 2))).mean())
    assert (event.cause, event.module, event.operation, event.value) == ("overflow", "2", operation, value)


def test_a_mask_of_infinities_that_does_no_harm_is_not_blamed():
    net = nn.Linear(2, 4)
    scores = net(torch.randn(ROWS, 2)).masked_fill(torch.eye(ROWS, 4).bool(), -math.inf)
    harmless = scores.softmax(-1).sum() + scores.logsumexp(-1).mean()
    event = found(net, harmless + torch.log(net(torch.randn(ROWS, 2)) * 0).sum())
    assert event.operation == "log"


@pytest.mark.parametrize(
    ("net", "x", "module", "parameter"),
    [
        (Net("lstm"), torch.randn(TIME, ROWS, 2), "rnn", "weight_hh_l0"),
        (Net("gru", num_layers=2), torch.randn(TIME, ROWS, 2), "rnn", "bias_hh_l1"),
        (Net("gru cell"), torch.randn(TIME, ROWS, 2), "rnn", "weight_ih"),
        (nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 1)), torch.tensor([1, 2]), "0", "weight"),
    ],
)
def test_broken_weights(net, x, module, parameter):
    with torch.no_grad():
        net.get_submodule(module).get_parameter(parameter).view(-1)[0] = math.inf
        net.get_submodule(module).get_parameter(parameter).view(-1)[-1] = math.nan
        if isinstance(net, nn.Sequential):
            net[0].weight.fill_(math.nan)
    event = found(net, net(x).mean())
    assert (event.cause, event.module, event.operation, event.value) == ("weights", module, parameter, "nan")


class Blow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x / 0

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_a_function_of_ones_own():
    net = nn.Linear(2, 1)
    event = found(net, Blow.apply(net(torch.randn(ROWS, 2)).exp()).mean())
    assert (event.cause, event.operation, event.value) == ("overflow", "blow", "inf")


def test_a_checkpointed_block_is_not_run_again():
    net, runs = nn.Linear(2, 1), []

    def block(p):
        runs.append(1)
        return torch.log((p * 0).relu())

    event = found(net, checkpoint(block, net(torch.randn(ROWS, 2)), use_reentrant=False).mean())
    assert runs == [1]
    assert (event.cause, event.operation) == ("unknown", None)


def test_what_cannot_be_read_is_unknown():
    net = nn.Linear(2, 1)
    freed = (net(torch.randn(ROWS, 2)) * 0).log().mean()
    freed.backward()
    changed = net(torch.randn(ROWS, 2)) * 0
    loss = changed.log().mean()
    with torch.no_grad():
        changed.add_(1)
    for root in (freed, loss, torch.tensor(math.nan, requires_grad=True)):
        assert found(net, root).cause == "unknown"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision(dtype):
    net = nn.Linear(1, 1, bias=False).to(dtype)
    with torch.no_grad():
        net.weight.fill_(float(torch.finfo(dtype).max) / 2)
    event = found(net, net(torch.full((1, 1), 4.0, dtype=dtype)).sum())
    assert (event.cause, event.module, event.operation, event.value) == ("overflow", "linear", "matmul", "inf")


def test_autocast_overflows_in_half_precision():
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = net(torch.full((ROWS, 2), 6e4)).mean()
    event = found(net, loss)
    assert (event.cause, event.module, event.operation) == ("overflow", "0", "matmul")


def test_a_deep_graph_survives_being_looked_at():
    """Nodes that Python has seen are taken down by recursion: this graph would exhaust the stack."""
    net = nn.Linear(1, 1)
    value = net(torch.ones(1, 1))
    for _ in range(80_000):
        value = value + 0.0
    loss = (0 * value).log().mean()
    event = found(net, loss)
    assert (event.module, event.operation) == ("linear", "log")
    del loss, value
