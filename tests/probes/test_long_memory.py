import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import gamma
from scipy.stats import binom, norm

from longreach.probes.memory import long_memory
from longreach.probes.samples import Pairs


def arfima(rng, d, steps, count=1, series=1):
    """(sequence, step, series) of ARFIMA(0, d, 0), exact: circulant embedding of its autocovariances."""
    lags = np.arange(1, steps + 1)
    covariance = gamma(1 - 2 * d) / gamma(1 - d) ** 2 * np.append(1.0, np.cumprod((lags - 1 + d) / (lags - d)))
    spectrum = np.fft.rfft(np.append(covariance, covariance[-2:0:-1])).real
    assert spectrum.min() > -1e-9
    noise = rng.standard_normal((count, series, steps + 1, 2)) @ (1, 1j)
    noise[..., [0, -1]] = noise[..., [0, -1]].real * np.sqrt(2)
    x = np.fft.irfft(np.sqrt(np.maximum(spectrum, 0) * steps) * noise, axis=-1)[..., :steps]
    return x.transpose(0, 2, 1)


def autoregression(rng, weight, steps, count=1):
    return lfilter([1], [1, -weight], rng.standard_normal((count, steps + 200, 1)), axis=1)[:, 200:]


def pairs(x, lengths=None):
    lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
    return [Pairs(0, x if x.dtype.kind == "i" else x.astype(np.float32), np.zeros_like(x, np.float32), lengths, False)]


def test_the_simulation_has_the_variance_of_theory():
    x = arfima(np.random.default_rng(0), 0.3, 64, 4000)
    assert x.var() == pytest.approx(gamma(0.4) / gamma(0.7) ** 2, rel=0.05)


@pytest.mark.parametrize("d", [-0.2, 0.0, 0.2, 0.4])
def test_d_is_unbiased_and_its_error_is_as_stated(d):
    """200 series of 2,000 steps, m = 44: mean, spread and coverage; by the errors of each."""
    rng, runs = np.random.default_rng(1), 200
    found = [long_memory(pairs(arfima(rng, d, 2000))) for _ in range(runs)]
    estimates, error = np.array([memory.d for memory in found]), found[0].error
    assert found[0].bandwidth == 44
    assert error == pytest.approx(1 / (2 * np.sqrt(44)), rel=0.2)  # the limit, which short series do not reach
    assert abs(estimates.mean() - d) < norm.ppf(0.9995) * error / np.sqrt(runs)
    assert estimates.std() == pytest.approx(error, rel=0.2)
    covered = (np.abs(estimates - d) < norm.ppf(0.975) * error).sum()
    assert binom.ppf(0.0005, runs, 0.95) <= covered <= binom.ppf(0.9995, runs, 0.95)
    fired = sum(memory.p_value < 0.05 for memory in found)
    assert fired <= binom.ppf(0.999, runs, 0.05) if d <= 0 else fired > {0.2: 0.2, 0.4: 0.7}[d] * runs


def test_many_sequences_make_it_sharper():
    rng = np.random.default_rng(2)
    found = [long_memory(pairs(arfima(rng, 0.2, 400, 64, 2) * rng.lognormal(size=(64, 1, 1)))) for _ in range(30)]
    estimates, errors = np.array([(memory.d, memory.error) for memory in found]).T
    assert errors.mean() == pytest.approx(estimates.std(), rel=0.4)
    assert abs(estimates.mean() - 0.2) < 0.01  # sequences as short as this are biased by so much
    assert (found[0].sequences, found[0].series, found[0].bandwidth, found[0].length) == (64, 2, 20, 400)


def test_series_that_are_one_count_as_one():
    x = arfima(np.random.default_rng(3), 0.3, 1000)
    alone, twice = long_memory(pairs(x)), long_memory(pairs(np.concatenate([x, -2 * x], axis=2)))
    assert twice.d == pytest.approx(alone.d, abs=1e-4)
    assert twice.error == pytest.approx(alone.error, rel=1e-4)


@pytest.mark.parametrize("weight", [0.3, 0.5, 0.7])
def test_short_memory_does_not_pass_for_long(weight):
    rng, runs = np.random.default_rng(4), 150
    found = [long_memory(pairs(autoregression(rng, weight, 2000))) for _ in range(runs)]
    assert sum(memory.p_value < 0.05 for memory in found) <= binom.ppf(0.999, runs, 0.05)


def test_memory_of_a_fortieth_of_the_series_is_too_long_to_be_told():
    """The bias that the data sheet states: an AR(1) of 0.9 seen for 500 steps, in many sequences."""
    memory = long_memory(pairs(autoregression(np.random.default_rng(5), 0.9, 500, 64)))
    assert memory.d > 0.3
    assert memory.p_value < 0.01


def test_what_has_no_memory_to_measure():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 200, 1))
    assert long_memory([]) is None
    assert long_memory(pairs(x[:, :99])) is None
    assert long_memory(pairs(np.ones((4, 200, 1)))) is None
    ids = Pairs(0, rng.integers(5, size=(4, 200, 1)), np.zeros((4, 200, 1), np.float32), np.full(4, 200), True)
    assert long_memory([ids]) is None
    x[0, 50] = np.nan
    assert long_memory(pairs(x)).sequences == 3
    assert long_memory(pairs(np.concatenate([x, np.ones_like(x)], axis=2))).series == 1
    assert long_memory(pairs(x, np.array([200, 120, 120, 120]))).length == 120
