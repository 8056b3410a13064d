"""The L1 penalty: gradients against those of the loss with the penalty written out, and what it does to states."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from longreach import nn as ours
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import undo
from longreach.remedies.sparsity import sparsity

PLACE = {"dtype": torch.float64}


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [own.grad.clone() for own in model.parameters()]


@pytest.mark.parametrize("use", ["output", "h_n", "both"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_a_recurrent_layer_has_the_gradients_of_the_penalised_loss(activation, packed, use):
    torch.manual_seed(0)
    layer = ours.RNN(3, 5, 2, nonlinearity=activation, **PLACE)
    x = torch.randn(6, 4, 3, **PLACE)
    x = pack_padded_sequence(x, torch.tensor([6, 5, 2, 1])) if packed else x

    def run():
        output, h_n = layer(x)
        states = output.data if packed else output
        return states, {"output": (states**2).sum(), "h_n": h_n.sin().sum(), "both": states[-1].sum() + h_n.sum()}[use]

    states, loss = run()
    expected = gradients(layer, loss + 0.3 * states.abs().mean())
    sparsity(nn.Sequential(layer), amount=0.3)
    sparsity(layer, amount=0.7)
    same, again = run()
    assert torch.equal(again, loss)
    assert torch.equal(same, states)
    for own, truth in zip(gradients(layer, again), expected, strict=True):
        torch.testing.assert_close(own, truth)
    undo(layer)
    assert not layer._forward_hooks


def test_rectifiers_have_the_gradients_of_the_penalised_loss():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 3, 3, **PLACE), nn.ReLU(inplace=True), nn.Linear(4, 5, **PLACE), nn.PReLU(**PLACE)
    )
    x = torch.randn(7, 2, 6, **PLACE)
    h = torch.relu(model[0](x))
    y = model[3](model[2](h))
    expected = gradients(model, y.square().sum() + 0.2 * (h.abs().mean() + y.abs().mean()))
    sparsity(model, amount=0.2)
    for own, truth in zip(gradients(model, model(x).square().sum()), expected, strict=True):
        torch.testing.assert_close(own, truth)


def test_nothing_is_added_in_evaluation_or_without_gradients():
    torch.manual_seed(0)
    layer, x = nn.RNN(3, 5, nonlinearity="relu", **PLACE), torch.randn(6, 4, 3, **PLACE)
    expected = gradients(layer, layer(x)[0].square().sum())
    sparsity(layer).eval()
    for own, truth in zip(gradients(layer, layer(x)[0].square().sum()), expected, strict=True):
        assert torch.equal(own, truth)
    with torch.no_grad():
        assert not layer.train()(x)[0].requires_grad


def test_units_that_say_little_fall_silent():
    def silent(remedy):
        torch.manual_seed(0)
        model = remedy(nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 1)))
        x = torch.randn(256, 10)
        y = x[:, :1].abs()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimizer.step()
        assert loss < 0.05
        return (model[:2](x) == 0).double().mean().item()

    assert silent(sparsity) > silent(lambda model: model) + 0.1


def test_what_it_does_not_fit():
    for model in (nn.RNN(3, 4), nn.GRU(3, 4), nn.Sequential(nn.Linear(3, 4), nn.Tanh())):
        with pytest.raises(NotApplicable, match="expected an RNN of rectified units"):
            sparsity(model)
    with pytest.raises(ArgumentError, match="amount: expected a number above 0, got 0"):
        sparsity(nn.ReLU(), amount=0)
