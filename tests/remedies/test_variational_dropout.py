"""Variational dropout from outside: nothing changes in evaluation; in training a sequence has one mask."""

import pytest
import torch
from torch import nn

from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import undo, variational_dropout

T, B, F, H = 9, 3, 2, 5


@pytest.mark.parametrize("layer", [nn.RNN(F, H, bias=False), nn.GRU(F, H, 2, bidirectional=True), nn.LSTM(F, H)])
def test_in_evaluation_it_computes_the_same(layer):
    layer, x = layer.double(), torch.randn(T, B, F).double()
    truth = layer(x)[0]
    variational_dropout(variational_dropout(layer), p_state=0.5)
    torch.testing.assert_close(layer.eval()(x)[0], truth)
    assert not torch.allclose(layer.train()(x)[0], truth)
    undo(layer)
    assert torch.equal(layer(x)[0], truth)


def test_a_unit_that_is_dropped_is_dropped_at_all_steps():
    layer = nn.RNN(1, 400, bias=False).double()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.eye(400))
        layer.weight_ih_l0.fill_(1.0)
    variational_dropout(layer, p_input=0.0, p_state=0.4)
    x = torch.zeros(6, 1, 1).double()
    x[0] = 1e-3  # in the linear part of tanh
    h = layer(x)[0][:, 0]
    dropped = h[1] == 0
    assert dropped.double().mean().item() == pytest.approx(0.4, abs=0.1)
    assert torch.equal(h[5] == 0, dropped)
    torch.testing.assert_close(h[5][~dropped], torch.full_like(h[5][~dropped], 1e-3 / 0.6**5), rtol=1e-3, atol=0)


def test_what_it_cannot_do():
    with pytest.raises(NotApplicable, match="layers that are given whole sequences, got GRUCell, which does not know"):
        variational_dropout(nn.GRUCell(2, 2))
    with pytest.raises(NotApplicable, match="variational-dropout: expected an RNN, GRU or LSTM"):
        variational_dropout(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="p_state: expected a share, 0 <= p_state < 1, got 1"):
        variational_dropout(nn.RNN(2, 2), p_state=1)
