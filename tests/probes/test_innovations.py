import numpy as np
from scipy.signal import lfilter

from longreach.probes.innovations import Innovations


def autoregression(rng, count, steps, weights):
    noise = rng.standard_normal((count, steps + 200, 1))
    return lfilter([1.0], [1.0, *(-w for w in weights)], noise, axis=1)[:, 200:].astype(np.float32)


def test_white_inputs_are_only_scaled():
    phi = 3 * np.random.default_rng(0).standard_normal((200, 50, 1)).astype(np.float32)
    before = Innovations(phi, np.full(200, 50)).before(49, 50)
    np.testing.assert_allclose(before, phi[:, ::-1] / phi.std(), rtol=0.03)


def test_of_an_autoregression_what_is_left_is_the_backward_noise():
    phi = autoregression(np.random.default_rng(0), 400, 80, [0.9])
    innovations = Innovations(phi, np.full(400, 80))
    before = innovations.before(70, 71)  # φ_{t-k}, seen from t = 70
    theory = (phi[:, :70] - 0.9 * phi[:, 1:71])[:, ::-1]
    assert min(np.corrcoef(before[:, k, 0], theory[:, k - 1, 0])[0, 1] for k in range(1, 71)) > 0.999
    assert np.corrcoef(before[:, 0, 0], phi[:, 70, 0])[0, 1] > 0.9999  # nothing is more recent than lag 0


def test_what_is_left_does_not_correlate_with_more_recent_inputs():
    phi = autoregression(np.random.default_rng(1), 600, 100, [1.6, -0.9])
    before = Innovations(phi, np.full(600, 100)).before(99, 100)[:, :, 0]
    correlation = np.corrcoef(before.T, phi[:, ::-1, 0].T)[:100, 100:]  # of the lag k with x at the lag j
    recent = np.abs(correlation[np.tril_indices(100, -1)])
    assert (recent > 4 / np.sqrt(600)).mean() < 0.001
    assert np.abs(correlation[30, 31:34]).min() > 0.2  # while with older ones it does


def test_no_step_after_the_anchor_is_used():
    rng = np.random.default_rng(0)
    phi = autoregression(rng, 200, 60, [0.9])
    innovations = Innovations(phi, np.full(200, 60))
    before = innovations.before(40, 41).copy()
    innovations.phi[:, 41:] = 1e6
    innovations.sums[:, 42:] = 1e6
    np.testing.assert_array_equal(innovations.before(40, 41)[:, : innovations.reach], before[:, : innovations.reach])
    assert innovations.reach > 0


def test_steps_before_a_sequence_begins_stay_zero():
    rng = np.random.default_rng(0)
    phi = autoregression(rng, 300, 60, [0.95])
    lengths = rng.integers(20, 61, size=300)
    valid = np.arange(60) >= 60 - lengths[:, None]
    before = Innovations(phi * valid[:, :, None], lengths).before(59, 60)
    assert not before[~valid[:, ::-1]].any()
    assert before[valid[:, ::-1]].all()


def test_blank_stretches_are_no_evidence_of_a_dependence():
    """Ten white symbols, then blanks: with few steps that vary, chance must not pass for autocorrelation."""
    phi = np.zeros((256, 200, 4), np.float32)
    phi[:, :10] = np.random.default_rng(0).standard_normal((256, 10, 4))
    innovations = Innovations(phi, np.full(256, 200))
    assert innovations.reach == 0
    assert not innovations.before(199, 200)[:, :190].any()
