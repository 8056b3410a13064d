"""Which event counts as the first of a run, and where a gradient stopped being finite."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import longreach


class Net(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Linear(2, 2), rnn, nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0][-1])


def watched(step, *, model=None, steps=4, optimizer=torch.optim.SGD, lr=0.01):
    """The first non-finite number of a run of a few updates; `step(model, number)` gives the loss."""
    model = Net(nn.GRU(2, 4)) if model is None else model
    opt = optimizer(model.parameters(), lr=lr)
    with longreach.watch(model, opt, budget=1.0) as watch:
        for number in range(steps):
            opt.zero_grad()
            step(model, number).backward()
            opt.step()
    assert not watch.store.notes() or "recurrent" in watch.store.notes()[0]
    return watch.store.nonfinite()


def x():
    return torch.randn(9, 3, 2)


def test_finite_runs_have_none():
    assert watched(lambda net, _: net(x()).square().mean()) is None


def test_the_first_event_is_kept_and_not_what_came_of_it():
    event = watched(lambda net, n: net(x() if n < 2 else x() * math.nan).square().mean())
    assert (event.step, event.direction, event.cause, event.module) == (2, "forward", "data", "embed")


def test_an_update_too_large_is_found_in_the_weights_at_the_next_step():
    event = watched(lambda net, _: 1e10 * net(x()).mean(), lr=1e30)
    assert (event.step, event.direction, event.cause) == (1, "forward", "weights")
    assert event.module is not None
    assert event.operation is not None


def test_weights_broken_by_hand():
    def step(net, number):
        if number == 2:
            with torch.no_grad():
                net.rnn.weight_hh_l0[0, 0] = math.nan
        return net(x()).square().mean()

    event = watched(step)
    assert (event.step, event.cause, event.module, event.operation) == (2, "weights", "rnn", "weight_hh_l0")


@pytest.mark.parametrize(
    ("loss", "operation"),
    [
        (lambda p: torch.sqrt(F.mse_loss(p, p.detach())), "sqrt"),
        (lambda p: torch.acos(1 + p - p.detach()).mean(), "acos"),
        (lambda p: ((p - p.detach()) ** 2).sum().pow(0.5), "pow"),
    ],
)
def test_a_slope_without_bound_is_named(loss, operation):
    event = watched(lambda net, n: loss(net(x())) if n == 2 else net(x()).square().mean())
    assert (event.step, event.direction, event.cause) == (2, "backward", "overflow")
    assert (event.module, event.operation) == ("head", operation)


def exploding(size=100.0):
    """A linear walk through time: states stay small, for the errors grow where the inputs are 0."""
    rnn = nn.RNN(2, 4, nonlinearity="relu")
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(size * torch.eye(4))
        rnn.bias_hh_l0.zero_()
        rnn.bias_ih_l0.zero_()
    net = Net(rnn)
    with torch.no_grad():
        net.embed.bias.zero_()
        rnn.weight_ih_l0.fill_(1.0)
        net.embed.weight.fill_(1.0)
    return net


def early_and_tiny():
    """Of 25 steps only the last has an input that is not tiny, so that states stay small and errors grow to 100^24."""
    steps = torch.full((25, 3, 2), 1e-38)
    steps[-1] = 1.0
    return steps


def test_an_exploding_gradient_is_found_where_it_began():
    """The head has a sound gradient; the recurrent layer's has overflown, and so has all below it."""
    event = watched(lambda net, _: net(early_and_tiny()).mean(), model=exploding())
    assert (event.step, event.direction, event.cause, event.module) == (0, "backward", "overflow", "rnn")
    assert event.operation.startswith("the gradient of ")


def test_clipping_does_not_hide_where_it_began():
    net = exploding()
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    with longreach.watch(net, opt, budget=1.0) as watch:
        net(early_and_tiny()).mean().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
    assert watch.store.nonfinite().module == "rnn"


def test_infinite_data_that_leave_the_loss_finite():
    """tanh makes 1 of infinity; the gradient of the weight in front of it is error times infinity."""
    net = nn.RNN(2, 4)
    data = x()
    data[3, 0, 0] = math.inf
    event = watched(lambda net, _: net(data)[0].square().mean(), model=net)
    assert (event.direction, event.cause, event.module, event.operation) == (
        "backward",
        "data",
        "rnn",
        "the gradient of weight_ih_l0",
    )


def test_gradients_that_the_script_throws_away_are_no_event():
    """As a scaler of mixed precision does whenever its scale was too large."""
    net = Net(nn.GRU(2, 4))
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    with longreach.watch(net, opt, budget=1.0) as watch:
        for number in range(4):
            opt.zero_grad()
            loss = net(x()).square().mean()
            (loss.sub(loss.detach()).sqrt() if number == 1 else loss).backward()
            if all(p.grad.isfinite().all() for p in net.parameters()):
                opt.step()
    assert watch.steps == 3
    assert watch.store.nonfinite() is None


def test_gradients_that_end_the_script_are_the_event():
    net = Net(nn.GRU(2, 4))
    opt = torch.optim.SGD(net.parameters(), lr=0.01)

    def train(watch):
        with watch:
            loss = net(x()).square().mean()
            loss.sub(loss.detach()).sqrt().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0, error_if_nonfinite=True)

    watch = longreach.watch(net, opt)
    with pytest.raises(RuntimeError, match="non-finite"):
        train(watch)
    event = watch.store.nonfinite()
    assert (event.direction, event.module, event.operation) == ("backward", "head", "sqrt")


def test_parameters_without_a_module():
    w = torch.zeros(3, requires_grad=True)
    opt = torch.optim.SGD([w], lr=0.1)
    with longreach.watch(nn.Linear(1, 1), opt, budget=1.0) as watch:
        w.sqrt().sum().backward()
        opt.step()
    event = watch.store.nonfinite()
    assert (event.direction, event.module) == ("backward", None)


def test_sparse_gradients_and_half_precision_are_no_obstacle():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(5, 3, sparse=True), nn.Linear(3, 1).bfloat16()

        def forward(self, ids):
            return self.head(self.embed(ids).bfloat16()).float()

    ids = torch.tensor([1, 2])
    assert watched(lambda net, _: net(ids).mean(), model=Tagger()) is None
    event = watched(lambda net, n: (net(ids) - net(ids).detach() * (n > 1)).abs().sqrt().mean(), model=Tagger())
    assert (event.direction, event.module, event.operation) == ("backward", "head", "sqrt")


def test_a_post_mortem_that_fails_leaves_the_event_itself():
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            ctx.mark_non_differentiable()
            return value * math.nan

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    event = watched(lambda net, _: Odd.apply(net(x())).mean())
    assert (event.step, event.direction, event.value) == (0, "forward", "nan")
