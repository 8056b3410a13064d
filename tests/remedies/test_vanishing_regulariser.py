"""Ω: its closed form against autograd of the formula as it stands, in every way that a layer can be called."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from longreach import nn as ours
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import undo
from longreach.remedies.vanishing_regulariser import SILENT, omega_gradient, vanishing_regulariser

T, B, INPUTS, UNITS = 9, 4, 3, 5
LENGTHS = torch.tensor([9, 4, 7, 1])
F = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
SLOPES = {"tanh": lambda a: 1 - a.tanh() ** 2, "sigmoid": lambda a: a.sigmoid() * (1 - a.sigmoid()),
          "relu": lambda a: (a > 0).double()}  # fmt: skip


def uses(output, h_n):
    """What the loss is made of: the outputs, the last state, or both."""
    mix = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return {"output": (mix * output).sum() ** 2, "h_n": h_n.sin().sum(), "both": (mix * output**2).sum() + h_n.sum()}


def naive(layer, activation, x, use, lengths=None, average=True, cut=0, clip=math.inf):
    """∂Ω/∂W of the authors' code: a loop that keeps every gradient, and autograd of Ω with h and d held constant."""
    w_ih, w_hh, b_ih, b_hh = (p.detach().clone() for p in layer.parameters())
    lengths = [T] * x.shape[1] if lengths is None else lengths.tolist()
    h, sums, states = torch.zeros(x.shape[1], UNITS, dtype=x.dtype), [], []
    for t in range(T):
        running = torch.tensor([t < length for length in lengths])[:, None]
        a = x[t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh
        new = F[activation](a) if a.requires_grad else F[activation](a).requires_grad_()  # nothing came before
        new.retain_grad()
        sums.append(a.detach())
        states.append(new)
        h = torch.where(running, new, h)
        if clip < math.inf:
            h = h.clone()
            h.register_hook(lambda g: g * (clip / g.norm(dim=1, keepdim=True)).clamp(max=1))
        if cut and (t + 1) % cut == 0 and t + 1 < T:
            h = h.detach()
    output = torch.stack([s * torch.tensor([[t < n] for n in lengths]) for t, s in enumerate(states)])
    uses(output, h[None])[use].backward()
    W = w_hh.clone().requires_grad_()
    terms, count = [], 0
    for t, (state, a) in enumerate(zip(states, sums, strict=True)):
        for b in range(x.shape[1]):
            d = state.grad[b]
            if t < lengths[b] and d @ d >= SILENT:
                back = (d * SLOPES[activation](a[b])) @ W
                terms.append((back @ back / (d @ d) - 1) ** 2)
                count += 1
    omega = sum(terms) / (count if average else x.shape[1])
    return torch.autograd.grad(omega, W)[0]


def gradient(layer, loss):
    layer.zero_grad()
    loss().backward()
    return layer.weight_hh_l0.grad.clone()


def difference(layer, loss, **options):
    before = {name: p.grad.clone() for name, p in layer.named_parameters() if gradient(layer, loss) is not None}
    vanishing_regulariser(layer, **options)
    after = gradient(layer, loss)
    for name, p in layer.named_parameters():
        if name != "weight_hh_l0":
            assert torch.equal(p.grad, before[name])
    return after - before["weight_hh_l0"]


def make(activation="tanh", **options):
    layer = ours.RNN(INPUTS, UNITS, nonlinearity=activation, dtype=torch.float64, **options)
    return layer if activation == "sigmoid" else layer.to_torch()


@pytest.fixture
def x():
    return torch.randn(T, B, INPUTS, dtype=torch.float64)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(1)


@pytest.mark.parametrize("normalisation", ["average", "sum"])
@pytest.mark.parametrize("use", ["output", "h_n", "both"])
@pytest.mark.parametrize("activation", F)
def test_the_gradient_of_the_recurrent_weight_alone_gains_that_of_omega(activation, use, normalisation, x):
    layer = make(activation)
    gained = difference(layer, lambda: uses(*layer(x))[use], alpha=0.7, normalisation=normalisation)
    expected = naive(layer, activation, x, use, average=normalisation == "average")
    torch.testing.assert_close(gained, 0.7 * expected, rtol=1e-9, atol=1e-12)


def test_the_sum_is_as_many_times_as_strong_as_there_are_steps(x):
    slopes, weight = torch.rand(T, B, UNITS).double(), torch.randn(UNITS, UNITS).double()
    direct = torch.randn(T, B, UNITS).double()
    summed, averaged = (omega_gradient(weight, slopes, direct, average=average) for average in (False, True))
    torch.testing.assert_close(summed, T * averaged)


@pytest.mark.parametrize("use", ["output", "h_n", "both"])
def test_batch_first_one_sequence_and_packed_ones_give_the_same(use, x):
    layer = make()
    first = make(batch_first=True)
    first.load_state_dict(layer.state_dict())

    def turned():
        output, h_n = first(x.transpose(0, 1))
        return uses(output.transpose(0, 1), h_n)[use]

    torch.testing.assert_close(difference(first, turned, alpha=1.0), naive(layer, "tanh", x, use))

    def single():
        output, h_n = layer(x[:, 0])
        return uses(output[:, None], h_n[:, None])[use]

    torch.testing.assert_close(difference(layer, single, alpha=1.0), naive(layer, "tanh", x[:, :1], use))
    undo(layer)

    def packed():
        output, h_n = layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
        assert isinstance(output, PackedSequence)
        return uses(pad_packed_sequence(output)[0], h_n)[use]

    expected = naive(layer, "tanh", x, use, lengths=LENGTHS)
    torch.testing.assert_close(difference(layer, packed, alpha=1.0), expected)


def test_each_of_several_calls_before_a_backward_pass_adds_its_own(x):
    layer = make()
    others = torch.randn(T, 2, INPUTS, dtype=torch.float64)
    gained = difference(layer, lambda: uses(*layer(x))["h_n"] + uses(*layer(others))["output"], alpha=1.0)
    torch.testing.assert_close(gained, naive(layer, "tanh", x, "h_n") + naive(layer, "tanh", others, "output"))


def test_calls_without_gradient_and_unfinished_ones_leave_nothing_behind(x):
    layer = make()
    expected = gradient(layer, lambda: uses(*layer(x))["h_n"]) + naive(layer, "tanh", x, "h_n")
    vanishing_regulariser(layer, alpha=1.0)
    with torch.no_grad():
        layer(x)
    layer(x)  # never sent back
    into = x.clone().requires_grad_()
    torch.autograd.grad(uses(*layer(into))["output"], into)  # a pass that does not go to the weights
    torch.testing.assert_close(gradient(layer, lambda: uses(*layer(x))["h_n"]), expected)
    torch.testing.assert_close(
        torch.autograd.grad(uses(*layer(x))["h_n"], layer.weight_hh_l0)[0], expected
    )  # as an argument of grad it is the weight all the same


def test_a_frozen_recurrent_weight_is_left_alone(x):
    layer = vanishing_regulariser(make())
    layer.weight_hh_l0.requires_grad_(False)
    uses(*layer(x))["both"].backward()
    assert layer.weight_hh_l0.grad is None


def test_truncation_and_clipping_of_the_layer_are_those_of_the_errors(x):
    layer = ours.RNN(INPUTS, UNITS, dtype=torch.float64, cut=4, clip=0.05)
    gained = difference(layer, lambda: uses(*layer(x))["output"], alpha=1.0)
    torch.testing.assert_close(gained, naive(layer, "tanh", x, "output", cut=4, clip=0.05))


def test_huge_and_tiny_errors_overflow_nothing():
    slopes, weight = torch.rand(T, B, UNITS), torch.randn(UNITS, UNITS)
    direct = torch.randn(T, B, UNITS)
    usual = omega_gradient(weight, slopes, direct, average=True)
    huge = omega_gradient(weight, slopes, 1e25 * direct, average=True)
    torch.testing.assert_close(huge, usual)
    assert not omega_gradient(weight, slopes, 1e-25 * direct, average=True).any()


def test_alpha_may_depend_on_the_number_of_backward_passes(x):
    layer = make()
    plain = gradient(layer, lambda: uses(*layer(x))["both"])
    vanishing_regulariser(layer, alpha=lambda passes: 1 / (1 + passes))
    first, second = (gradient(layer, lambda: uses(*layer(x))["both"]) - plain for _ in range(2))
    torch.testing.assert_close(first, 2 * second)


def test_twice_is_as_once_a_copy_goes_on_and_undo_leaves_nothing(x):
    layer = make()

    def loss(of):
        return lambda: uses(*of(x))["both"]

    plain = gradient(layer, loss(layer))
    vanishing_regulariser(nn.Sequential(layer), alpha=1.0)
    once = gradient(layer, loss(layer))
    twice = gradient(vanishing_regulariser(layer, alpha=5.0), loss(layer))
    assert torch.equal(once, twice)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(gradient(copied, loss(copied)), once)
    undo(layer)
    assert torch.equal(gradient(layer, loss(layer)), plain)
    assert not layer._forward_hooks


def test_it_makes_a_gradient_keep_its_size():
    """Descent on Ω alone: what comes back through 8 steps was lost before, and is not after."""
    torch.set_num_threads(1)
    layer = nn.RNN(2, 20)
    x = torch.randn(8, 16, 2)

    def survival():
        h0 = torch.zeros(1, 16, 20, requires_grad=True)
        return torch.autograd.grad(layer(x, h0)[1].square().sum(), h0)[0].norm().item()

    before = survival()
    vanishing_regulariser(layer, alpha=1.0)
    for _ in range(300):
        layer.zero_grad()
        (1e-3 * layer(x)[1].sum()).backward()
        with torch.no_grad():
            layer.weight_hh_l0 -= 0.02 * layer.weight_hh_l0.grad
    assert before < 0.05 * survival()


def test_what_it_does_not_fit():
    for model in (nn.RNN(2, 3, num_layers=2), nn.RNN(2, 3, bidirectional=True), ours.RNN(2, 3, nonlinearity="elu")):
        with pytest.raises(NotApplicable, match="expected an RNN of one layer and one direction"):
            vanishing_regulariser(model)
    with pytest.raises(NotApplicable, match="expected a torch RNN"):
        vanishing_regulariser(nn.LSTM(2, 3))
    with pytest.raises(ArgumentError, match="alpha: expected a number above 0, got 0"):
        vanishing_regulariser(nn.RNN(2, 3), alpha=0)
    with pytest.raises(ArgumentError, match='expected "average" or "sum", got \'mean\''):
        vanishing_regulariser(nn.RNN(2, 3), normalisation="mean")  # type: ignore[arg-type]
    layer = vanishing_regulariser(ours.RNN(2, 3))
    with pytest.raises(NotApplicable, match="without resets"):
        layer(torch.zeros(4, 1, 2), resets=torch.zeros(4, 1, dtype=torch.bool))
    nn.utils.parametrizations.orthogonal(layer, "weight_hh_l0")
    with pytest.raises(NotApplicable, match="one computed from others"):
        layer(torch.zeros(4, 1, 2))
