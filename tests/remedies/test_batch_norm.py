"""Batch normalisation put into a script's layers: against torch's own, a loop, and mean-field theory."""

import copy

import pytest
import torch
from tests.normed import PLACE, check_recurrent
from torch import nn

from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import undo
from longreach.remedies.batch_norm import batch_norm

GAIN, EPSILON = 0.1, 1e-5


def normal(a):
    return (a - a.mean(0)) / torch.sqrt(a.var(0, correction=0) + EPSILON)


def naive(layer, x):
    """Cooijmans et al. 2016, equations 6-8, for Elman's network, GRU and LSTM; biases those of the layer."""
    w_ih, w_hh, b_ih, b_hh = (own.detach() for own in layer.parameters())
    units = w_hh.shape[1]
    h = c = torch.zeros(x.shape[1], units, **PLACE)
    outputs = []
    for x_t in x:
        of_x, of_h = GAIN * normal(x_t @ w_ih.T) + b_ih, GAIN * normal(h @ w_hh.T)
        if isinstance(layer, nn.RNN):
            h = torch.tanh(of_x + of_h + b_hh)
        elif isinstance(layer, nn.GRU):
            r, z = torch.sigmoid((of_x + of_h + b_hh)[:, : 2 * units]).chunk(2, 1)
            h = (1 - z) * torch.tanh(of_x[:, 2 * units :] + r * of_h[:, 2 * units :]) + z * h
        else:
            i, f, g, o = (of_x + of_h + b_hh).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * torch.tanh(GAIN * normal(c))
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_layer_keeps_its_weights_and_is_normalised(kind):
    check_recurrent(kind, batch_norm, naive, batch=8)


@pytest.mark.parametrize("training", [True, False])
def test_plain_layers_and_convolutions_are_as_with_torchs_norms(training):
    conv, linear = nn.Conv1d(2, 3, 3, **PLACE), nn.Linear(4, 5, **PLACE)
    between = [nn.BatchNorm1d(3, **PLACE), nn.BatchNorm1d(5, **PLACE)]
    model = nn.Sequential(conv, nn.Dropout(0.0), nn.ReLU(), linear, nn.Tanh(), nn.Linear(5, 1, **PLACE))
    twin = copy.deepcopy(model)
    x = torch.randn(7, 2, 6, **PLACE)
    batch_norm(batch_norm(model)).train(training)

    def expected():
        y = torch.relu(between[0](twin[0](x)))
        rows = between[1](twin[3](y).flatten(0, 1)).reshape(7, 3, 5)
        return twin[5](torch.tanh(rows))

    for norm in between:
        norm.train(training)
    torch.testing.assert_close(model(x), expected())
    torch.testing.assert_close(model[3].batch_norm.running_var, between[1].running_var)
    new = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    added = set(model.state_dict()) - set(twin.state_dict())
    assert added == {f"{place}.batch_norm.{name}" for place in (0, 3) for name in new}
    undo(model)
    assert list(model.state_dict()) == list(twin.state_dict())
    assert torch.equal(model(x), twin(x))


def test_one_row_alone_is_normalised_as_in_evaluation():
    model = batch_norm(nn.Sequential(nn.Linear(4, 5, **PLACE), nn.Tanh()))
    model(torch.randn(50, 4, **PLACE))
    x = torch.randn(1, 4, **PLACE)
    alone = model(x)
    assert torch.equal(alone, model.eval()(x))


@pytest.mark.parametrize("size", [0.01, 30.0])
def test_a_deep_net_of_sigmoids_passes_the_gradient_at_any_size_of_its_weights(size):
    """In a wide net a layer scales it by √(E f'² / Var f) over a standard normal, 1.02; without a norm by under 1/4."""
    torch.manual_seed(0)
    parts = [part for _ in range(12) for part in (nn.Linear(200, 200, **PLACE), nn.Sigmoid())]
    model = nn.Sequential(*parts)
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.normal_(std=size)
    batch_norm(model)
    first = model[:2](torch.randn(400, 200, **PLACE, requires_grad=True))
    last = model[2:](first)
    v = torch.randn_like(last)
    (back,) = torch.autograd.grad((v * last).sum(), first)
    assert (back.norm() / v.norm()).item() ** (1 / 11) == pytest.approx(1.02, rel=0.05)


def test_what_it_does_not_fit():
    normed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1))
    with pytest.raises(NotApplicable, match="batch-norm: expected a recurrent layer, or a linear map"):
        batch_norm(normed)
    with pytest.raises(ArgumentError, match="max_length: expected a number of steps, 1 or more, got 0"):
        batch_norm(nn.RNN(2, 3), max_length=0)
