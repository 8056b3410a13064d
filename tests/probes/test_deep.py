import itertools

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from longreach.errors import ArgumentError
from longreach.probes.deep import deep_test, statistics
from longreach.probes.need import Design, ErrorSide, shortcut_test
from longreach.probes.products import PER_CELL, parts, scan, windows_of
from longreach.probes.samples import Pairs


def pairs(x, g, lengths=None, *, step=0):
    tokens = np.issubdtype(x.dtype, np.integer)
    lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
    return Pairs(step, x if tokens else x.astype(np.float32), g.astype(np.float32), lengths, tokens)


def at_the_end(x, values):
    """Errors that come at the last step."""
    g = np.zeros((*x.shape[:2], 1))
    g[:, -1, 0] = values
    return pairs(x, g)


def delayed_xor(rng, count, steps, near, far, *, share=1.0):
    """The error of a network at chance: whether two bits differ, as so much of its variance; the rest is noise."""
    bits = rng.integers(2, size=(count, steps, 1))
    differ = np.where(bits[:, -1 - near, 0] != bits[:, -1 - far, 0], 1.0, -1.0)
    return at_the_end(bits.astype(float), np.sqrt(share) * differ + np.sqrt(1 - share) * rng.standard_normal(count))


# ---------------------------------------------------------------- statistic and search


@pytest.fixture
def small():
    """(side, design, phi) of 24 sequences of unequal lengths, two anchors, three directions, two features."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 13, size=24)
    phi = lfilter([1], [1, -0.7], rng.standard_normal((24, 12, 2)), axis=1).astype(np.float32)
    phi *= (np.arange(12) >= 12 - lengths[:, None])[:, :, None]
    anchors = np.array([9, 11])
    levels = tuple(rng.standard_normal((2, 24, 3)).astype(np.float32) for _ in range(3))
    return ErrorSide(anchors, levels, 2, np.ones(3), np.ones((2, 24))), Design(phi, lengths, anchors), phi


def naive(side, far, near, depth, pairing):
    """S, as the equation reads: far and near [anchor][sequence]; the far ones are re-paired."""
    numerator, denominator = np.zeros(side.tested), 0.0
    for a, i in itertools.product(range(len(far)), range(len(far[0]))):
        g = side.levels[depth][a, i, : side.tested].astype(np.float64)
        product = float(far[a][pairing[i]]) * float(near[a][i])
        numerator, denominator = numerator + g * product, denominator + g @ g * product**2
    return numerator @ numerator / denominator if denominator > 1e-12 else 0.0


def test_the_statistic_agrees_with_the_equation(small):
    side = small[0]
    rng = np.random.default_rng(1)
    far, near = rng.standard_normal((2, 2, 24, 5)).astype(np.float32)
    depths, pairings = np.array([0, 2, 1, 1, 0]), np.stack([np.arange(24), rng.permutation(24)])
    values = statistics(side, far, near, depths, pairings)
    for (b, pairing), c in itertools.product(enumerate(pairings), range(5)):
        assert values[b, c] == pytest.approx(naive(side, far[:, :, c], near[:, :, c], depths[c], pairing), rel=1e-4)


def test_the_search_finds_what_looking_at_every_product_finds(small):
    side, design, phi = small
    windows = windows_of(phi, design).of(np.arange(24), design.lags)
    told = []
    candidates = scan(side, windows, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    best: dict[int, tuple[float, int]] = {}
    for far, near in itertools.product(range(windows.far.shape[2]), range(windows.near.shape[2])):
        if near // windows.width < windows.within[far // windows.width]:
            depth = min(windows.first[far // windows.width], 2)
            value = naive(side, windows.far[:, :, far], windows.near[:, :, near], depth, np.arange(24))
            best[far] = max(best.get(far, (-1.0, 0)), (value, near))
    cells = parts(np.repeat(windows.first, windows.width))
    for cell in np.unique(cells[list(best)]):
        order = sorted((far for far in best if cells[far] == cell), key=lambda far: -best[far][0])
        named = candidates.cell == cell
        assert candidates.far[named].tolist() == order[:PER_CELL]
        assert candidates.near[named].tolist() == [best[far][1] for far in order[:PER_CELL]]
        bar = best[order[PER_CELL]][0] if len(order) > PER_CELL else 0.0
        assert candidates.bar[cell] == pytest.approx(bar, rel=1e-4)


def test_parts_of_the_lags_grow_with_them():
    assert parts(np.arange(1, 9)).tolist() == [0, 1, 2, 3, 4, 5, 6, 6]
    assert np.diff(parts(np.arange(1, 500))).max() == 1


def test_a_partner_lies_nearer_than_the_far_window(small):
    _, design, phi = small
    windows = windows_of(phi, design)
    order = np.argsort(design.ends, kind="stable")
    assert windows.start.tolist() == design.starts[order].tolist()
    for first, within in zip(windows.first, windows.within, strict=True):
        assert (design.ends[order][:within] <= first).all()
        assert (design.ends[order][within:] > first).all()
    sums = windows.near.reshape(2, 24, len(order), 2)
    for a, w in itertools.product(range(2), range(len(order))):
        anchor, start, end = design.anchors[a], design.starts[order][w], design.ends[order][w]
        seen = phi[:, max(anchor + 1 - end, 0) : max(anchor + 1 - start, 0)].sum(axis=1)
        np.testing.assert_allclose(sums[a, :, w], seen, atol=1e-5)


def test_an_innovation_that_never_varies_among_some_sequences_is_no_news(small):
    _, design, phi = small
    some = np.arange(5, 20)
    far = windows_of(phi, design).of(some, design.lags[:, some]).far.reshape(2, 15, -1, 2)
    for a in range(2):
        has = design.lags[a, some][:, None] > windows_of(phi, design).first
        np.testing.assert_allclose((far[a] * has[:, :, None]).sum(axis=0), 0, atol=1e-4)


# ---------------------------------------------------------------- level


def count_false(runs, make, level, beyond=-1):
    lags = [deep_test([make(np.random.default_rng([7, seed]))], level=level, seed=seed) for seed in range(runs)]
    return sum(found is not None and found.need.lag is not None and found.need.lag > beyond for found in lags)


def test_the_level_holds_where_errors_and_inputs_are_independent():
    """Each half is tested at half of the level; both may be wrong together, so that it is not quite reached."""

    def make(rng):
        return at_the_end(rng.standard_normal((40, 8, 2)), rng.standard_normal(40) ** 3)

    found = count_false(100, make, 0.05)
    assert found <= binom.ppf(0.999, 100, 0.05)
    assert found > 0


@pytest.mark.parametrize("kind", ["product", "square"])
def test_what_recent_inputs_explain_is_no_far_need(kind):
    """Autocorrelated inputs, and an error from the last steps alone."""

    def make(rng):
        x = lfilter([1], [1, -0.9], rng.standard_normal((128, 240, 1)), axis=1)[:, 200:]
        recent = {"product": x[:, -1, 0] * x[:, -3, 0], "square": x[:, -1, 0] ** 2}[kind]
        return at_the_end(x, recent - recent.mean() + 0.5 * rng.standard_normal(128))

    assert count_false(30, make, 0.01, beyond=2) <= binom.ppf(0.999, 30, 0.01)


def test_a_rare_input_and_an_error_from_the_last_step_are_no_far_need():
    """In half of the sequences a rare mark may never come at some lag: the innovation is a constant there."""

    def make(rng):
        x = np.stack([rng.uniform(size=(128, 40)), rng.uniform(size=(128, 40)) < 0.01], axis=2).astype(float)
        return at_the_end(x, np.tanh(3 * (x[:, -1, 0] - 0.5)) + 0.3 * rng.standard_normal(128))

    assert count_false(30, make, 0.01, beyond=0) <= binom.ppf(0.999, 30, 0.01)


# ---------------------------------------------------------------- power


@pytest.mark.parametrize(("near", "far"), [(20, 50), (0, 59), (3, 5), (57, 58)])
def test_two_bits_that_count_only_together_are_found_where_they_are(near, far):
    sample = delayed_xor(np.random.default_rng(0), 500, 60, near, far)
    found = deep_test([sample])
    assert (found.need.lag, found.partner) == (far, near)
    assert found.need.strength[found.need.lags.index(far)] > 0.8
    assert all(share < 0.25 for lag, share in zip(found.need.lags, found.need.strength, strict=True) if lag != far)
    assert shortcut_test([sample]).lag is None


def test_tokens_far_back_in_a_long_sequence():
    rng = np.random.default_rng(0)
    ids = rng.integers(6, size=(600, 150, 1))
    same = ids[:, 10, 0] % 2 == ids[:, 90, 0] % 2
    found = deep_test([at_the_end(ids, same - 0.5)])
    assert (found.need.lag, found.partner) == (139, 59)


def test_bits_at_places_that_vary_are_found_by_bands():
    """One marked bit in each half of the sequence, anywhere; whether they differ."""
    rng = np.random.default_rng(0)
    count, rows = 2000, np.arange(2000)
    bits, marks = rng.integers(2, size=(count, 32)) * 2.0 - 1, np.zeros((count, 32))
    first, second = rng.integers(16, size=count), 16 + rng.integers(16, size=count)
    marks[rows, first] = marks[rows, second] = 1
    sample = at_the_end(np.stack([bits, marks], axis=2), bits[rows, first] * bits[rows, second])
    found = deep_test([sample])
    assert 16 <= found.need.lag <= 31


def test_every_step_may_have_an_error():
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(64, 80, 1)) * 2.0 - 1
    g = np.zeros((64, 80, 1))
    g[:, 30:] = bits[:, 23:73] * bits[:, :50]
    found = deep_test([pairs(bits, g)])
    assert (found.need.lag, found.partner) == (30, 7)


def test_the_detectable_share_is_found_four_times_in_five():
    def make(rng, share):
        return delayed_xor(rng, 300, 20, 4, 12, share=share)

    share = deep_test([make(np.random.default_rng(0), 0.0)]).need.detectable
    assert 0.05 < share < 0.3
    runs = 40
    hits = [deep_test([make(np.random.default_rng([1, s]), share)], seed=s).need.lag == 12 for s in range(runs)]
    assert binom.ppf(0.001, runs, 0.8) <= sum(hits) <= binom.ppf(0.999, runs, 0.9)


# ---------------------------------------------------------------- what cannot be tested


def test_nothing_to_test():
    x = np.random.default_rng(0).standard_normal((40, 10, 1))
    assert deep_test([]) is None
    assert deep_test([at_the_end(np.ones((40, 10, 1)), x[:, 0, 0])]) is None
    assert deep_test([at_the_end(x, np.ones(40))]) is None
    one = deep_test([at_the_end(x[:, :1], x[:, 0, 0] ** 3)])
    assert (one.need.lag, one.need.detectable, one.scanned) == (None, 1.0, 1.0)


def test_too_few_sequences_show_nothing():
    rng = np.random.default_rng(0)
    found = deep_test([delayed_xor(rng, 16, 10, 2, 5)])
    assert (found.need.lag, found.need.p_value, found.need.detectable, found.partner) == (None, 1.0, 1.0, None)


def test_when_time_is_up_the_far_lags_have_been_looked_at():
    rng = np.random.default_rng(0)
    sample = delayed_xor(rng, 400, 60, 20, 50)
    nothing = deep_test([sample], seconds=0.0)
    assert (nothing.need.lag, nothing.scanned, nothing.need.detectable) == (None, 0.0, 1.0)
    assert deep_test([sample]).scanned == 1.0


def test_too_few_draws_for_a_level():
    with pytest.raises(ArgumentError, match=r"draws >= 2 / level - 1, got level=0\.01, draws=198"):
        deep_test([], draws=198)


def test_it_draws_nothing_from_the_global_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    deep_test([delayed_xor(np.random.default_rng(0), 60, 10, 2, 5)])
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_lags_that_only_a_few_sequences_reach_are_no_division_by_zero():
    rng, lengths = np.random.default_rng(0), np.arange(12, 54)
    x = rng.standard_normal((42, 53, 2)) * (np.arange(53) < lengths[:, None])[:, :, None]
    g = np.zeros((42, 53, 2))
    g[np.arange(42), lengths - 1] = rng.standard_normal((42, 2))
    found = deep_test([pairs(x, g, lengths)])
    assert found is not None
    assert np.isfinite([found.need.detectable, *found.need.strength]).all()
