"""Layer normalisation put into a script's layers: against a loop that has it written out, and mean-field theory."""

import copy
import pickle

import pytest
import torch
from tests.normed import PLACE, check_recurrent
from torch import nn
from torch.nn.functional import layer_norm as norm

from longreach import nn as ours
from longreach.errors import NotApplicable
from longreach.remedies import undo
from longreach.remedies.layer_norm import layer_norm


def naive(layer, x):
    """The paper's equation 4, and the GRU and LSTM of its supplement, in a loop; biases those of the layer."""
    w_ih, w_hh, b_ih, b_hh = (own.detach() for own in layer.parameters())
    units = w_hh.shape[1]
    h = c = torch.zeros(x.shape[1], units, **PLACE)
    outputs = []
    for x_t in x:
        of_x, of_h = x_t @ w_ih.T, h @ w_hh.T
        if isinstance(layer, nn.RNN | nn.RNNCell):
            h = torch.tanh(norm(of_x + of_h, (units,)) + b_ih + b_hh)
        elif isinstance(layer, nn.GRU | nn.GRUCell):
            of_x, of_h = norm(of_x, (3 * units,)) + b_ih, norm(of_h, (3 * units,))
            r, z = torch.sigmoid((of_x + of_h + b_hh)[:, : 2 * units]).chunk(2, 1)
            h = (1 - z) * torch.tanh(of_x[:, 2 * units :] + r * of_h[:, 2 * units :]) + z * h
        else:
            sums = norm(of_x, (4 * units,)) + norm(of_h, (4 * units,)) + b_ih + b_hh
            i, f, g, o = sums.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * torch.tanh(norm(c, (units,)))
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_layer_keeps_its_weights_and_is_normalised(kind):
    check_recurrent(kind, layer_norm, naive, batch=4)


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_a_loop_over_a_cell_is_normalised(kind):
    cell, x = getattr(nn, kind)(3, 5, **PLACE), torch.randn(6, 4, 3, **PLACE)
    expected, state = naive(cell, x)[-1], None
    layer_norm(cell)
    for x_t in x:
        state = cell(x_t, state)
    torch.testing.assert_close(state[0] if kind == "LSTMCell" else state, expected)


def test_cells_that_a_recurrent_holds_are_normalised_where_they_are():
    layer = ours.Recurrent(ours.cells.GRU, 3, 5, 2, bidirectional=True, **PLACE)
    theirs = nn.GRU(3, 5, 2, bidirectional=True, **PLACE)
    for cell, end in zip(layer.cells, ["_l0", "_l0_reverse", "_l1", "_l1_reverse"], strict=True):
        for name, own in cell.named_parameters():
            own.data.copy_(getattr(theirs, name + end))
    x = torch.randn(6, 4, 3, **PLACE)
    before, names = layer(x)[0], list(layer.state_dict())
    layer_norm(layer_norm(layer))
    torch.testing.assert_close(layer(x)[0], layer_norm(theirs)(x)[0])
    undo(layer)
    assert torch.equal(layer(x)[0], before)
    assert list(layer.state_dict()) == names


def deep(activation, depth=12, width=400):
    parts = [part for _ in range(depth) for part in (nn.Linear(width, width, **PLACE), activation())]
    return nn.Sequential(*parts, nn.Linear(width, 1, **PLACE))


def test_plain_layers_are_normalised_before_their_activations_and_trained():
    model = deep(nn.Tanh, depth=2, width=6)
    x, before, names = torch.randn(9, 6, **PLACE), copy.deepcopy(model), list(model.state_dict())
    layer_norm(layer_norm(model))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    sums = model[0](x)
    affine = model[0].layer_norm
    torch.testing.assert_close(((sums - affine.bias) / affine.weight).mean(1), torch.zeros(9, **PLACE))
    assert set(model.state_dict()) - set(names) == {f"{n}.layer_norm.{p}" for n in (0, 2) for p in ("weight", "bias")}
    assert not torch.equal(affine.weight, torch.ones(6, **PLACE))
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(x), model(x))
    undo(model)
    assert list(model.state_dict()) == names
    model.load_state_dict(before.state_dict())
    assert torch.equal(model(x), before(x))


def test_a_convolutions_row_is_all_of_a_picture():
    model, x = nn.Sequential(nn.Conv2d(2, 3, 3, **PLACE), nn.ReLU()), torch.randn(4, 2, 7, 7, **PLACE)
    expected = torch.relu(norm(model[0](x), (3, 5, 5)))
    torch.testing.assert_close(layer_norm(model)(x), expected)


@pytest.mark.parametrize(("activation", "factor"), [(nn.Tanh, 1.085), (nn.ReLU, 1.0), (nn.Sigmoid, 0.39)])
@pytest.mark.parametrize("size", [0.01, 30.0])
def test_a_layer_scales_a_gradient_by_the_same_at_any_size_of_its_weights(activation, factor, size):
    """In a wide net by √(E f'² / E f²) over a standard normal: of tanh and relu all comes through."""
    torch.manual_seed(0)
    model = deep(activation)
    with torch.no_grad():
        for layer in model[:-1:2]:
            layer.weight.normal_(std=size)
            layer.bias.zero_()
    layer_norm(model)
    x = torch.randn(64, 400, **PLACE, requires_grad=True)
    first = model[:2](x)
    last = model[2:-1](first)
    v = torch.randn_like(last)
    (back,) = torch.autograd.grad((v * last).sum(), first)
    grown = (back.norm() / v.norm()).item() ** (1 / 11)
    assert grown == pytest.approx(factor, rel=0.05)


def test_what_it_does_not_fit():
    normed = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1))
    for model in (normed, nn.Sequential(nn.Linear(3, 4)), nn.LSTM(3, 4, proj_size=2)):
        with pytest.raises(NotApplicable, match="layer-norm: expected a recurrent layer, or a linear map"):
            layer_norm(model)
