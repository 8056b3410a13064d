import itertools

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from longreach.errors import ArgumentError
from longreach.probes.need import Design, ErrorSide, shortcut_test, spans, statistics, verdicts
from longreach.probes.samples import Pairs


def pairs(x, g, lengths=None, *, step=0):
    tokens = np.issubdtype(x.dtype, np.integer)
    lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
    return Pairs(step, x if tokens else x.astype(np.float32), g.astype(np.float32), lengths, tokens)


def noise(seed, count=128, steps=40, *, features=1, directions=1, many=False):
    """Inputs and errors that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((count, steps, features)), rng.standard_normal((count, steps, directions))
    if not many:
        g[:, :-1] = 0
    return x, g


def delayed(values, lag):
    return np.concatenate([np.zeros_like(values[:, :lag]), values[:, : values.shape[1] - lag]], axis=1)


# ---------------------------------------------------------------- the statistic and its level


def naive(errors, inputs, pairing, window):
    """S, as the equation reads: inputs[anchor][sequence][lag][feature], errors[anchor][sequence][direction]."""
    total = 0.0
    for f in range(inputs[0].shape[2]):
        numerator, denominator = np.zeros(errors.shape[2]), 0.0
        for a, i in itertools.product(range(len(errors)), range(errors.shape[1])):
            g = errors[a, pairing[i]].astype(np.float64)
            e = sum(float(inputs[a][i, k, f]) for k in range(*window) if k < inputs[a].shape[1])
            numerator, denominator = numerator + g * e, denominator + g @ g * e**2
        total += numerator @ numerator / denominator
    return total


def test_the_statistic_agrees_with_the_equation():
    rng = np.random.default_rng(0)
    phi = lfilter([1], [1, -0.8], rng.standard_normal((20, 30, 2)), axis=1).astype(np.float32)
    anchors, lengths = np.array([25, 29]), np.full(20, 30)
    design = Design(phi, lengths, anchors)
    levels = tuple(rng.standard_normal((2, 20, 3)).astype(np.float32) for _ in range(3))
    side = ErrorSide(anchors, levels, 3, np.ones(3), np.ones((2, 20)))
    pairings = np.stack([np.arange(20), rng.permutation(20)])
    values = statistics(side, design, pairings)
    inputs = [design.innovations.before(anchor, anchor + 1) for anchor in anchors.tolist()]
    for w, (b, pairing) in itertools.product(range(len(design.starts)), enumerate(pairings)):
        window = (design.starts[w], design.ends[w])
        depth = min(window[0], 2)  # the errors are freed of as many single recent lags, as far as there are levels
        assert values[b, w] == pytest.approx(naive(levels[depth], inputs, pairing, window), rel=1e-3)


def test_windows_hold_every_lag_alone_and_bands_up_to_the_horizon():
    starts, ends = spans(100)
    single = ends - starts == 1
    assert starts[single].tolist() == list(range(100))
    assert (ends - starts)[~single].tolist() == [4] * 45 + [16] * 8
    assert ((ends - starts)[~single] * 2 <= starts[~single]).all()
    assert all(ends[ends - starts == width].max() == 100 for width in (1, 4, 16))
    assert [part.tolist() for part in spans(1)] == [[0], [1]]


def test_the_level_is_exact_where_errors_and_inputs_are_independent():
    """p <= 5 % in 5 % of runs, neither more nor less, although the errors' sizes are wild."""
    runs = 100
    found = 0
    for seed in range(runs):
        x, g = noise(seed, count=32, steps=8, directions=2)
        need = shortcut_test([pairs(x, g**3)], level=0.05, draws=99, seed=seed)
        found += need.p_value <= 0.05
    assert binom.ppf(0.001, runs, 0.05) <= found <= binom.ppf(0.999, runs, 0.05)


def test_a_verdict_counts_the_pairings_whose_maximum_is_as_large():
    values = np.ones((10, 2)) + np.arange(10)[:, None] / 100
    values[0, 1] = 50
    found = verdicts(values, np.array([12, 12]), 0.1)
    assert found.p.tolist() == [1.0, 0.1]
    few = verdicts(values, np.array([12, 11]), 0.1)
    assert few.p.tolist() == [1.0, 1.0]
    assert few.usable.tolist() == [True, False]


# ---------------------------------------------------------------- what is there is found, where it is


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("lag", [0, 1, 25, 39])
def test_a_planted_dependence_is_found_at_its_lag(lag, many):
    x, g = noise(1, features=2, directions=2, many=many)
    planted = delayed(x[:, :, 1:], lag)
    g[:, :, :1] = g[:, :, :1] + (planted if many else np.where(g[:, :, :1] == 0, 0, planted))
    need = shortcut_test([pairs(x, g)])
    assert need.lag == lag
    assert need.p_value <= 0.01
    assert need.lags[int(np.argmax(need.strength))] == lag


def test_the_largest_of_several_lags_is_the_need():
    x, g = noise(2)
    g[:, -1, 0] += x[:, -4, 0] + x[:, -31, 0]
    assert shortcut_test([pairs(x, g)]).lag == 30


def test_a_product_of_two_inputs_of_one_step_is_seen():
    x, g = noise(3, count=400, features=2)
    g[:, -1, 0] += x[:, -21, 0] * x[:, -21, 1]
    assert shortcut_test([pairs(x, g)]).lag == 20


def test_a_lag_that_varies_is_found_by_a_band_that_begins_at_or_before_it():
    """Adding: a marker anywhere in the first half; no lag alone explains more than 1 %."""
    rng = np.random.default_rng(0)
    value, marker, rows = rng.uniform(size=(512, 100)), np.zeros((512, 100)), np.arange(512)
    first = rng.integers(50, size=512)
    marker[rows, first] = 1
    g = np.zeros((512, 100, 1))
    g[:, -1, 0] = value[rows, first] - 0.5 + 0.2 * rng.standard_normal(512)
    need = shortcut_test([pairs(np.stack([value, marker], axis=2), g)])
    assert 70 <= need.lag <= 99


def test_tokens_are_seen_through_their_identity():
    rng = np.random.default_rng(0)
    ids, g = rng.integers(50, size=(256, 30, 1)), np.zeros((256, 30, 2))
    g[:, -1, 0] = 3 * (ids[:, 9, 0] == 7) + 3 * (ids[:, 9, 0] % 2) + rng.standard_normal(256)
    need = shortcut_test([pairs(ids, g)])
    assert (need.lag, need.tokens) == (20, True)


def test_sequences_end_together_and_what_lies_before_them_does_not_count():
    x, g = noise(4, count=200)
    lengths = np.random.default_rng(0).integers(15, 41, size=200)
    g[:, -1, 0] += np.where(lengths > 25, 1.5 * x[:, 14, 0], 0)
    need = shortcut_test([pairs(x, g, lengths)])
    assert need.lag == 25
    before = np.arange(40) < 40 - lengths[:, None]
    assert shortcut_test([pairs(np.where(before[:, :, None], 7.0, x), g, lengths)]) == need


def test_samples_of_different_length_are_pooled():
    short, long = noise(5, count=80, steps=20), noise(6, count=80, steps=50)
    for x, g in (short, long):
        g[:, -1, 0] += 1.5 * x[:, -16, 0]
    need = shortcut_test([pairs(*short, step=0), pairs(*long, step=1)])
    assert (need.lag, need.sequences, need.lags[-1]) == (15, 160, 49)


def test_one_long_stream_is_cut_into_pieces():
    x, g = noise(7, count=1, steps=3000, many=True)
    assert shortcut_test([pairs(x, g)]).lag is None
    need = shortcut_test([pairs(x, g + delayed(x, 20))])
    assert (need.lag, need.sequences) == (20, 1)


# ---------------------------------------------------------------- what is not there is not found


def autoregression(weights):
    def draw(rng, count, steps):
        return lfilter([1], [1, *(-w for w in weights)], rng.standard_normal((count, steps + 200, 1)), axis=1)[:, 200:]

    return draw


def seasonal(rng, count, steps):
    wave = np.sin(2 * np.pi * (np.arange(steps) / 24 + rng.uniform(size=(count, 1))))
    return (wave + 0.5 * rng.standard_normal((count, steps)))[:, :, None]


def level_per_sequence(rng, count, steps):
    return rng.standard_normal((count, 1, 1)) + rng.standard_normal((count, steps, 1))


def scale_per_sequence(rng, count, steps):
    return rng.lognormal(0, 1, (count, 1, 1)) * rng.standard_normal((count, steps, 1))


def markov_tokens(rng, count, steps):
    moves = rng.uniform(size=(count, steps)) < 0.3
    return ((rng.integers(6, size=(count, 1)) + moves.cumsum(axis=1)) % 6)[:, :, None]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    "draw",
    [
        autoregression([0.95]),
        autoregression([1.6, -0.9]),
        seasonal,
        level_per_sequence,
        scale_per_sequence,
        markov_tokens,
    ],
    ids=["AR(1)", "AR(2)", "seasonal", "level", "scale", "Markov"],
)
def test_what_recent_inputs_explain_is_no_far_need(draw, many):
    """Errors from x_t, …, x_{t-3}, linear and not; each single run may be wrong with a probability of 1 %."""
    far, near, runs = 0, 0, 3
    for seed in range(runs):
        rng = np.random.default_rng([11, seed])
        x = draw(rng, 192, 60)
        score = (np.sin(3.0 * x) if x.dtype.kind == "i" else x) / x.std()
        score = 0.5 * score + 0.7 * delayed(score, 1) - 0.4 * delayed(score, 3)
        g = (np.tanh(2 * score), score, score * delayed(score, 0))[seed % 3] + 0.3 * rng.standard_normal(score.shape)
        if not many:
            g[:, :-1] = 0
        lag = shortcut_test([pairs(x, g)], seed=seed).lag
        near, far = near + (lag is not None), far + (lag is not None and lag > 3)
    assert far <= binom.ppf(0.999, runs, 0.01)
    assert near > 0


def test_a_drift_that_weights_and_data_share_is_no_need():
    """Data in order, and an error whose mean moves as training goes on: both change from step to step."""
    samples = []
    for step in range(16):
        x, g = noise([1, step], count=16, steps=20)
        g[:, -1] += step / 4
        samples.append(pairs(x + step / 4, g, step=step))
    assert shortcut_test(samples).p_value > 0.01
    merged = [np.concatenate([getattr(sample, name) for sample in samples]) for name in ("inputs", "errors", "lengths")]
    assert shortcut_test([pairs(*merged)]).p_value <= 0.01  # what it would be if all had come from one step


def test_sequences_that_come_again_count_once():
    """Forty sequences seen for ten epochs are forty sequences: accidents do not become needs by repetition."""
    x, g = noise(8, count=40, steps=20)
    once = shortcut_test([pairs(x, g, step=9)])
    assert shortcut_test([pairs(x, 0.9 * g, step=step) for step in range(9)] + [pairs(x, g, step=9)]) == once
    assert once.sequences == 40


# ---------------------------------------------------------------- strength and the smallest detectable effect


@pytest.mark.parametrize("lag", [0, 12])
def test_strength_is_the_share_of_variance(lag):
    x, g = noise(9, count=2000, features=2, directions=2)
    g[:, -1, 0] += x[:, -1 - lag, 0]  # of a total variance of 3, one third
    need = shortcut_test([pairs(x, g)])
    assert need.strength[lag] == pytest.approx(1 / 3, abs=0.04)
    apart = [
        s for k, s in zip(need.lags, need.strength, strict=True) if not lag - 4 < k <= lag
    ]  # bands begin before it
    assert max(apart) < 0.01


def test_a_sharp_peak_between_two_reported_lags_keeps_its_height():
    x, g = noise(10, count=300, steps=600)
    g[:, -1, 0] += 2 * x[:, -1 - 517, 0]
    need = shortcut_test([pairs(x, g)])
    assert need.lag == 517
    assert len(need.lags) <= 129
    assert list(need.lags) == sorted(set(need.lags))
    assert need.strength[need.lags.index(517)] == pytest.approx(0.8, abs=0.05)


def test_the_detectable_share_is_found_four_times_in_five_give_or_take_a_factor_of_one_and_a_half():
    runs, count, lag = 25, 200, 20

    def found(seed, share):
        x, g = noise([12, seed], count=count)
        g[:, -1, 0] = np.sqrt(1 - share) * g[:, -1, 0] + np.sqrt(share) * x[:, -1 - lag, 0]
        need = shortcut_test([pairs(x, g)], seed=seed)
        return need.lag == lag, need.detectable

    stated = np.median([found(seed, 0.0)[1] for seed in range(10)])
    assert sum(found(seed, 1.5 * stated)[0] for seed in range(runs)) >= binom.ppf(0.01, runs, 0.8)
    assert sum(found(seed, stated / 1.5)[0] for seed in range(runs)) <= binom.ppf(0.99, runs, 0.8)


def test_more_sequences_make_smaller_effects_detectable():
    stated = [shortcut_test([pairs(*noise(13, count=count))]).detectable for count in (64, 256, 1024)]
    assert stated[0] > 2.5 * stated[1] > 6 * stated[2] > 0


# ---------------------------------------------------------------- bad and small input


def test_nothing_to_test_gives_none():
    x, g = noise(14)
    empty = np.zeros(len(x), int)
    assert shortcut_test([]) is None
    assert shortcut_test([pairs(np.ones_like(x), g)]) is None
    assert shortcut_test([pairs(np.zeros(x.shape, int), g)]) is None
    assert shortcut_test([pairs(x, 0 * g)]) is None
    assert shortcut_test([pairs(x, np.ones_like(g))]) is None
    assert shortcut_test([pairs(np.full_like(x, np.nan), g)]) is None
    assert shortcut_test([pairs(x, g, empty)]) is None


def test_sequences_with_anything_not_finite_are_left_out():
    x, g = noise(15)
    g[:, -1, 0] += 2 * x[:, -11, 0]
    clean = shortcut_test([pairs(x[20:], g[20:])])
    x[:10, 3], g[10:20, -1] = np.nan, np.inf
    assert shortcut_test([pairs(x, g)]) == clean
    assert (clean.lag, clean.sequences) == (10, 108)


@pytest.mark.parametrize("tokens", [False, True])
def test_a_single_step_has_lag_zero_only(tokens):
    rng = np.random.default_rng(0)
    x = rng.integers(5, size=(100, 1, 1)) if tokens else rng.standard_normal((100, 1, 1))
    need = shortcut_test([pairs(x, x + rng.standard_normal((100, 1, 1)))])
    assert (need.lag, need.lags) == (0, (0,))
    assert shortcut_test([pairs(x, rng.standard_normal((100, 1, 1)))]).lag is None


@pytest.mark.parametrize("count", [2, 5, 11])
def test_few_sequences_find_nothing_and_say_so(count):
    x, g = noise(16, count=count)
    g[:, -1] = 5 * x[:, -3]
    need = shortcut_test([pairs(x, g)])
    assert (need.lag, need.p_value, need.detectable, need.sequences) == (None, 1.0, 1.0, count)


def test_scales_do_not_matter():
    x, g = noise(17)
    g[:, -1, 0] += 0.5 * x[:, -6, 0]
    plain, scaled = shortcut_test([pairs(x, g)]), shortcut_test([pairs(1e30 * x, 1e-20 * g)])
    assert scaled.lag == plain.lag
    assert scaled.detectable == pytest.approx(plain.detectable, rel=1e-3)


def test_layers_cannot_be_mixed():
    x, g = noise(18)
    with pytest.raises(ArgumentError, match=r"expected samples of one layer.*\(1, 1, False\), \(2, 1, False\)"):
        shortcut_test([pairs(x, g), pairs(np.repeat(x, 2, axis=2), g)])


@pytest.mark.parametrize(("level", "draws"), [(0.01, 98), (0.0, 199), (1.0, 199)])
def test_a_level_that_the_draws_cannot_reach_is_refused(level, draws):
    with pytest.raises(ArgumentError, match="with fewer draws no p-value can be that small"):
        shortcut_test([pairs(*noise(19))], level=level, draws=draws)


def test_the_result_depends_on_the_seed_alone_and_leaves_no_trace():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    samples = [pairs(*noise(20))]
    assert shortcut_test(samples, seed=3) == shortcut_test(samples, seed=3)
    assert shortcut_test(samples, seed=3).p_value != shortcut_test(samples, seed=4).p_value
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_large_problem_is_made_smaller_and_stays_the_same_problem():
    """900 sequences of 600 steps and 27 features: as many are tested as the work allows, and the lag is found."""
    x, g = noise(21, count=900, steps=600, features=6)
    g[:, -1, 0] += x[:, -400, 2]
    need = shortcut_test([pairs(x, g)])
    assert (need.lag, need.sequences) == (399, 740)
