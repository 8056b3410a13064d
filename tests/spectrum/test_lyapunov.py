"""Lyapunov exponents against closed forms, known maps, and the algorithm written naively."""

import math

import pytest
import torch
from tests.unrolled import unroll
from torch import nn

import longreach
from longreach.errors import ArgumentError
from longreach.nn import Cell, Recurrent, cells
from longreach.spectrum.lyapunov import STRETCHES, Exponents, Spectrum, _errors

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # torch's own forward mode


def exponents(*arguments, **options):
    (place,) = longreach.lyapunov(*arguments, **options).places
    return place


def linear(weight):
    cell = cells.Elman(1, len(weight), activation="identity", dtype=torch.float64)
    with torch.no_grad():
        cell.weight_hh.copy_(weight)
    return cell


# Closed forms.


def test_a_linear_network_has_the_logarithms_of_its_eigenvalues():
    eigenvalues = torch.tensor([1.1, -0.6, 0.2, 1e-3]).double()
    basis = torch.randn(4, 4).double()
    found = exponents(linear(basis @ eigenvalues.diag() @ basis.inverse()), torch.randn(200, 1))
    assert found.values == pytest.approx(eigenvalues.abs().log().tolist(), rel=1e-9)
    assert max(found.errors) < 1e-9


def test_complex_eigenvalues_count_twice():
    angle = torch.tensor(0.7).double()
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos())).view(2, 2)
    basis = torch.eye(3).double() + 0.2 * torch.randn(3, 3).double()
    weight = basis @ torch.block_diag(0.8 * turn, torch.tensor([[0.3]]).double()) @ basis.inverse()
    found = exponents(linear(weight), torch.randn(600, 1))
    assert found.values == pytest.approx([math.log(0.8)] * 2 + [math.log(0.3)], rel=0.01)
    lru = cells.LRU(2, 3, r_min=0.2, r_max=0.8)
    expected = lru.factors().abs().log().sort(descending=True).values.double().repeat_interleave(2)
    assert exponents(lru, torch.randn(300, 2)).values == pytest.approx(expected.tolist(), rel=0.01)


def test_a_relu_layer_that_never_switches_off():
    rnn = nn.RNN(1, 5, nonlinearity="relu").double()
    with torch.no_grad():
        ring = 0.2 * torch.eye(5) + 0.3 * torch.eye(5).roll(1, 0) + 0.3 * torch.eye(5).roll(-1, 0)
        rnn.weight_hh_l0.copy_(ring)
        rnn.bias_hh_l0.fill_(10.0)
    expected = sorted((math.log(abs(0.2 + 0.6 * math.cos(2 * math.pi * j / 5))) for j in range(5)), reverse=True)
    assert exponents(rnn, torch.rand(300, 2, 1)).values == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("weight", [0.5, 1.8, -1.8])
def test_a_tanh_map_that_settles(weight):
    """On a fixed point, or on a cycle of two for w = -1.8: the mean of ln |w (1 - h²)| over it."""
    rnn = nn.RNN(1, 1).double()
    with torch.no_grad():
        for parameter, value in zip(rnn.parameters(), (0.0, weight, 0.3, 0.0), strict=True):
            parameter.fill_(value)
    h = 0.5
    for _ in range(500):
        h = math.tanh(weight * h + 0.3)
    cycle = [h, math.tanh(weight * h + 0.3)]
    expected = sum(math.log(abs(weight * (1 - h * h))) for h in cycle) / 2
    assert exponents(rnn, torch.zeros(300, 1), warmup=200, state=torch.full((1, 1), 0.5)).values[0] == pytest.approx(
        expected
    )


def test_a_tanh_map_that_is_driven():
    rnn, x = nn.RNN(1, 1).double(), 2 * torch.randn(400, 3, 1).double()
    slopes = rnn.weight_hh_l0[0, 0] * (1 - rnn(x)[0].square())
    expected = slopes[80:].abs().log().mean().item()
    assert exponents(rnn, x, warmup=80).values[0] == pytest.approx(expected, rel=1e-12)


def test_an_orthogonal_network_keeps_everything():
    cell = cells.Orthogonal(1, 6, activation="identity", dtype=torch.float64)
    assert exponents(cell, torch.zeros(50, 1)).values == pytest.approx([0.0] * 6, abs=1e-14)


# Maps of the literature, as cells.


class Henon(Cell):
    """x, y -> 1 - 1.4 x² + y, 0.3 x: exponents 0.4192 and ln 0.3 - 0.4192 (Sprott 2003), dimension 1.258."""

    def forward(self, x, state):
        return torch.stack((1 - 1.4 * state[:, 0] ** 2 + state[:, 1], 0.3 * state[:, 0]), dim=1)


class Logistic(Cell):
    """h -> 4 h (1 - h): ln 2."""

    def forward(self, x, state):
        return 4 * state * (1 - state)


def test_henons_map():
    found = exponents(Henon(2), torch.zeros(300, 128, 1), state=0.1 * torch.rand(128, 2).double())
    assert found.values[0] == pytest.approx(0.4192, rel=0.01)
    assert sum(found.values) == pytest.approx(math.log(0.3), rel=1e-9)
    assert found.dimension == pytest.approx(1.258, rel=0.01)
    assert found.steps_left == math.inf


def test_the_logistic_map():
    found = exponents(Logistic(1), torch.zeros(300, 128, 1), state=torch.rand(128, 1).double())
    assert found.values[0] == pytest.approx(math.log(2), rel=0.01)


# The naive twin.


def gram_schmidt(vectors):
    """Orthonormal vectors, and the lengths that each had left."""
    found, lengths = [], []
    for vector in vectors:
        for other in found:
            vector = vector - (other @ vector) * other
        lengths.append(vector.norm())
        found.append(vector / lengths[-1])
    return found, lengths


def naive(place, row, warmup):
    """The means of ln of what Gram and Schmidt take out of J's products, one vector and one step at a time."""
    widths = [part.shape[1] for part in place.states[0]]
    states = [torch.cat([part[row] for part in state]).detach() for state in place.states]
    vectors, total = list(torch.eye(len(states[0])).double()), 0.0
    for t in range(1, len(states)):

        def step(state, t=t):
            after = place.step(place.inputs[t][row : row + 1].detach(), state[None].split(widths, -1))
            return torch.cat(after, -1)[0]

        jacobian = torch.autograd.functional.jacobian(step, states[t - 1])
        vectors, lengths = gram_schmidt([jacobian @ vector for vector in vectors])
        if t >= warmup:
            total = total + torch.stack(lengths).log()
    return total / (len(states) - warmup)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_same_as_the_algorithm_written_naively(kind):
    module = kind(2, 3).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)
    x = torch.randn(120, 2, 2).double()
    (place,), _ = unroll(module, x)
    found = exponents(module, x, warmup=50)
    expected = (naive(place, 0, 50) + naive(place, 1, 50)) / 2
    assert found.values == pytest.approx(expected.sort(descending=True).values.tolist(), rel=0.01)
    assert sum(found.values) == pytest.approx(expected.sum().item(), rel=1e-9)  # ln |det J|


def test_some_are_the_first_of_all_and_fewer_decompositions_give_the_same():
    gru, x = nn.GRU(2, 6), torch.randn(120, 2, 2)
    for parameter in gru.parameters():
        nn.init.normal_(parameter)
    every, first = exponents(gru, x), exponents(gru, x, count=3)
    assert first.values == pytest.approx(every.values[:3], rel=1e-9)
    assert exponents(gru, x, reorthonormalise=4).values == pytest.approx(every.values, rel=1e-6)
    assert math.isnan(Exponents(0, False, 9, (0.2, 0.1), (0.0, 0.0)).dimension)


def test_what_a_step_wipes_out_is_told():
    rnn = nn.RNN(2, 4, nonlinearity="relu")
    with torch.no_grad():
        rnn.bias_hh_l0.copy_(torch.tensor([9.0, 9.0, 9.0, -99.0]))
    values = exponents(rnn, torch.randn(100, 2)).values
    assert values[-1] == -math.inf
    assert all(-10 < value < 0 for value in values[:3])


# Errors, and what is made of the numbers.


@pytest.mark.parametrize("rows", [1, 4, 30])
def test_two_standard_errors_hold_the_truth_about_as_often_as_they_should(rows):
    """400 spectra each, of logarithms that are correlated from step to step: 0.6."""
    draws, steps = 400, 600
    noise = torch.randn(steps, rows, draws, generator=torch.Generator().manual_seed(1)).double()
    for t in range(1, steps):
        noise[t] += 0.6 * noise[t - 1]
    errors = _errors(noise, torch.ones(steps).double())
    held = (noise.mean(dim=(0, 1)).abs() < 2 * errors).double().mean().item()
    assert 0.9 < held < 0.97


def test_without_two_stretches_there_is_no_error():
    assert math.isnan(exponents(nn.RNN(1, 1), torch.zeros(1, 1)).errors[0])
    assert STRETCHES > 1


@pytest.mark.parametrize(
    ("values", "dimension"),
    [((-0.1, -0.2), 0.0), ((0.5, -0.1, -0.8), 2.5), ((0.5, -0.1, -0.3), 3.0), ((0.5, -math.inf), 1.0)],
)
def test_kaplan_and_yorkes_dimension(values, dimension):
    assert Exponents(0, False, len(values), values, values).dimension == pytest.approx(dimension)


def test_steps_left_are_where_a_fading_gradient_has_one_percent():
    assert Exponents(0, False, 1, (-0.1,), (0.0,)).steps_left == pytest.approx(46.05, rel=1e-3)


def test_as_text():
    fading = Exponents(0, False, 64, (-0.5, -0.75, -1.0, -math.inf), (0.01, 0.01, 0.02, math.nan))
    growing = Exponents(1, True, 2, (0.1, -0.4), (0.002, 0.003))
    text = str(Spectrum(400, 100, 1, (fading, growing)))
    assert text.splitlines() == [
        "Lyapunov exponents in nats per step, over 400 steps of 1 sequence",
        "layer 0               -0.5 ± 0.01      1% of a gradient left after 9 steps",
        "        4 of 64       -0.5 █▅▁  -inf      dimension 0",
        "layer 1 reverse        0.1 ± 0.002     a gradient grows tenfold in 23 steps",
        "         2 of 2        0.1 █▁ -0.4      dimension 1.25",
    ]
    assert max(map(len, text.splitlines())) <= 80
    unclear = Exponents(0, False, 1, (-0.001,), (0.002,))
    assert str(Spectrum(400, 100, 2, (unclear,))).splitlines()[1].endswith("not to be told from 0: gradients last")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 7}, "count: expected 1 to 6 exponents, as many as the state has numbers, got 7"),
        ({"count": 0}, "count: expected 1 to 6"),
        ({"warmup": 20}, "warmup: expected 0 to 19 steps, fewer than the inputs have, got 20"),
        ({"reorthonormalise": 0}, "reorthonormalise: expected a number of steps, 1 or more, got 0"),
    ],
)
def test_what_does_not_fit(options, message):
    with pytest.raises(ArgumentError, match=message):
        longreach.lyapunov(nn.LSTM(2, 3), torch.zeros(20, 2), **options)


def test_products_beyond_the_range_of_float64_are_told():
    module = Recurrent(cells.Elman, 1, 2, activation="identity", start="identity", gain=1e30)
    with pytest.raises(ArgumentError, match="every 20 steps is too seldom"):
        longreach.lyapunov(module, torch.zeros(20, 1), reorthonormalise=20, warmup=0)
