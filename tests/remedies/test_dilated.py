"""Dilated recurrence from outside: k times the reach, the layer's own weights, all networks in what is shown."""

import math

import pytest
import torch
from torch import nn

import longreach
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import dilated, undo

T, B, F, H = 13, 3, 2, 4


def naive(layer, x, lag):
    """h of every step by torch's own cell on the state `lag` steps back, and the mean over the last `lag` of them."""
    cell = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[type(layer)](F, H, bias=layer.bias).double()
    with torch.no_grad():
        for name, own in cell.named_parameters():
            own.copy_(getattr(layer, f"{name}_l0"))
    zero = torch.zeros(x.shape[1], H).double()
    states = [(zero, zero) if isinstance(cell, nn.LSTMCell) else zero] * lag
    for row in x:
        states.append(cell(row, states[-lag]))
    h = torch.stack([state[0] if isinstance(state, tuple) else state for state in states])
    return h.unfold(0, lag, 1).mean(-1)[1:]


@pytest.mark.parametrize("lag", [1, 3, 8])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_it_is_the_loop_that_anybody_would_write(kind, lag):
    layer, x = kind(F, H, bias=kind is not nn.GRU).double(), torch.randn(T, B, F).double().requires_grad_()
    truth, plain = naive(layer, x, lag), layer(x)[0]
    dilated(dilated(layer, lag=lag), lag=2)
    found, state = layer(x)
    torch.testing.assert_close(found, truth)
    gradients = [torch.autograd.grad(y.sin().sum(), x, retain_graph=True)[0] for y in (found, truth)]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close((state[0] if kind is nn.LSTM else state)[0], truth[-1])
    first, state = layer(x[:5])
    torch.testing.assert_close(torch.cat([first, layer(x[5:], state)[0]]), truth)
    packed = nn.utils.rnn.pack_sequence([x[:, 0], x[:7, 1]])
    rows, _ = nn.utils.rnn.pad_packed_sequence(layer(packed)[0])
    torch.testing.assert_close(rows[:, 0], truth[:, 0])
    undo(layer)
    assert torch.equal(layer(x)[0], plain)


def test_both_directions():
    layer, x = nn.GRU(F, H, bidirectional=True).double(), torch.randn(T, B, F).double()
    other = nn.GRU(F, H).double()
    other.load_state_dict({name: getattr(layer, f"{name}_reverse") for name in other.state_dict()})
    dilated(layer, lag=3)
    dilated(other, lag=3)
    torch.testing.assert_close(layer(x)[0][..., H:], other(x.flip(0))[0].flip(0))


def test_a_linear_network_reaches_as_many_times_as_far_as_the_lag():
    """With nothing put in, tanh is linear: W = r Q keeps r of a gradient every `lag` steps."""
    layer = nn.RNN(1, 6, bias=False).double()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(0.5 * torch.linalg.qr(torch.randn(6, 6).double())[0])
    x = torch.zeros(100, 2, 1).double()

    def reach():
        return longreach.measure(layer, (x, None), lambda out, _: out[0][-1].sum()).layers[0].reach

    assert reach().lag == 6
    dilated(layer, lag=8)
    after = reach()
    at = dict(zip(after.lags, after.log_gain, strict=True))
    assert [at[lag] for lag in (8, 16, 32)] == pytest.approx([n * math.log(0.5) for n in (1, 2, 4)], abs=1e-6)
    assert 6 * 8 <= after.lag < 7 * 8


def test_what_it_cannot_do():
    with pytest.raises(NotApplicable, match="dilated: expected an RNN, GRU or LSTM"):
        dilated(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="lag: expected a number of steps, 1 or more, got 0"):
        dilated(nn.RNN(2, 2), lag=0)
