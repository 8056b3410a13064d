"""An LSTM where an RNN or a GRU stood: it carries by its forget gate, and the script does not notice."""

import math

import pytest
import torch
from torch import nn

import longreach
from longreach.errors import NotApplicable
from longreach.nn import Recurrent, cells
from longreach.remedies import applied, lstm, undo


def reach_of(model, x):
    (layer,) = longreach.measure(model, (x, None), lambda out, _: out[0][-1].sum()).layers
    return layer


@pytest.mark.parametrize("layer", [nn.RNN(2, 64), nn.GRU(2, 64), Recurrent(cells.Elman, 2, 64)])
def test_a_gradient_is_carried_by_the_forget_gate(layer):
    x = torch.randn(40, 4, 2)
    before = reach_of(layer, x)
    assert lstm(layer, forget_bias=4.0) is layer
    after = reach_of(layer, x)
    assert after.kind == "LSTM"
    assert after.reach.lag == 39 > 2 * before.reach.lag
    with torch.no_grad():  # the gates no longer see the state: c is all that carries, by f = σ(4)
        for name, own in layer.named_parameters():
            if "weight" in name:
                own.zero_()
    gain = reach_of(layer, x).reach.log_gain
    f = 1 / (1 + math.exp(-4))
    assert gain[16] - gain[6] == pytest.approx(10 * math.log(f), abs=1e-4)


@pytest.mark.parametrize("layer", [nn.RNN(2, 4, num_layers=2, bidirectional=True), nn.GRUCell(2, 4)])
def test_forget_gates_start_open_and_nothing_is_drawn_from_the_script(layer):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    lstm(layer, forget_bias=1.0)
    assert torch.equal(torch.rand(3), expected)
    named = [(name, own) for name, own in layer.named_parameters() if "bias" in name]
    assert named
    for name, own in named:
        assert (own[4:8] == ("bias_ih" in name)).all()


def test_a_script_that_hands_its_state_on_trains_as_before():
    model = nn.RNN(1, 8, batch_first=True)
    head = nn.Linear(8, 1)
    lstm(model)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 1e-2)
    h, stream = torch.zeros(1, 4, 8), torch.randn(4, 200, 1)
    for window in stream.split(20, dim=1):
        output, h = model(window, h.detach())
        (head(output) - window).square().mean().backward()
        optimizer.step()
    assert "inner.weight_hh_l0" in dict(model.named_parameters())


def test_twice_is_once_undo_is_exact_and_an_lstm_is_left_alone():
    model = nn.Sequential(nn.RNN(2, 4), nn.LSTM(4, 4))
    before, kept = {name: own.clone() for name, own in model.state_dict().items()}, model[1]
    lstm(model)
    inner = model[0].inner
    lstm(model)
    assert model[0].inner is inner
    assert type(kept) is nn.LSTM
    assert applied(model) == ("lstm",)
    undo(model)
    assert type(model[0]) is nn.RNN
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(own, before[name]) for name, own in model.state_dict().items())


def test_where_there_is_nothing_to_swap():
    with pytest.raises(NotApplicable, match="lstm: expected an RNN or GRU of torch or longreach, its cell, or a model"):
        lstm(nn.LSTM(2, 3))
