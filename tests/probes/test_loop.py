"""Cells in a Python loop: the chain is found, and its gain and signal agree with a twin that cuts the state by hand."""

import math

import pytest
import torch
from torch import nn

from longreach.probes import fused, loop
from longreach.watching import Watch

T, B, INPUTS, HIDDEN = 13, 4, 3, 5


@pytest.fixture(autouse=True)
def _known_direction(monkeypatch):
    for module in (fused, loop):
        monkeypatch.setattr(module, "sphere", lambda like, _: tuple(torch.ones_like(part) for part in like))


class Tuned(nn.Module):
    """Base of the networks below: weights large enough for gains of all sizes."""

    def tune(self):
        for parameter in self.double().parameters():
            nn.init.normal_(parameter, std=0.5)
        return self


class TorchCell(Tuned):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell(INPUTS, HIDDEN)
        self.tune()

    def start(self):
        zeros = torch.zeros(B, HIDDEN).double()
        return (zeros, zeros.clone()) if isinstance(self.cell, nn.LSTMCell) else (zeros,)

    def step(self, x, state):
        after = self.cell(x, state if len(state) > 1 else state[0])
        return after if isinstance(after, tuple) else (after,)

    def forward(self, x):
        state = self.start()
        for step in x:
            state = self.step(step, state)
        return state[0]


class Handwritten(nn.Module):
    """A cell as papers' repositories have them: input first, a dictionary of states out."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(INPUTS + HIDDEN, HIDDEN)

    def forward(self, x, *, memory):
        return {"out": x.sum(), "memory": torch.tanh(self.mix(torch.cat([x, memory], 1)))}


class HandwrittenNet(TorchCell):
    def __init__(self):
        Tuned.__init__(self)
        self.cell = Handwritten()
        self.tune()

    def start(self):
        return (torch.zeros(B, HIDDEN).double(),)

    def step(self, x, state):
        return (self.cell(x, memory=state[0])["memory"],)


class OnlyLinears(HandwrittenNet):
    """No cell at all: the loop stands in forward, and only its Linear is a module."""

    def __init__(self):
        Tuned.__init__(self)
        self.inward, self.again = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.tune()

    def step(self, x, state):
        return (torch.tanh(self.inward(x) + self.again(state[0])),)


class MaskedCell(TorchCell):
    """Something stands between the calls: it is part of what is measured."""

    def __init__(self):
        super().__init__(nn.GRUCell)

    def step(self, x, state):
        return (0.9 * super().step(x, state)[0] + 0.05 * x.sum(1, keepdim=True),)


class FusedStepByStep(TorchCell):
    """A decoder: a whole nn.GRU called for one step at a time."""

    def __init__(self):
        Tuned.__init__(self)
        self.cell = nn.GRU(INPUTS, HIDDEN, num_layers=2)
        self.tune()

    def start(self):
        return (torch.zeros(2, B, HIDDEN).double(),)

    def step(self, x, state):
        return (self.cell(x[None], state[0])[1],)


def by_hand(net, x, error_of):
    """ln gain and ln signal of the last state, every lag walked anew from a state made a leaf; medians over rows."""
    states = [net.start()]
    for step in x:
        states.append(net.step(step, states[-1]))
    states = [tuple(part.detach() for part in state) for state in states[1:]]
    rows = 1 if states[0][0].dim() == 3 else 0

    def flat(parts):
        return torch.cat([part.movedim(rows, 0).flatten(1) for part in parts], 1)

    end = tuple(part.clone().requires_grad_() for part in states[-1])
    arrived = torch.autograd.grad(error_of(end[0]), end, allow_unused=True)
    seeds = [
        tuple(torch.ones_like(part) for part in end),
        tuple(torch.zeros_like(p) if a is None else a for a, p in zip(arrived, end, strict=True)),
    ]

    def curve(lags, seed):
        found = []
        for lag in lags:
            leaf = tuple(part.clone().requires_grad_() for part in states[-1 - lag])
            state = leaf
            for step in x[len(x) - lag :]:
                state = net.step(step, state)
            pulled = torch.autograd.grad(state, leaf, seed) if lag else seed
            ratio = flat(pulled).norm(dim=1) / flat(seed).norm(dim=1)
            found.append(float(ratio.log().quantile(0.5)))
        return found

    return lambda lags: [curve(lags, seed) for seed in seeds]


def watched(net, x, error_of):
    with Watch(net) as watch:
        loss = error_of(net(x))
        loss.backward()
        watch.step(loss)
    assert not watch.store.notes()
    return watch


@pytest.mark.parametrize(
    ("build", "name", "kind"),
    [
        (lambda: TorchCell(nn.RNNCell), "cell", "RNN tanh"),
        (lambda: TorchCell(nn.GRUCell), "cell", "GRU"),
        (lambda: TorchCell(nn.LSTMCell), "cell", "LSTM"),
        (HandwrittenNet, "cell", "Handwritten"),
        (FusedStepByStep, "cell", "GRU"),
    ],
    ids=["RNNCell", "GRUCell", "LSTMCell", "handwritten", "GRU step by step"],
)
def test_a_loop_over_cells_agrees_with_a_twin(build, name, kind):
    net, x = build(), torch.randn(T, B, INPUTS).double()
    error_of = lambda h: h.sin().sum()  # noqa: E731
    ((key, (curve,)),) = watched(net, x, error_of).store.curves().items()
    assert (key.module, key.kind, key.direction) == (name, kind, "forward")
    assert curve.lags == tuple(range(T))
    gain, signal = by_hand(net, x, error_of)(curve.lags)
    assert curve.log_gain == pytest.approx(gain, abs=1e-6)
    assert curve.log_signal == pytest.approx(signal, abs=1e-6)


@pytest.mark.parametrize("build", [OnlyLinears, MaskedCell])
def test_where_the_state_is_changed_between_calls_the_last_state_entering_a_call_is_the_anchor(build):
    net, x = build(), torch.randn(T, B, INPUTS).double()
    ((_, (curve,)),) = watched(net, x, lambda h: h.sin().sum()).store.curves().items()
    assert curve.lags == tuple(range(T - 1))
    gain, _ = by_hand(net, x[: T - 1], lambda h: h.sum())(curve.lags)
    assert curve.log_gain == pytest.approx(gain, abs=1e-6)


@pytest.mark.parametrize("r", [0.01, 1.0, 30.0])
def test_a_linear_cell_matches_theory_in_float32(r):
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(r * torch.linalg.qr(torch.randn(6, 6))[0])

        def forward(self, x, h):
            return h @ self.W.T + x

    cell, x = Linear(), torch.zeros(15, 3, 6)

    def run(x):
        h = torch.zeros(3, 6)
        for step in x:
            h = cell(step, h)
        return h

    with Watch(cell) as watch:
        loss = run(x).sum()
        loss.backward()
        watch.step(loss)
    ((_, (curve,)),) = watch.store.curves().items()
    assert curve.log_gain == pytest.approx([lag * math.log(r) for lag in curve.lags], abs=1e-4)


def test_layers_that_share_weights_over_depth_but_not_over_time_are_no_loop():
    net = nn.Sequential(nn.Linear(4, 4), act := nn.ReLU(), nn.Linear(4, 4), act, nn.Linear(4, 4), act)
    with Watch(net) as watch:
        loss = net(torch.randn(3, 4)).sum()
        loss.backward()
        watch.step(loss)
    assert watch.store.curves() == {}


def test_a_model_called_on_one_batch_after_the_other_is_no_loop():
    net = nn.Linear(4, 4)
    with Watch(net) as watch:
        loss = sum(net(torch.randn(3, 4)).sum() for _ in range(6))
        loss.backward()
        watch.step(loss)
    assert watch.store.curves() == {}


def test_a_detached_state_ends_the_chain():
    net, x = TorchCell(nn.GRUCell), torch.randn(12, B, INPUTS).double()
    with Watch(net) as watch:
        state, loss = net.start(), 0.0
        for t, step in enumerate(x):
            state = net.step(step, tuple(part.detach() for part in state) if t == 6 else state)
            loss = loss + state[0].sum()
        loss.backward()
        watch.step(loss)
    ((_, curves),) = watch.store.curves().items()
    assert [curve.lags[-1] for curve in curves] == [5, 5]
