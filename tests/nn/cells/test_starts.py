"""How the weights of cells start, and what they refuse to start with."""

from functools import partial

import pytest
import torch
from scipy import stats

from longreach.errors import ArgumentError
from longreach.nn.cells import (
    GRU,
    LEM,
    LRU,
    LSTM,
    Antisymmetric,
    BatchNorm,
    CoRNN,
    Dilated,
    Elman,
    IndRNN,
    LayerNorm,
    Leaky,
    MinGRU,
    Phases,
    Skip,
    Variational,
    Zoneout,
)


def test_weights_start_as_torchs():
    torch.manual_seed(1)
    ours = LSTM(3, 4)
    torch.manual_seed(1)
    theirs = torch.nn.LSTMCell(3, 4)
    for name, weight in theirs.named_parameters():
        assert torch.equal(getattr(ours, name), weight)


def test_identity_and_orthogonal_starts():
    eye = torch.eye(5)
    cell = Elman(3, 5, start="identity", gain=0.5)
    assert torch.equal(cell.weight_hh, 0.5 * eye)
    assert not cell.bias_ih.any()
    assert not cell.bias_hh.any()
    for square in GRU(3, 5, start="orthogonal", gain=2.0).weight_hh.split(5):
        torch.testing.assert_close(square @ square.T, 4 * eye)


def test_prelu_keeps_its_slope_when_weights_are_drawn_anew():
    cell = Elman(3, 5, activation="prelu")
    cell.reset_parameters()
    assert cell.slope.tolist() == [0.25]


def test_forget_bias():
    cell = LSTM(3, 4, forget_bias=1.5)
    total = cell.bias_ih + cell.bias_hh
    assert total[4:8].tolist() == [1.5] * 4
    assert (total[:4] != 0).all()


def test_chrono_starts_with_the_logarithm_of_lags():
    cell = LSTM(3, 4000, chrono=100)
    i, f, _, _ = (cell.bias_ih + cell.bias_hh).detach().chunk(4)
    assert torch.equal(i, -f)
    assert stats.kstest(f.exp().double().numpy(), stats.uniform(1, 98).cdf).pvalue > 1e-3


def test_indrnn_starts_within_its_range():
    u = IndRNN(3, 4000, longest=10).u.detach().double().numpy()
    assert stats.kstest(u, stats.uniform(0, 2**0.1).cdf).pvalue > 1e-3


def test_lru_starts_in_its_ring_and_stays_in_the_disc():
    cell = LRU(3, 4000, r_min=0.5, r_max=0.9, max_phase=1.0)
    factors = cell.factors().detach()
    squared = (factors.abs() ** 2).double().numpy()
    assert stats.kstest(squared, stats.uniform(0.25, 0.81 - 0.25).cdf).pvalue > 1e-3
    assert factors.angle().min() >= 0
    assert factors.angle().max() <= 1.0
    torch.testing.assert_close(cell.gamma.exp() ** 2, 1 - factors.abs() ** 2, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        cell.nu.uniform_(-3, 3)
    assert (cell.factors().abs() < 1).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(Elman, activation="softmax"), "activation: expected one of tanh, relu"),
        (partial(Elman, start="zeros"), "start: expected one of uniform, identity, orthogonal, got 'zeros'"),
        (partial(Leaky, a=0.0), "a: expected 0 < a <= 1, got 0.0; for the network without a leak take a=1"),
        (partial(LSTM, chrono=2), "chrono: expected the longest lag of the task, 3 steps or more, got 2"),
        (partial(LSTM, chrono=9, forget_bias=1.0), "forget_bias, chrono: expected one of them, got both"),
        (partial(LSTM, forget_bias=1.0, bias=False), "bias: expected True"),
        (partial(Antisymmetric, epsilon=0.0), "epsilon: expected the length of a step, above 0, got 0.0"),
        (partial(Skip, inner=GRU, lag=0), "lag: expected a number of steps, 1 or more, got 0"),
        (partial(Dilated, inner=GRU, lag=-1), "lag: expected a number of steps, 1 or more, got -1"),
        (
            partial(Zoneout, inner=GRU, rate=1.5),
            "rate: expected a share between 0 and 1, or one for each of h, got",
        ),
        (partial(Zoneout, inner=LSTM, rate=(0.1, 0.2, 0.3)), "rate: .* one for each of h, c, got"),
        (partial(Variational, inner=GRU, p_state=1.0), "p_state: expected a share, 0 <= p_state < 1, got 1.0"),
        (partial(LayerNorm, inner=MinGRU), "inner: expected a cell with gates, as Elman, GRU and LSTM, got MinGRU"),
        (partial(BatchNorm, inner=GRU, max_length=0), "max_length: expected a number of steps, 1 or more, got 0"),
        (partial(IndRNN, activation="prelu"), "activation: expected one of tanh, relu"),
        (partial(IndRNN, longest=0), "longest: expected a lag, 1 step or more, got 0"),
        (partial(LRU, r_min=0.9, r_max=0.5), "r_min, r_max: expected 0 <= r_min < r_max <= 1, got 0.9 and 0.5"),
        (partial(CoRNN, dt=0.0), "dt, gamma, epsilon: expected numbers above 0, got 0.0, 2.7, 4.7"),
        (partial(LEM, dt=2.0), "dt: expected 0 < dt <= 1, got 2.0"),
    ],
)
def test_what_is_refused(build, message):
    with pytest.raises(ArgumentError, match=message):
        build(3, 4)


def test_an_lru_has_no_half_precision():
    cell = LRU(3, 4, dtype=torch.float32)
    with pytest.raises(ArgumentError, match="input: expected float32 or float64, as no complex numbers are made of"):
        cell.start(2, like=torch.zeros(1, dtype=torch.bfloat16))


def test_phases_keep_what_is_a_lag_old_and_tell_its_steps_apart():
    torch.manual_seed(0)
    cell = Phases(3, 4000, lag=50)
    kept, phase = cell.factors().abs() ** 50, cell.factors().angle() % (2 * torch.pi)
    assert kept.min() > 0.49  # e^-0.7
    assert kept.max() < 0.91  # e^-0.1
    assert stats.kstest(phase.detach() / torch.pi, "uniform").pvalue > 1e-4
    with pytest.raises(ArgumentError, match="lag: expected the longest lag of the task, a step or more, got 0"):
        Phases(3, 4, lag=0)


def test_chrono_of_a_minimal_gru():
    torch.manual_seed(0)
    cell = MinGRU(3, 4000, chrono=100)
    u = torch.exp(-cell.bias[:4000].detach())
    assert stats.kstest((u - 1) / 98, "uniform").pvalue > 1e-4
    assert not cell.bias[4000:].any()
    with pytest.raises(ArgumentError, match="chrono: expected the longest lag of the task, 3 steps or more, got 2"):
        MinGRU(3, 4, chrono=2)
