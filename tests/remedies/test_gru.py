"""A GRU where an RNN stood."""

import pytest
import torch
from torch import nn

import longreach
from longreach.errors import NotApplicable
from longreach.remedies import gru, undo
from longreach.remedies.substitute import Substitute


def test_a_gradient_is_carried_by_the_update_gate():
    layer, x = nn.RNN(2, 64), torch.randn(60, 4, 2)

    def reach():
        return longreach.measure(layer, (x, None), lambda out, _: out[0][-1].sum()).layers[0].reach

    before = reach()
    gru(layer, update_bias=4.0)
    after = reach()
    assert after.lag == 59 > 4 * before.lag
    assert after.growth > 0.1 * before.growth


@pytest.mark.parametrize("layer", [nn.RNN(2, 4, 2), nn.RNNCell(2, 4)])
def test_update_gates_start_open_and_any_start_of_h_will_do(layer):
    before = {name: own.clone() for name, own in layer.state_dict().items()}
    gru(gru(layer, update_bias=1.0))
    for name, own in layer.named_parameters():
        if "bias" in name:
            assert (own[4:8] == ("bias_ih" in name)).all()
    whole = isinstance(layer, Substitute)
    start = nn.Parameter(torch.randn(2, 3, 4) if whole else torch.randn(3, 4))
    layer(torch.randn(7, 3, 2) if whole else torch.randn(3, 2), start)[0].sum().backward()
    assert start.grad.any()
    undo(layer)
    assert all(torch.equal(own, before[name]) for name, own in layer.state_dict().items())


def test_a_gru_and_an_lstm_are_left_alone():
    with pytest.raises(NotApplicable, match="gru: expected an RNN of torch or longreach"):
        gru(nn.LSTM(2, 3))
