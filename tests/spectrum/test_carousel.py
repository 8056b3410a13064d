"""The LSTM's carousel against closed forms and the Jacobians of the unrolled twin."""

import math

import pytest
import torch
from tests.unrolled import unroll
from torch import nn

import longreach
import longreach.nn as ours
from longreach.errors import ArgumentError
from longreach.nn import Recurrent, cells
from longreach.spectrum.carousel import Carousel, Split

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own

T, HIDDEN = 9, 4


def deaf(forget):
    """An LSTM whose gates do not listen to h: forget biases as given."""
    lstm = nn.LSTM(2, len(forget)).double()
    with torch.no_grad():
        lstm.weight_hh_l0.zero_()
        lstm.weight_ih_l0.zero_()
        lstm.bias_ih_l0.zero_()
        lstm.bias_hh_l0[len(forget) : 2 * len(forget)] = torch.tensor(forget).double()
    return lstm


def test_gates_that_do_not_listen_to_h_leave_the_carousel_alone():
    (found,) = longreach.carousel(deaf([2.0, 0.0]), torch.randn(300, 3, 2), lags=[0, 1, 7, 299]).places
    f = torch.tensor([2.0, 0.0]).double().sigmoid()
    expected = [0.5 * (f ** (2 * lag)).mean().log().item() for lag in (0, 1, 7, 299)]
    assert found.alone == pytest.approx(expected, abs=1e-11)
    assert found.together == pytest.approx(expected, abs=1e-11)
    assert found.through_h == (-math.inf,) * 4
    assert found.share == (1.0,) * 4
    assert found.half_lives == pytest.approx((math.log(2) / -f.log()).tolist())


def test_a_carousel_that_is_constant_and_one_far_below_any_float():
    (found,) = longreach.carousel(deaf([1000.0, 1000.0]), torch.randn(50, 2)).places
    assert found.alone == (0.0,) * len(found.alone)
    assert found.half_lives == (math.inf, math.inf)
    (found,) = longreach.carousel(deaf([-30.0]), torch.randn(301, 2), lags=[300]).places
    assert found.alone == pytest.approx((300 * math.log(torch.tensor(-30.0).double().sigmoid()),), rel=1e-12)


def by_autograd(place, row, lag):
    """∂c_t/∂c_{t-k} of the twin, t its last step, and the product of its forget gates."""
    h, c = (part[row : row + 1].detach() for part in place.states[T - 1 - lag])
    seen = []

    def after(c):
        state = (h, c[None])
        for x in place.inputs[T - lag :]:
            gates = x[row : row + 1] @ place.weights[0].T + state[0] @ place.weights[1].T + sum(place.weights[2:4])
            seen.append(torch.sigmoid(gates.chunk(4, 1)[1])[0].detach())
            state = place.step(x[row : row + 1].detach(), state)
        return state[1][0]

    whole = torch.autograd.functional.jacobian(after, c[0])
    return whole, torch.stack(seen[: max(lag, 0)]).prod(0) if lag else torch.ones(len(whole)).double()


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.LSTM(2, HIDDEN, 2, bidirectional=True),
        lambda: nn.LSTM(2, HIDDEN, proj_size=3),
        lambda: ours.LSTM(2, HIDDEN),
    ],
)
def test_both_ways_and_their_sum_are_those_of_autograd(build):
    lstm, x = build().double(), torch.randn(T, 3, 2).double()
    for parameter in lstm.parameters():
        nn.init.normal_(parameter, std=0.8)
    places, _ = unroll(lstm, x)
    result = longreach.carousel(lstm, x)
    assert result.lags == tuple(range(T))
    for found, place in zip(result.places, places, strict=True):
        for lag in range(1, T):
            rows = []
            for row in range(3):
                whole, kept = by_autograd(place, row, lag)
                alone, rest = kept.norm(), (whole - kept.diag()).norm()
                rows.append([alone, rest, whole.norm(), alone**2 / (alone**2 + rest**2)])
            alone, rest, whole, share = torch.tensor(rows).double().median(dim=0).values.tolist()
            root = 0.5 * math.log(HIDDEN)
            assert found.alone[lag] == pytest.approx(math.log(alone) - root, abs=1e-10)
            assert found.together[lag] == pytest.approx(math.log(whole) - root, abs=1e-10)
            assert math.exp(found.through_h[lag] + root) == pytest.approx(rest, abs=1e-12)
            assert found.share[lag] == pytest.approx(share, abs=1e-10)


def test_cells_and_recurrent_are_the_same_as_the_layer():
    lstm, cell = nn.LSTM(2, HIDDEN), nn.LSTMCell(2, HIDDEN)
    mine = Recurrent(cells.LSTM, 2, HIDDEN)
    weights = {name.removesuffix("_l0"): weight for name, weight in lstm.state_dict().items()}
    cell.load_state_dict(weights)
    mine.cells[0].load_state_dict(weights)
    x = torch.randn(20, 2, 2)
    assert longreach.carousel(lstm, x) == longreach.carousel(cell, x) == longreach.carousel(mine, x)


def test_as_text():
    split = Split(0, False, (0.0, -2.0), (-math.inf, -1.0), (0.0, -0.9), (1.0, 0.12), (0.5, 12.3, math.inf))
    text = str(Carousel((0, 40), (split,)))
    assert text.splitlines() == [
        "Gain from c_t to c_{t-k}",
        "layer 0          c alone halves a gradient in 0.5 to inf steps, median 12.3",
        "                   lag     c alone   through h    together   share of c alone",
        "                     0           1           0           1   100%",
        "                    40        0.14        0.37        0.41   12%",
    ]
    assert max(map(len, text.splitlines())) <= 80


def test_of_many_lags_few_are_printed():
    x = torch.randn(200, 2)
    shown = str(longreach.carousel(nn.LSTM(2, 2), x)).splitlines()[3:]
    assert [int(line.split()[0]) for line in shown] == [1, 2, 4, 8, 16, 32, 64, 128, 199]


@pytest.mark.parametrize("module", [nn.GRU(2, 3), nn.RNNCell(2, 3), cells.Peephole(2, 3)])
def test_only_an_lstm_has_a_carousel(module):
    with pytest.raises(ArgumentError, match="lstm: expected an LSTM, got"):
        longreach.carousel(module, torch.zeros(5, 2))


def test_lags_beyond_the_inputs_are_told():
    with pytest.raises(ArgumentError, match="lags: expected whole numbers from 0 to 4"):
        longreach.carousel(nn.LSTM(2, 3), torch.zeros(5, 2), lags=[5])
