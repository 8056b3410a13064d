"""Which units are dead, saturated, hidden or in the way: read from live graphs, against slopes by autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from longreach.probes.units import FLAT, SATURATED, of_graph

ONE_SIDED = {
    "ReLU": F.relu,
    "ELU": F.elu,
    "CELU": F.celu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "Mish": F.mish,
    "hard swish": F.hardswish,
    "softplus": F.softplus,
}
TWO_SIDED = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "hard sigmoid": F.hardsigmoid}


def samples(loss, model):
    owners = {own: name.rpartition(".")[0] for name, own in model.named_parameters()}
    return {(found.place, found.kind): found for found in of_graph(loss, owners, step=3)}


def bits(mask, units):
    return [bool(mask >> unit & 1) for unit in range(units)]


def slopes(function, inputs):
    leaf = inputs.detach().double().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return found


@pytest.mark.parametrize(("kind", "function"), [*ONE_SIDED.items(), *TWO_SIDED.items()])
def test_slopes_are_those_of_autograd(kind, function):
    first, head = nn.Linear(3, 40), nn.Linear(40, 1)
    first.bias.data = torch.linspace(-20, 20, 40)
    inputs = torch.randn(65, 3)
    found = samples(head(function(first(inputs))).sum(), nn.ModuleList([first, head]))["0", kind]
    slope = slopes(function, first(inputs)) * (4 if kind == "sigmoid" else 6 if kind == "hard sigmoid" else 1)
    dead = (slope.abs() < FLAT).all(dim=0) if kind in ONE_SIDED else torch.zeros(40)
    saturated = (slope.median(dim=0).values < SATURATED) if kind in TWO_SIDED else torch.zeros(40)
    assert found.inputs == 65
    assert found.units == 40
    assert bits(found.dead, 40) == dead.bool().tolist()
    assert bits(found.saturated, 40) == saturated.bool().tolist()
    assert dead.any() or saturated.any()


@pytest.mark.parametrize(
    "relu", [F.relu, nn.ReLU(), nn.ReLU(inplace=True), nn.Threshold(0, 0), lambda x: x.clamp_min(0), torch.relu_]
)
def test_a_relu_is_a_relu_however_it_is_written(relu):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    model[0].bias.data = torch.tensor([-100.0, 0.0, -100.0, 0.0])
    found = samples(model[1](relu(model[0](torch.randn(32, 3)) * 1)).sum(), model)
    assert bits(found["0", "ReLU"].dead, 4) == [True, False, True, False]


def test_thresholds_elsewhere_are_no_relu():
    model = nn.Linear(3, 4)
    assert not samples(model(torch.randn(32, 3)).clamp_min(-1e3).sum(), model)


def test_channels_are_the_units_of_a_convolution_and_of_the_norm_behind_it():
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    model[0].bias.data[3] = model[3].bias.data[1] = -100.0
    found = samples((model(torch.randn(4, 2, 8, 8)) * torch.randn(6, 1, 1)).sum(), model)
    assert bits(found["0", "ReLU"].dead, 5) == [False, False, False, True, False]
    assert bits(found["3", "ReLU"].dead, 6) == [False, True, False, False, False, False]


def test_an_output_is_not_hidden():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Sigmoid())
    found = samples(F.mse_loss(model(torch.randn(8, 3)), torch.zeros(8, 2)), model)
    assert found["0", "tanh"].hidden
    assert not found["2", "sigmoid"].hidden


@pytest.mark.parametrize("around", [False, True])
def test_a_wall_is_what_nothing_goes_round(around):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    model[1].bias.data.fill_(-100.0)
    low = model[0](torch.randn(8, 4))
    found = samples(model[2](F.relu(model[1](low)) + (low if around else 0)).sum(), model)
    assert found["1", "ReLU"].cut is not around


def test_calls_of_a_cell_are_looked_at_together_and_its_gates_are_left_alone():
    cell, head = nn.LSTMCell(3, 6), nn.Linear(6, 1)
    cell.bias_ih.data[6:12] = 100.0  # forget gates wide open: memory
    h = c = torch.zeros(5, 6)
    for _ in range(12):
        h, c = cell(torch.randn(5, 3), (h, c))
    found = samples(head(h).sum(), nn.ModuleList([cell, head]))
    assert set(found) == {("0", "tanh")}
    assert found["0", "tanh"].saturated == 0
    assert found["0", "tanh"].inputs > 5


def test_a_checkpointed_block_is_not_run_again():
    calls = []
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1))

    def block(x):
        calls.append(1)
        return F.relu(model[1](x))

    out = model[2](checkpoint(block, torch.tanh(model[0](torch.randn(8, 3))), use_reentrant=False))
    found = samples(out.sum(), model)
    assert len(calls) == 1
    assert ("0", "tanh") in found


def test_a_graph_too_long_to_walk_says_what_it_can():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].bias.data.fill_(-100.0)
    x = torch.randn(8, 3)
    for _ in range(1200):
        x = F.relu(model[0](x))
    found = samples(model[1](x).sum(), model)["0", "ReLU"]
    assert found.dead == 0b111
    assert not found.cut  # what lies further back was not seen


def test_units_of_wide_layers_are_thinned():
    model = nn.Sequential(nn.Linear(2, 1000), nn.ReLU(), nn.Linear(1000, 1))
    model[0].bias.data.fill_(-100.0)
    found = samples(model(torch.randn(8, 2)).sum(), model)["0", "ReLU"]
    assert found.units == 250
    assert found.dead == 2**250 - 1


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(3, 1), lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 1))]
)
def test_models_without_activations_and_with_parametrized_weights(make):
    model = make()
    assert samples(model(torch.randn(8, 3)).sum(), model) == {}
