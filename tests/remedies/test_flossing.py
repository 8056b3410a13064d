"""flossing: exponents go to 0, by the measure of longreach.lyapunov."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from longreach import lyapunov, remedies
from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import RNN, Recurrent, cells
from longreach.remedies.flossing import STEPS_OF, _exponents
from longreach.spectrum.orbit import orbits

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own

COUNT = 4


def mean_squares(layer, x):
    places = lyapunov(layer, x, count=COUNT, warmup=len(x) // 5).places
    return [sum(value**2 for value in place.values) / COUNT for place in places]


BUILDS = {
    "RNN": lambda: nn.RNN(3, 16),
    "GRU": lambda: nn.GRU(3, 12),
    "LSTM": lambda: nn.LSTM(3, 12),
    "Recurrent": lambda: Recurrent(cells.GRU, 3, 12),
}


@pytest.mark.parametrize("name", BUILDS)
def test_exponents_that_were_far_below_0_are_near_it(name):
    layer, x = BUILDS[name](), torch.randn(25, 6, 3)
    seen = x[:, :4]
    (before,) = mean_squares(layer, seen)
    output = layer(x)[0]
    assert remedies.flossing(layer, count=COUNT, updates=50) is layer
    assert torch.equal(layer.eval()(x)[0], output)  # not yet
    layer.train()(x)
    (after,) = mean_squares(layer, seen)
    assert before > 0.1
    assert after < before / 50


def test_in_chaos_they_come_down():
    layer, x = nn.RNN(4, 64), torch.randn(50, 4, 4)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(4)
    before = lyapunov(layer, x, count=16, warmup=10).places[0].values
    remedies.flossing(layer)(x)
    after = lyapunov(layer, x, count=16, warmup=10).places[0].values
    assert before[0] > 0.15
    assert after[0] < before[0] * 2 / 3
    assert sum(value**2 for value in after) < sum(value**2 for value in before) / 3


def test_they_are_the_exponents_of_lyapunov_and_their_gradient_is_right():
    layer, x = nn.GRU(2, 4), torch.randn(12, 2, 2)
    orbit = next(orbits(layer, x))
    values = lyapunov(layer, x, count=2, warmup=2).places[0].values
    found = _exponents(orbit, 2).sort(descending=True).values
    torch.testing.assert_close(found.detach(), torch.tensor(values, dtype=torch.float64))
    weight = orbit.cell.weight_hh.detach().requires_grad_()
    del orbit.cell.weight_hh

    def exponents(weight):
        orbit.cell.weight_hh = weight
        return _exponents(orbit, 2)

    assert torch.autograd.gradcheck(exponents, weight)


@pytest.mark.parametrize("layer", [nn.RNN(3, 5), RNN(3, 5, nonlinearity="prelu"), nn.GRU(3, 5), nn.LSTM(3, 5)])
def test_steps_written_out_are_those_of_forward_mode(layer):
    orbit = next(orbits(layer, torch.randn(4, 2, 3)))
    state = torch.randn_like(orbit.states[0])
    v = torch.randn(*state.shape, 3, dtype=torch.float64)
    found = STEPS_OF[type(orbit.cell)](orbit.cell, orbit.inputs[1], state, v)
    for own, expected in zip(found, orbit.step(1, state, v), strict=True):
        torch.testing.assert_close(own, expected)


def test_every_layer_and_direction_from_the_bottom_up():
    layer, x = nn.GRU(3, 6, 2, bidirectional=True), torch.randn(20, 3, 3)
    before = mean_squares(layer, x)
    remedies.flossing(layer, count=COUNT, updates=30)(x)
    for old, new in zip(before, mean_squares(layer, x), strict=True):
        assert new < old / 3


@pytest.mark.parametrize("layout", ["batch first", "unbatched", "packed"])
def test_every_layout(layout):
    layer = nn.RNN(3, 8, batch_first=layout == "batch first")
    rows = torch.randn(30, 3, 3)
    x = {
        "batch first": rows.transpose(0, 1),
        "unbatched": rows[:, 0],
        "packed": pack_sequence([rows[:, 0], rows[:20, 1], rows[:20, 2]]),
    }[layout]
    seen = rows[:, :1] if layout == "unbatched" else rows[:20] if layout == "packed" else rows
    time_first = copy.deepcopy(layer)
    time_first.batch_first = False
    (before,) = mean_squares(time_first, seen)
    remedies.flossing(layer, count=COUNT, updates=30)(x)
    time_first.load_state_dict(layer.state_dict())
    assert mean_squares(time_first, seen)[0] < before / 5


def test_undo_brings_back_the_bits_and_training_draws_what_it_would_have_drawn():
    layer, x = nn.GRU(3, 6), torch.randn(20, 3, 3)
    before = copy.deepcopy(layer.state_dict())
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    remedies.flossing(remedies.flossing(layer, count=2, updates=3), count=2, updates=3)
    layer(x)
    assert torch.equal(torch.rand(4), expected)
    assert not torch.equal(layer.weight_hh_l0, before["weight_hh_l0"])
    assert torch.equal(layer.weight_ih_l0, before["weight_ih_l0"])
    assert layer.weight_hh_l0.grad is None
    remedies.undo(layer)
    assert all(torch.equal(own, before[key]) for key, own in layer.state_dict().items())


def test_where_every_direction_is_wiped_out_nothing_is_changed():
    layer = nn.RNN(3, 6, nonlinearity="relu")
    with torch.no_grad():
        layer.bias_hh_l0.fill_(-100)  # all units off
    before = copy.deepcopy(layer.state_dict())
    remedies.flossing(layer)(torch.randn(20, 3, 3))
    assert all(torch.equal(own, before[key]) for key, own in layer.state_dict().items())


def test_inputs_that_are_not_finite_are_the_scripts_own_trouble():
    layer = nn.RNN(3, 6)
    before = copy.deepcopy(layer.state_dict())
    remedies.flossing(layer)(torch.full((20, 3, 3), torch.nan))
    assert all(torch.equal(own, before[key]) for key, own in layer.state_dict().items())


def test_what_it_does_not_fit():
    with pytest.raises(NotApplicable, match=r"flossing: expected an RNN, GRU or LSTM that reads whole .* got LSTMCell"):
        remedies.flossing(nn.LSTMCell(3, 5))
    with pytest.raises(NotApplicable, match=r"flossing: expected recurrent weights that are parameters, got a Param"):
        remedies.flossing(remedies.orthogonal(nn.RNN(3, 5)))
    with pytest.raises(ArgumentError, match=r"count, updates: expected whole numbers above 0, got 0 and 50"):
        remedies.flossing(nn.RNN(3, 5), count=0)
