"""relu, leaky-relu, prelu and elu: what they have in common, against a loop written out."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from longreach import remedies
from longreach.errors import NotApplicable
from longreach.nn import RNN, Recurrent, cells

VERBS = {
    "relu": (remedies.relu, functional.relu, nn.ReLU),
    "leaky_relu": (remedies.leaky_relu, functional.leaky_relu, nn.LeakyReLU),
    "prelu": (remedies.prelu, lambda x: torch.where(x > 0, x, 0.25 * x), nn.PReLU),
    "elu": (remedies.elu, functional.elu, nn.ELU),
    "selu": (remedies.selu, functional.selu, nn.SELU),
}
each_verb = pytest.mark.parametrize("name", VERBS)


def known(module):
    """What of a module must be as before when a remedy is undone."""
    return (
        [type(part) for part in module.modules()],
        list(module.state_dict()),
        [value.clone() for value in module.state_dict().values()],
        repr(module),
    )


def assert_same(one, other):
    assert one[:2] == other[:2]
    assert one[3] == other[3]
    for a, b in zip(one[2], other[2], strict=True):
        assert torch.equal(a, b)


def unrolled(x, h, w_ih, w_hh, b_ih, b_hh, f):
    rows = []
    for step in x:
        h = f(step @ w_ih.T + b_ih + h @ w_hh.T + b_hh)
        rows.append(h)
    return torch.stack(rows)


@each_verb
def test_a_recurrent_layer_computes_the_loop_with_that_activation_values_and_gradients(name):
    verb, f, _ = VERBS[name]
    layer = nn.RNN(3, 5, dtype=torch.float64)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    assert verb(layer) is layer
    weights = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]
    output, _ = layer(x)
    expected = unrolled(x, torch.zeros(2, 5, dtype=torch.float64), *weights, f)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(layer(x[:1])[0], expected[:1])
    found = torch.autograd.grad(output.square().sum(), weights)
    for own, naive in zip(found, torch.autograd.grad(expected.square().sum(), weights), strict=True):
        torch.testing.assert_close(own, naive)


@each_verb
@pytest.mark.parametrize("build", [lambda: nn.RNNCell(3, 5), lambda: cells.Elman(3, 5)], ids=["torch", "ours"])
def test_a_cell_computes_one_step_of_it(name, build):
    verb, f, _ = VERBS[name]
    cell = verb(build().double())
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    expected = f(x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh)
    rows = cell.project(x) if isinstance(cell, cells.Elman) else x
    torch.testing.assert_close(cell(rows, h), expected)


@each_verb
@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.RNN(3, 5, 2, bidirectional=True, batch_first=True),
        lambda: nn.RNN(3, 5, nonlinearity="relu", bias=False),
        lambda: RNN(3, 5, nonlinearity="prelu"),
        lambda: nn.RNNCell(3, 5),
        lambda: nn.RNNCell(3, 5, bias=False, nonlinearity="relu"),
        lambda: Recurrent(cells.Elman, 3, 5, 2),
        lambda: nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 5), nn.Hardtanh(-2, 2), nn.Linear(5, 1)),
    ],
)
def test_undo_brings_back_class_names_and_bits_and_twice_is_once(name, build):
    verb, _, _ = VERBS[name]
    model = build()
    before, x = known(model), torch.randn(6, 3)
    output = model(x)
    once = known(verb(model))
    assert_same(known(verb(model)), once)
    remedies.undo(model)
    assert_same(known(model), before)
    for one, other in zip(flat(model(x)), flat(output), strict=True):
        assert torch.equal(one, other)


def flat(output):
    return [output] if isinstance(output, torch.Tensor) else [entry for part in output for entry in flat(part)]


@each_verb
def test_between_plain_layers_modules_become_it_and_the_one_that_makes_the_output_stays(name):
    verb, _, kind = VERBS[name]
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 1), nn.Sigmoid())
    verb(model)
    assert [type(part) for part in model][1::2] == [kind, kind, nn.Sigmoid]


def test_one_activation_that_stands_at_the_end_too_is_left_alone():
    shared = nn.Tanh()
    model = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    remedies.relu(model)
    assert [type(part) for part in model][1::2] == [nn.ReLU, nn.Tanh, nn.Tanh]


def test_hooks_and_mode_stay_with_the_place():
    seen = []
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).eval()
    model[1].register_forward_hook(lambda *_: seen.append(1))
    remedies.relu(model)
    assert not model[1].training
    model(torch.ones(1, 2))
    remedies.undo(model)
    model(torch.ones(1, 2))
    assert len(seen) == 2


def test_slopes_are_learned_one_for_each_place():
    layer, between = nn.RNN(3, 5, 2, bidirectional=True), nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    remedies.prelu(layer)
    remedies.prelu(between)
    slopes = [name for name, _ in layer.named_parameters() if "slope" in name]
    assert slopes == ["slope_l0", "slope_l0_reverse", "slope_l1", "slope_l1_reverse"]
    x = torch.randn(9, 4, 3)
    (layer(x)[0].sum() + between(x).sum()).backward()
    for slope in [*(getattr(layer, name) for name in slopes), between[1].weight]:
        assert slope.grad.abs().sum() > 0


def test_layers_with_gates_keep_their_activations():
    model = nn.ModuleDict({"gru": nn.GRU(3, 5), "lstm": nn.LSTM(3, 5)})
    with pytest.raises(NotApplicable, match=r"relu: expected an RNN, or activation modules .* got ModuleDict"):
        remedies.relu(model)


def test_a_class_of_the_users_is_refused_unless_torch_has_the_activation():
    class Mine(nn.RNN):
        pass

    assert remedies.relu(Mine(3, 5)).mode == "RNN_RELU"
    with pytest.raises(NotApplicable, match=r"elu: expected a layer of torch or of longreach.nn, got Mine"):
        remedies.elu(Mine(3, 5))
    with pytest.raises(NotApplicable, match=r"elu: expected torch's own RNNCell, got Parametrized"):
        remedies.elu(remedies.orthogonal(nn.RNNCell(3, 5)))


def test_a_copy_computes_the_same():
    layer = remedies.prelu(nn.RNN(3, 5))
    x = torch.randn(4, 2, 3)
    assert torch.equal(copy.deepcopy(layer)(x)[0], layer(x)[0])
