"""Modules against themselves in double precision: what is right stays below rounding, what loses digits does not."""

import pytest
import torch
from torch import nn

import longreach
from longreach.probes.crosscheck import Crosschecks
from longreach.quantities.crosscheck import Check, pool
from longreach.watching import Watch


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    from longreach.probes import observe

    monkeypatch.setattr(observe, "PROBES", (Crosschecks,))


def watched(net, shape, *, steps=12, lr=0.01):
    """The comparisons of a small run, by (place, part)."""
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    with Watch(net, opt, budget=1.0) as watch:
        for _ in range(steps):
            opt.zero_grad()
            (net(torch.randn(shape)) - 1).square().mean().backward()
            opt.step()
    assert not watch.store.notes() or "no recurrent layer" in watch.store.notes()[0]
    return {(check.place, check.part): check for check in pool(watch.store.samples(Check))}


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.rnn = kind(6, 16, **options)
        self.head = nn.Linear(32 if options.get("bidirectional") else 16, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


RECURRENT = [
    (nn.LSTM, {}),
    (nn.GRU, {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    (nn.LSTM, {"bias": False}),
    (longreach.nn.LSTM, {"num_layers": 2}),
    (longreach.nn.RNN, {"nonlinearity": "relu"}),
    (longreach.nn.GRU, {"cut": 5}),
]


@pytest.mark.parametrize(("kind", "options"), RECURRENT)
def test_recurrent_layers_are_right(kind, options):
    found = watched(Recurrent(kind, **options), (20, 12, 6))
    assert found["rnn", "output"].error < 1e-3
    assert all(check.error < 1e-3 for check in found.values())
    assert len(found) == 4


def test_all_that_has_weights_and_rows_that_are_mixed():
    net = nn.Sequential(
        *(nn.Conv1d(6, 8, 3), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.GroupNorm(2, 8), nn.Flatten()),
        *(nn.Linear(64, 16), nn.LayerNorm(16), nn.PReLU(), nn.Linear(16, 1)),
    )
    found = watched(net, (32, 6, 10), steps=60, lr=1e-3)
    assert {place for place, _ in found} == {"0", "1", "3", "5", "6", "7", "8"}
    assert all(check.error < 1e-3 and check.against == "replay" for check in found.values())


def test_attention_and_autocast():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.high = nn.Linear(6, 16), nn.Linear(16, 1)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.high(self.layer(self.low(x))).float()

    found = watched(Half(), (8, 10, 6), steps=40)
    assert {check.dtype for check in found.values()} == {"bfloat16"}
    assert all(check.error < 0.02 for check in found.values())
    assert ("layer.self_attn", "output") in found


class Naive(nn.Module):
    """Layer norm by the mean of squares less the square of the mean."""

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        variance = (x * x).mean(-1, keepdim=True) - mean**2
        return (x - mean) / torch.sqrt(variance.clamp(min=1e-5))


class Shift(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x + self.by


@pytest.mark.parametrize(("by", "wrong"), [(0.0, False), (10.0, False), (10000.0, True)])
def test_arithmetic_that_loses_its_digits(by, wrong):
    net = nn.Sequential(nn.Linear(6, 16), Shift(by), Naive(), nn.Linear(16, 1))
    check = watched(net, (32, 6), steps=30, lr=0.0)["2", "output"]
    assert (check.error > 0.1) is wrong
    assert (check.subject, check.shape, check.dtype) == ("Naive", "32x16", "float32")
    good = nn.Sequential(nn.Linear(6, 16), Shift(by), nn.LayerNorm(16), nn.Linear(16, 1))
    assert watched(good, (32, 6), steps=30, lr=0.0)["2", "output"].error < 1e-3


class Kernel(nn.Module):
    """A matrix product whose kernel for single precision forgets the last column, forward or backward."""

    def __init__(self, forward):
        super().__init__()
        self.weight, self.wrong = nn.Parameter(torch.randn(16, 6) / 2), forward

    def forward(self, x):
        if x.dtype != torch.float32:
            return x @ self.weight.T
        last = torch.arange(6) < 5
        weight = self.weight * last if self.wrong else self.weight
        return (x.detach() * ~last + x * last) @ weight.T


@pytest.mark.parametrize(("forward", "part"), [(True, "output"), (False, "input")])
def test_a_kernel_that_is_wrong_in_one_precision(forward, part):
    found = watched(nn.Sequential(Kernel(forward), nn.Tanh(), nn.Linear(16, 1)), (32, 6))
    assert found["0", part].error > 0.1
    assert (found["0", "output"].error < 1e-3) is not forward


def test_a_layer_of_ours_is_held_to_torchs(monkeypatch):
    right = longreach.nn.GRU.forward

    def wrong(self, *arguments):
        output, state = right(self, *arguments)
        return 1.2 * output, state

    monkeypatch.setattr(longreach.nn.GRU, "forward", wrong)
    check = watched(Recurrent(longreach.nn.GRU), (20, 12, 6))["rnn", "output"]
    assert check.error == pytest.approx(1 / 6, abs=0.01)
    assert check.ratio == pytest.approx(1.2, abs=0.01)


class Stateful(nn.Module):
    """Counts its calls, and computes with the count."""

    def __init__(self):
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.ones(16)), 0

    def forward(self, x):
        self.calls += 1
        return x * self.weight * self.calls


def test_what_keeps_a_state_is_asked_as_it_was_and_left_as_it_is():
    net = nn.Sequential(nn.Linear(6, 16), Stateful(), nn.Linear(16, 1))
    found = watched(net, (32, 6), lr=1e-5)
    assert net[1].calls == 12
    assert found["1", "output"].error < 1e-3


@pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.RReLU(), nn.LSTM(16, 16, 2, dropout=0.5)])
def test_what_is_random_is_left_alone(module):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.random, self.high = nn.Linear(6, 16), module, nn.Linear(16, 1)

        def forward(self, x):
            x = self.random(self.low(x))
            return self.high(x[0] if isinstance(x, tuple) else x)

    found = watched(Net(), (9, 4, 6))
    assert {place for place, _ in found} == {"low", "high"}


def test_no_hook_stays():
    net = Recurrent(nn.LSTM)
    watched(net, (20, 12, 6))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
