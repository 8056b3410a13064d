"""forget-bias: gates that start open for as long as the sequences last."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.utils.rnn import pack_sequence

from longreach import remedies
from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import LSTM, Recurrent, cells


def gate(layer, number, of, place=""):
    """Both biases of a gate together, and how many of them are 0."""
    pair = [getattr(layer, f"bias_{kind}{place}").detach().chunk(of)[number] for kind in ("ih", "hh")]
    return pair[0] + pair[1], pair[1]


def test_memories_of_an_lstm_are_spread_over_the_horizon():
    layer = remedies.forget_bias(nn.LSTM(3, 2000, 2, bidirectional=True), horizon=50)
    for place in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        (f, f_h), (i, i_h) = gate(layer, 1, 4, place), gate(layer, 0, 4, place)
        u = f.exp()  # uniform in [1, 49]: mean 25, variance 48²/12
        assert u.min() >= 1
        assert u.max() <= 49
        assert abs(u.mean() - 25) < 4 * 48 / (12 * 2000) ** 0.5
        assert abs(u.var() / (48**2 / 12) - 1) < 0.1
        assert torch.equal(i, -f)
        assert not f_h.any()
        assert not i_h.any()


def test_a_gru_keeps_by_z():
    layer = nn.GRU(3, 500)
    before = copy.deepcopy(layer.state_dict())
    z, _ = gate(remedies.forget_bias(layer, horizon=20), 1, 3, "_l0")
    u = z.exp()
    assert 1 <= u.min() < 2
    assert 18 < u.max() <= 19
    for key, own in layer.state_dict().items():  # r and n as they were
        for block, old in zip(own.chunk(3)[::2], before[key].chunk(3)[::2], strict=True):
            assert torch.equal(block, old)


def test_a_quiet_memory_decays_as_the_gate_says():
    cell = remedies.forget_bias(nn.LSTMCell(3, 8, dtype=torch.float64), horizon=40)
    with torch.no_grad():
        cell.weight_hh.zero_()
    c = torch.ones(1, 8, dtype=torch.float64, requires_grad=True)
    state = torch.zeros(1, 8, dtype=torch.float64), c
    for _ in range(30):
        state = cell(torch.zeros(1, 3, dtype=torch.float64), state)
    u = gate(cell, 1, 4)[0].exp()
    torch.testing.assert_close(torch.autograd.grad(state[1].sum(), c)[0][0], (u / (1 + u)) ** 30)


INPUTS = {
    "time first": (False, lambda: torch.randn(60, 2, 3)),
    "batch first": (True, lambda: torch.randn(2, 60, 3)),
    "unbatched": (True, lambda: torch.randn(60, 3)),
    "packed": (False, lambda: pack_sequence([torch.randn(60, 3), torch.randn(20, 3)])),
}


@pytest.mark.parametrize("layout", INPUTS)
def test_without_a_horizon_it_is_what_is_read_first_in_training(layout):
    batch_first, build = INPUTS[layout]
    layer = nn.LSTM(3, 300, batch_first=batch_first)
    before, asked = copy.deepcopy(layer), copy.deepcopy(layer)
    assert remedies.forget_bias(layer) is layer
    x = build()
    layer.eval()(x)
    with torch.no_grad():
        layer.train()(x)
    assert all(torch.equal(own, old) for own, old in zip(layer.parameters(), before.parameters(), strict=True))
    layer(x)
    remedies.forget_bias(asked, horizon=60)
    assert all(torch.equal(own, as_asked) for own, as_asked in zip(layer.parameters(), asked.parameters(), strict=True))
    layer(torch.cat([x, x]) if isinstance(x, torch.Tensor) else x)  # it is gone
    assert all(torch.equal(own, as_asked) for own, as_asked in zip(layer.parameters(), asked.parameters(), strict=True))


def test_the_cells_of_a_recurrent_learn_the_length_from_it_and_lone_cells_take_100():
    recurrent, cell = Recurrent(cells.GRU, 3, 400, 2), cells.LSTM(3, 400)
    model = nn.ModuleList([recurrent, cell])
    remedies.forget_bias(model)
    recurrent(torch.randn(30, 2, 3))
    for part in recurrent.cells:
        assert 27 < gate(part, 1, 3)[0].exp().max() <= 29
    assert 94 < gate(cell, 1, 4)[0].exp().max() <= 99


@pytest.mark.parametrize("horizon", [None, 30])
def test_undo_brings_back_the_bits_and_twice_is_once(horizon):
    layer = nn.LSTM(3, 5)
    before = copy.deepcopy(layer.state_dict())
    remedies.forget_bias(layer, horizon=horizon)
    remedies.forget_bias(layer, horizon=horizon)
    hooks = len(layer._forward_pre_hooks)
    assert hooks == (horizon is None)
    copied = copy.deepcopy(layer)
    for one in (layer, copied):
        one(torch.randn(30, 2, 3))
        assert not one._forward_pre_hooks
    assert torch.equal(layer.bias_ih_l0, copied.bias_ih_l0)
    remedies.undo(layer)
    assert all(torch.equal(own, before[key]) for key, own in layer.state_dict().items())


def test_called_off_before_it_was_due():
    layer = remedies.undo(remedies.forget_bias(nn.GRU(3, 5)))
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(30, 2, 3))
    assert all(torch.equal(own, before[key]) for key, own in layer.state_dict().items())


def test_what_it_does_not_fit():
    with pytest.raises(NotApplicable, match=r"forget-bias: expected a torch LSTM or GRU, its cell.*got RNN"):
        remedies.forget_bias(nn.RNN(3, 5))
    with pytest.raises(NotApplicable, match=r"forget-bias: expected an LSTM or GRU with biases, got bias=False in GRU"):
        remedies.forget_bias(nn.GRU(3, 5, bias=False))
    with pytest.raises(ArgumentError, match=r"horizon: expected 3 steps or more, got 2"):
        remedies.forget_bias(nn.GRU(3, 5), horizon=2)


def test_a_first_symbol_is_remembered_over_60_steps_where_a_plain_start_forgets():
    # as in the copying task of Tallec & Ollivier 2018, section 4, with one symbol
    def loss_after(treated):
        torch.manual_seed(0)
        model = nn.ModuleList([LSTM(8, 32), nn.Linear(32, 4)])
        if treated:
            remedies.forget_bias(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(200):
            label = torch.randint(4, (32,))
            tokens = torch.cat([label[None], torch.randint(4, 8, (60, 32))])
            loss = cross_entropy(model[1](model[0](one_hot(tokens, 8).float())[1][0][0]), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return sum(losses[-20:]) / 20

    assert loss_after(treated=False) > 1.3  # ln 4 = 1.386
    assert loss_after(treated=True) < 0.3
