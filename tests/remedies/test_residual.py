"""Residual connections put in by hooks: the sums themselves, the gradient that comes through, and where none belong."""

import copy
import pickle
import weakref

import pytest
import torch
from torch import nn

from longreach import nn as ours
from longreach.errors import NotApplicable
from longreach.remedies import undo
from longreach.remedies.residual import residual

PLACE = {"dtype": torch.float64}


def deep(activation=nn.Sigmoid, depth=20, width=16):
    blocks = [nn.Sequential(nn.Linear(width, width, **PLACE), activation()) for _ in range(depth)]
    return nn.Sequential(nn.Linear(3, width, **PLACE), activation(), *blocks, nn.Linear(width, 2, **PLACE))


def trained(model, x, steps=3):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return model


def sums(model, x):
    """x + f(x), written out."""
    x = model[1](model[0](x))
    for block in model[2:-1]:
        x = x + block[1](nn.functional.linear(x, block[0].weight, block[0].bias))
    return model[-1](x)


def test_each_block_gives_its_input_plus_what_it_gave():
    torch.manual_seed(0)
    model, x = deep(nn.Tanh), torch.randn(5, 3, **PLACE)
    plain = copy.deepcopy(model)
    trained(residual(residual(model)), x)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        sums(plain, x).square().mean().backward()
        optimizer.step()
    for own, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, expected)
    torch.testing.assert_close(model(x), sums(plain, x))


def test_the_gradient_of_the_first_layers_is_as_large_as_that_of_the_last():
    torch.manual_seed(0)
    model, x = deep(), torch.randn(32, 3, **PLACE)

    def ratio():
        model.zero_grad()
        model(x).square().mean().backward()
        return (model[2][0].weight.grad.norm() / model[-2][0].weight.grad.norm()).item()

    assert ratio() < 1e-8
    residual(model)
    assert ratio() > 0.3


def test_undo_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model, x = deep(), torch.randn(5, 3, **PLACE)
    names, before = list(model.state_dict()), model(x)
    assert not torch.allclose(residual(model)(x), before)
    assert torch.equal(undo(model)(x), before)
    assert names == list(model.state_dict())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_its_own_sums(copied):
    torch.manual_seed(0)
    model, x = residual(deep(nn.Tanh)), torch.randn(5, 3, **PLACE)
    model(x)
    copied = copied(model)
    assert torch.equal(copied(x), model(x))
    undo(model)
    torch.testing.assert_close(copied(x), sums(model, x))


class Stage(nn.Module):
    """As scripts write them: convolution, perhaps a norm, activation; perhaps with a sum of its own."""

    def __init__(self, inputs, outputs, own=False, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride, **PLACE)
        self.norm, self.act, self.own = nn.Identity(), nn.ReLU(inplace=True), own

    def forward(self, x):
        out = self.act(self.norm(self.conv(x)))
        return x + out if self.own and x.shape == out.shape else out


def test_convolutions_that_keep_the_shape_have_sums_and_others_none():
    model = nn.Sequential(Stage(1, 4), Stage(4, 4), Stage(4, 4, stride=2), Stage(4, 6))
    x = torch.randn(2, 1, 8, 8, **PLACE)
    plain = copy.deepcopy(model)
    y = plain[0](x)
    expected = plain[3](plain[2](y + plain[1](y)))
    torch.testing.assert_close(residual(model)(x), expected)


def test_one_activation_module_for_all_layers_and_one_layer_used_many_times():
    act, layer = nn.Tanh(), nn.Linear(4, 4, **PLACE)
    model = nn.Sequential(nn.Linear(3, 4, **PLACE), act, layer, act, layer, act, nn.Linear(4, 1, **PLACE), act)
    x = torch.randn(5, 3, **PLACE)
    y = torch.tanh(model[0](x))
    y = y + torch.tanh(layer(y))
    y = y + torch.tanh(layer(y))
    expected = torch.tanh(model[6](y))
    torch.testing.assert_close(residual(model)(x), expected)


class Backwards(nn.Module):
    """Registered in another order than called: the activation belongs to the first map, seems to follow the last."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.act = nn.Linear(4, 4, **PLACE), nn.Linear(4, 4, **PLACE), nn.Tanh()

    def forward(self, x):
        return self.last(self.act(self.first(x)))


def test_no_graph_outlives_the_call():
    model = residual(nn.Sequential(nn.Linear(4, 4, **PLACE), Backwards()))
    held = []
    model[1].last.register_forward_pre_hook(lambda _, given: held.append(weakref.ref(given[0])))
    model(torch.randn(5, 4, **PLACE))
    assert held[0]() is None


def test_an_activation_that_does_not_follow_its_map_gets_no_sum():
    model, x = Backwards(), torch.randn(5, 4, **PLACE)
    before = model(x)
    residual(model)
    for _ in range(2):
        assert torch.equal(model(x), before)


def test_a_model_that_has_sums_already_is_refused_in_its_first_call():
    model = residual(nn.Sequential(Stage(1, 4), Stage(4, 4, own=True), Stage(4, 4, own=True)))
    with pytest.raises(NotApplicable, match="got one that adds a block's input to its output already"):
        model(torch.randn(2, 1, 8, 8, **PLACE))


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_stack_keeps_its_weights_and_adds_from_the_second_layer_on(kind, directions):
    torch.manual_seed(0)
    layer = getattr(nn, kind)(3, 4, num_layers=3, bidirectional=directions == 2, **PLACE)
    x, before = torch.randn(6, 5, 3, **PLACE), dict(layer.state_dict())
    expected, last = x, []
    for number in range(3):
        single = getattr(nn, kind)(expected.shape[-1], 4, bidirectional=directions == 2, **PLACE)
        end = f"_l{number}"
        single.load_state_dict({k.replace(end, "_l0"): v for k, v in before.items() if end in k})
        output, h_n = single(expected)
        expected = output + expected if number else output
        last.append(h_n[0] if kind == "LSTM" else h_n)
    original, drawn = layer(x)[0], torch.random.get_rng_state()
    residual(residual(layer))
    assert torch.equal(drawn, torch.random.get_rng_state())
    output, h_n = layer(x)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(h_n[0] if kind == "LSTM" else h_n, torch.cat(last))
    undo(layer)
    assert type(layer) is getattr(nn, kind)
    assert torch.equal(layer(x)[0], original)
    assert list(layer.state_dict()) == list(before)


def test_a_prelu_keeps_its_slopes():
    layer = ours.RNN(3, 4, 2, nonlinearity="prelu", **PLACE)
    layer.slope_l1.data.fill_(0.7)
    residual(layer)
    assert [round(cell.slope.item(), 3) for cell in layer.inner.cells] == [0.25, 0.7]


def test_what_it_does_not_fit():
    for model in (nn.RNN(3, 4), nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 4))):
        with pytest.raises(NotApplicable, match="expected a linear map with as many outputs as inputs"):
            residual(model)
