"""Skip connections through time from outside: a short way back, beside the layer's own."""

import pytest
import torch
from torch import nn

import longreach
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import skip, undo


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_reach_is_multiplied_and_gradients_neither_die_nor_blow_up(kind):
    layer, x = kind(2, 64), torch.rand(150, 4, 2)

    def reach():
        return longreach.measure(layer, (x, None), lambda out, _: out[0][-1].square().mean()).layers[0].reach

    before = reach()
    skip(layer)
    after = reach()
    assert before.lag < 15
    assert after.lag > 8 * before.lag
    assert abs(after.growth) < 0.03


@pytest.mark.parametrize("layer", [nn.RNN(2, 4, bias=False), nn.GRU(2, 4, 2, bidirectional=True), nn.LSTM(2, 4)])
def test_without_the_new_weight_it_is_the_layer_itself_and_undo_is_exact(layer):
    layer, x = layer.double(), torch.randn(11, 3, 2).double().requires_grad_()
    truth = layer(x)[0]
    (wanted,) = torch.autograd.grad(truth.sin().sum(), x, retain_graph=True)
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    skip(skip(layer, lag=3))
    assert torch.equal(torch.rand(1), expected)
    new = [own for name, own in layer.named_parameters() if name.endswith("weight_skip")]
    written = [own.detach() for own in new]
    assert not torch.allclose(layer(x)[0], truth)
    for own in written:
        block = own.split(4)[0 if len(own) == 4 else 2]
        torch.testing.assert_close(block.T @ block, block.square().sum() / 4 * torch.eye(4).double())
        own.zero_()
    found = layer(x)[0]
    torch.testing.assert_close(found, truth)
    torch.testing.assert_close(torch.autograd.grad(found.sin().sum(), x)[0], wanted)
    undo(layer)
    assert torch.equal(layer(x)[0], truth)


def test_single_steps_see_the_far_state_too():
    cell, layer = nn.RNNCell(2, 4).double(), nn.RNN(2, 4).double()
    skip(cell, lag=2)
    skip(layer, lag=2)
    layer.inner.cells[0].load_state_dict(cell.inner.state_dict())
    x, h, found = torch.randn(9, 3, 2).double(), None, []
    for row in x:
        h = cell(row, h)
        found.append(h)
    torch.testing.assert_close(torch.stack(found), layer(x)[0])


def test_what_it_cannot_do():
    with pytest.raises(NotApplicable, match="skip: expected an RNN, GRU or LSTM"):
        skip(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="lag: expected a number of steps, 1 or more, got 0"):
        skip(nn.RNN(2, 2), lag=0)
