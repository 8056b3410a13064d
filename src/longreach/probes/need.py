"""How far back the error still depends on the input: the shortcut test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.special import chndtrinc

from longreach.errors import ArgumentError
from longreach.probes.features import features
from longreach.probes.innovations import WINDOWS, Innovations, contained, running_sums
from longreach.probes.pool import Pool, pool
from longreach.probes.samples import Pairs
from longreach.record import Need

DRAWS = 199  # re-pairings; two of the 200 pairings may lie beyond a level of 1 %
FEWEST = 12  # sequences that must reach a lag for it to be tested
WORK = 40e9  # floating-point operations that the re-pairings may take: a third of a second on two cores
TOUCHED = 12_000_000  # numbers (sequence, step, feature) gone through at most, and twice that over all anchors
SIZES = ((8, 4), (4, 4), (4, 2), (2, 2), (1, 2), (1, 1))  # (anchors, error directions) tried until the work fits
DIRECTIONS = 8  # of the errors, at most
CHUNK = 16_000_000  # numbers held at once while re-pairing
POINTS = 128  # lags at which strength is reported, at most
POWER = 0.8  # at which the detectable share is stated


def shortcut_test(pairs: Sequence[Pairs], *, level: float = 0.01, draws: int = DRAWS, seed: int = 0) -> Need | None:
    """Would a skip connection from t-k to t receive a consistent gradient, and up to which lag k?

    S(w) = Σ_f ‖Σ_{i,t} g̃_{i,t} ε_{i,w,f}‖² / Σ_{i,t} ‖g̃_{i,t}‖² ε²_{i,w,f}

    i        sequences; t: up to 8 anchor steps, spread over the energy of the error in the second half of the steps
    w        a single lag k, or a band of lags [k, k + width) whose innovations are summed, of width 4, 16, 64, …, at
             most half of k: where the true lag varies, each lag alone explains next to nothing
    ε        the innovation: features of x_{t-k} less what more recent inputs tell about them (`Innovations`)
    g̃        the error less its regression on the recent inputs themselves (windows near t, within the lags < k, at most
             a column per ten pairs). ε and g̃ are both freed of recent inputs, and what is left of one meets what is
             left of the other: a false need takes a failure of both (Shah & Peters 2020, Annals of Statistics 48:1514)
    Null     the errors of a sequence meet the inputs of another of its stratum (`pool`); numerator and denominator are
             computed anew for each of `draws` re-pairings. The denominator makes each term 1 on average whatever the
             spread of the errors' sizes over the inputs' sizes, which a re-pairing would destroy
    Level    S^⅓ (near enough normal for any number of features) is standardised per window by its mean and deviation
             over all pairings, the true one among them, so that none is treated differently; p = share of pairings
             whose largest value over all windows reaches the window's own (Westfall & Young 1993). Exact where errors
             and inputs are independent; p is at least 1 / (draws + 1)
    lag      the largest lower edge of a significant window. A band begins at or before the lag that moves it, so the
             lag is a lower bound on the largest lag needed, wrong upwards with a probability of `level` at most
    strength the adjusted R² of g on ε at the window of a cell of lags that stands out most, less the chance of the
             largest of so many windows; the share of the variance of g (all directions, before any regression)
    detectable  from the critical S and a non-central χ² of the null's own mean and variance; median over single lags;
             1.0 where nothing could have been found
    None     where there is nothing to test: no finite sequence, no varying input, or no varying error
    Few      sequences (below 12 at every lag): lag None, p-value 1, detectable 1.0, no strengths
    Work     bounded by WORK and TOUCHED: fewer anchors and tested error directions (in the order of SIZES), then fewer
             sequences, evenly spread, down to 64
    Is not   able to see a dependency that shows only when two far inputs are read together (delayed XOR)
    """
    if not 0 < level < 1 or draws + 1 < 1 / level:
        raise ArgumentError(
            f"shortcut_test: expected 0 < level < 1 and draws >= 1 / level - 1, got level={level}, draws={draws}; "
            "with fewer draws no p-value can be that small"
        )
    pooled = pool(pairs)
    if pooled is None:
        return None
    phi, linear = features(pooled.inputs, pooled.lengths, tokens=pooled.tokens)
    shape = _affordable(pooled, phi.shape[2], draws)
    if shape.sequences < len(pooled.lengths):
        pooled = pooled.first(shape.sequences)
        phi, linear = features(pooled.inputs, pooled.lengths, tokens=pooled.tokens)
    side = error_side(pooled, phi, linear, anchors_of(pooled, shape.anchors), shape.directions) if phi.any() else None
    if side is None:
        return None
    design = Design(phi, pooled.lengths, side.anchors)
    if not (design.counts >= FEWEST).any():
        return Need(None, 1.0, level, 1.0, pooled.seen, (), (), pooled.tokens)
    pairings = repairings(pooled.strata, draws, np.random.default_rng(seed))
    values = statistics(side, design, pairings)
    return _need(values, side, design, level, pooled)


@dataclass(frozen=True)
class Shape:
    """How much of the data the work allows: numbers of anchors, of error directions and of sequences."""

    anchors: int
    directions: int
    sequences: int


def _affordable(pooled: Pool, width: int, draws: int) -> Shape:
    sequences, steps, directions = pooled.errors.shape
    windows = len(spans(steps)[0])

    def work(anchors: int, kept: int) -> float:
        return 2.0 * (min(kept, directions) + 1) * (draws + 1) * anchors * windows * max(width, 1)

    numbers = steps * max(width, 1)
    most = max(64, TOUCHED // numbers)
    sequences = min(sequences, most)
    fitting = [
        size for size in SIZES if work(*size) * sequences <= WORK and size[0] * sequences * numbers <= 2 * TOUCHED
    ]
    anchors, kept = fitting[0] if fitting else SIZES[-1]
    return Shape(anchors, kept, min(sequences, max(64, int(WORK / work(anchors, kept)))))


def spans(horizon: int) -> tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]:
    """First lags and ends (first lag beyond) of all windows within lags < horizon: single lags, then bands.

    Bands are 4, 16, 64, … wide, overlap by half, begin at twice their width or later, and the last ends at the horizon.
    """
    starts, ends = [np.arange(horizon)], [np.arange(horizon) + 1]
    width = 4
    while 3 * width <= horizon:
        edges = np.unique(np.append(np.arange(2 * width, horizon - width, width // 2), horizon - width))
        starts.append(edges)
        ends.append(edges + width)
        width *= 4
    return np.concatenate(starts), np.concatenate(ends)


@dataclass(frozen=True)
class ErrorSide:
    """The errors at the anchors.

    anchors   steps, ascending
    levels    levels[j] are free of what the first j windows of recent inputs tell about them
    tested    directions that enter S, the leading ones; strength is measured on all
    freedom   share of the degrees of freedom that regression left: so much of anything survives it by chance alone
    energy    ‖g‖² of each pair in all directions, before any regression; 0 where a sequence lacks the anchor
    """

    anchors: Int[np.ndarray, " anchor"]
    levels: tuple[Float32[np.ndarray, "anchor sequence direction"], ...]
    tested: int
    freedom: Float[np.ndarray, " level"]
    energy: Float[np.ndarray, "anchor sequence"]


def error_side(pooled: Pool, phi: np.ndarray, linear: int, anchors: np.ndarray, tested: int) -> ErrorSide | None:
    """Errors at their anchors, in their leading directions, freed of recent inputs; None if none of them varies."""
    steps = pooled.errors.shape[1]
    valid = (anchors[:, None] >= steps - pooled.lengths).astype(np.float64)
    raw = pooled.errors[:, anchors].transpose(1, 0, 2).astype(np.float64)
    errors = _centred(raw, valid, pooled.strata)
    if np.abs(errors).max(initial=0) <= 1e-6 * np.abs(raw).max(initial=0):
        return None
    flat = errors.reshape(-1, errors.shape[2])
    _, directions = np.linalg.eigh(flat.T @ flat)
    leading = errors @ directions[:, : -DIRECTIONS - 1 : -1]
    blocks = _recent(phi, linear, anchors, int(valid.sum()) // 10)
    recent = [_centred(block, valid, pooled.strata) for block in blocks]
    levels, columns = _freed(leading, recent)
    freedom = 1 - np.array(columns) / valid.sum()
    return ErrorSide(anchors, levels, tested, freedom, np.square(errors).sum(axis=2))


def anchors_of(pooled: Pool, count: int) -> np.ndarray:
    """Steps at equal parts of the errors' energy, the last step with an error among them.

    From the second half of the steps, so that far lags can be seen; from all where that half has hardly any error.
    """
    valid = (np.arange(pooled.errors.shape[1]) >= pooled.errors.shape[1] - pooled.lengths[:, None])[:, :, None]
    mean = pooled.errors.sum(axis=0) / np.maximum(valid.sum(axis=0), 1)
    energy = np.square((pooled.errors - mean) * valid).sum(axis=(0, 2), dtype=np.float64)
    half = len(energy) // 2
    if energy[half:].sum() >= 0.1 * energy.sum():
        energy[:half] = 0
    total = np.cumsum(energy)
    return np.unique(np.searchsorted(total, total[-1] * (np.arange(count) + 1) / count * (1 - 1e-6)))


def _centred(values: np.ndarray, valid: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """(anchor, sequence, column) with mean 0 in each stratum at each anchor; 0 where a sequence lacks the anchor."""
    borders = np.flatnonzero(np.diff(strata, prepend=-1))
    counts = np.maximum(np.add.reduceat(valid, borders, axis=1), 1)
    means = np.add.reduceat(values * valid[:, :, None], borders, axis=1) / counts[:, :, None]
    return (values - means[:, np.searchsorted(strata[borders], strata)]) * valid[:, :, None]


def _recent(phi: np.ndarray, linear: int, anchors: np.ndarray, columns: int) -> list[np.ndarray]:
    """What each window of recent lags, (0, 0), (1, 1), …, (4, 5), … adds to those before it, within so many columns.

    The sums of φ over the window, and their products with each other and with those of the windows before it: an error
    of a network is no linear function of its inputs. Half of the columns, at most, go to sums.
    """
    sums = running_sums(phi)
    width = phi.shape[2]
    count = min(max(columns // 2 // width, min(columns // width, 1)), len(WINDOWS))
    plain = [
        (sums[:, np.maximum(anchors + 2 - first, 0)] - sums[:, np.maximum(anchors + 1 - last, 0)]).transpose(1, 0, 2)
        / np.sqrt(last - first + 1)
        for first, last in WINDOWS[:count]
    ]
    spare = columns - count * width
    blocks = []
    for index, block in enumerate(plain):
        parts = [block]
        for other in plain[: index + 1]:
            if spare >= linear**2:
                spare -= linear**2
                parts.append(
                    np.einsum("...f,...g->...fg", block[..., :linear], other[..., :linear]).reshape(
                        *block.shape[:2], -1
                    )
                )
        blocks.append(np.concatenate(parts, axis=2))
    return blocks


def _freed(errors: np.ndarray, blocks: list[np.ndarray]) -> tuple[tuple[np.ndarray, ...], list[int]]:
    """The errors, and what is left of them after least squares on the first, the first two, … blocks of columns.

    The second list says on how many columns. Each time, the fit bent in three ways is regressed out as well (Ramsey
    1969, RESET): a network's output saturates.
    """
    rows = errors.reshape(-1, errors.shape[2])
    basis = np.zeros((len(rows), 0))
    levels, columns = [errors.astype(np.float32)], [0]
    for block in blocks:
        basis = _extended(basis, block.reshape(len(rows), -1))
        fit = basis @ (basis.T @ rows[:, :2])
        fit /= np.maximum(fit.std(axis=0), 1e-12)
        bent = np.concatenate([fit**2, fit**3, np.tanh(2 * fit)], axis=1)
        whole = _extended(basis, bent - bent.mean(axis=0)) if bent.shape[1] <= len(rows) // 20 else basis
        levels.append((rows - whole @ (whole.T @ rows)).reshape(errors.shape).astype(np.float32))
        columns.append(whole.shape[1])
    return tuple(levels), columns


def _extended(basis: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis, extended by what is new in the columns."""
    news, size = columns.astype(np.float64), np.square(columns, dtype=np.float64).sum()
    for _ in range(2):  # twice is enough (Kahan): the first pass leaves rounding behind
        news = news - basis @ (basis.T @ news)
    values, vectors = np.linalg.eigh(news.T @ news)
    kept = values > 1e-6 * size
    return np.concatenate([basis, news @ (vectors[:, kept] / np.sqrt(values[kept]))], axis=1)


class Design:
    """What each window shows of each sequence, anchor by anchor.

    starts, ends  lags of the windows, from starts to before ends
    counts        sequences that have the window's first lag at some anchor
    pairs         pairs (sequence, anchor) that have it
    """

    def __init__(self, phi: np.ndarray, lengths: np.ndarray, anchors: np.ndarray):
        self.innovations = Innovations(phi, lengths)
        self.anchors = anchors
        self.width = phi.shape[2]
        self.starts, self.ends = spans(int(anchors.max()) + 1)
        # lags that a sequence has at an anchor; at most 0 where it lacks the anchor
        self.lags = np.minimum(anchors[:, None] + 1, lengths - (phi.shape[1] - 1 - anchors[:, None]))
        self.counts = (self.lags.max(axis=0) > self.starts[:, None]).sum(axis=1)
        self.pairs = (self.lags.ravel() > self.starts[:, None]).sum(axis=1)

    def seen(self, anchor: int, windows: np.ndarray) -> Float32[np.ndarray, "sequence window feature"]:
        """Sums of the innovations over the lags of each window, of those lags that the anchor has."""
        starts = np.minimum(self.starts[windows], anchor + 1)
        ends = np.minimum(self.ends[windows], anchor + 1)
        innovations = self.innovations.before(anchor, max(int(ends.max()), 1))
        single = int(np.argmin(np.append(np.diff(windows) == 1, False) & (ends - starts == 1)))  # a run of single lags
        seen = np.empty((len(innovations), len(windows), self.width), np.float32)
        seen[:, :single] = innovations[:, starts[0] : starts[0] + single]
        if single < len(windows):
            sums = running_sums(innovations)
            np.subtract(sums[:, ends[single:]], sums[:, starts[single:]], out=seen[:, single:])
        return seen


def repairings(strata: np.ndarray, draws: int, rng: np.random.Generator) -> Int[np.ndarray, "pairing sequence"]:
    """The true pairing, then `draws` random ones within strata."""
    shuffled = np.argsort(rng.random((draws, len(strata))) + strata, axis=1)
    return np.concatenate([np.arange(len(strata))[None], shuffled])


def statistics(
    side: ErrorSide, design: Design, pairings: Int[np.ndarray, "pairing sequence"]
) -> Float[np.ndarray, "pairing window"]:
    """S for each pairing and window.

    Cost   2 (directions + 1) pairings sequences anchors windows features operations, as matrix products
    """
    values = np.zeros((len(pairings), len(design.starts)))
    depths = depths_of(design.starts, side)
    directions = min(side.tested, side.levels[0].shape[2])
    most = max(1, CHUNK // (len(pairings) * (directions + 1) * design.width))
    for depth in np.unique(depths):
        windows = np.flatnonzero(depths == depth)
        for start in range(0, len(windows), most):
            chunk = windows[start : start + most]
            values[:, chunk] = _statistics(side.levels[depth][:, :, :directions], design, chunk, pairings)
    return values


def depths_of(lags: np.ndarray, side: ErrorSide) -> np.ndarray:
    """From how many windows of more recent inputs the errors are freed that a lag is tested on."""
    return np.minimum(contained(WINDOWS, lags), len(side.levels) - 1)


def _statistics(errors: np.ndarray, design: Design, windows: np.ndarray, pairings: np.ndarray) -> np.ndarray:
    count, directions = len(pairings), errors.shape[2]
    columns = len(windows) * design.width
    sums, squares = np.zeros((count * directions, columns), np.float32), np.zeros((count, columns), np.float32)
    for anchor, error in zip(design.anchors.tolist(), errors, strict=True):
        seen = design.seen(anchor, windows).reshape(len(error), columns)
        paired = error[pairings]  # (pairing, sequence, direction)
        sums += paired.transpose(0, 2, 1).reshape(count * directions, -1) @ seen
        squares += np.square(error).sum(axis=1)[pairings] @ np.square(seen, out=seen)
    numerator = np.square(sums).reshape(count, directions, columns).sum(axis=1)
    ratio = np.divide(numerator, squares, out=np.zeros_like(squares), where=squares > 1e-12)
    return ratio.reshape(count, len(windows), design.width).sum(axis=2, dtype=np.float64)


@dataclass(frozen=True)
class Verdicts:
    """What the pairings say about each window.

    usable    enough sequences, and a statistic that varies over the pairings
    z         standardised S^⅓ of the true pairing
    p         family-wise p-value
    critical  the S that a true effect must reach to be significant
    """

    usable: Bool[np.ndarray, " window"]
    z: Float[np.ndarray, " window"]
    p: Float[np.ndarray, " window"]
    critical: Float[np.ndarray, " window"]


def verdicts(values: Float[np.ndarray, "pairing window"], counts: Int[np.ndarray, " window"], level: float) -> Verdicts:
    """Maximum over windows against maximum over windows; the first pairing is the true one."""
    roots = np.cbrt(values)
    mean, deviation = roots.mean(axis=0), roots.std(axis=0)
    usable = (counts >= FEWEST) & (deviation > 1e-6)
    z = np.where(usable, (roots - mean) / np.where(usable, deviation, 1), -np.inf)
    peaks = np.sort(z[1:].max(axis=1))
    p = (1 + len(peaks) - np.searchsorted(peaks, z[0])) / len(values)
    beaten = peaks[-int(level * len(values) + 1e-9)]
    # an effect's own S widens the deviation it is measured by: it must reach a little further than the others
    reached = beaten / np.sqrt(max(1 - beaten**2 / len(values), 0.25))
    return Verdicts(usable, z[0], np.where(usable, p, 1.0), (mean + deviation * reached) ** 3)


def _need(values: np.ndarray, side: ErrorSide, design: Design, level: float, pooled: Pool) -> Need:
    found = verdicts(values, design.counts, level)
    significant = found.p <= level
    lag = int(design.starts[significant].max()) if significant.any() else None
    chosen = found.p if lag is None else found.p[design.starts == lag]
    lags = _lags(int(design.starts[found.usable].max(initial=0)), lag)
    return Need(
        lag=lag,
        p_value=float(chosen.min()),
        level=level,
        detectable=_detectable(values, found, side, design),
        sequences=pooled.seen,
        lags=tuple(lags.tolist()),
        strength=_strengths(values, found, side, design, lags),
        tokens=pooled.tokens,
    )


def _detectable(values: np.ndarray, found: Verdicts, side: ErrorSide, design: Design) -> float:
    """The share of variance that one lag must explain to be found with a probability of 80 %.

    Under the null S is a weighted sum of χ², matched by its mean m and variance v: S ~ (v/2m) χ² with 2m²/v degrees of
    freedom. A share r of the variance of g̃ over n pairs moves its mean by n r / (1 + 2r): the denominator, too,
    grows with the effect (exactly so for normal data).
    """
    single = np.flatnonzero(found.usable & (design.ends - design.starts == 1))
    if not len(single):
        return 1.0
    mean, variance = values[1:, single].mean(axis=0), values[1:, single].var(axis=0)
    scale = variance / (2 * mean)
    shift = chndtrinc(found.critical[single] / scale, mean / scale, 1 - POWER) * scale
    tested = [np.square(level[:, :, : side.tested], dtype=np.float64).sum() for level in side.levels]
    left = np.array(tested) / side.energy.sum()
    left, freedom = (part[depths_of(design.starts[single], side)] for part in (left / side.freedom, side.freedom))
    share = np.minimum(shift / (design.pairs[single] * freedom), 0.499)
    detectable = left * share / (1 - 2 * share)
    return float(min(np.median(detectable), 1.0))


def _lags(horizon: int, lag: int | None) -> np.ndarray:
    """All small lags, then evenly spaced in the logarithm; `lag` is one of them."""
    dense = np.arange(min(horizon + 1, POINTS // 2))
    sparse = np.geomspace(POINTS // 2, max(horizon, POINTS // 2), POINTS // 2 - 1).astype(int)
    extra = [] if lag is None else [lag]
    return np.unique(np.concatenate([dense, sparse[sparse <= horizon], extra]).astype(int))


def _strengths(
    values: np.ndarray, found: Verdicts, side: ErrorSide, design: Design, lags: np.ndarray
) -> tuple[float, ...]:
    """need(k) at each lag k: of the windows that begin in [k, next lag), the one that stands out most."""
    cells = np.searchsorted(lags, design.starts, side="right") - 1
    excess = values[1:] / np.maximum(values[1:].mean(axis=0), 1e-12)
    windows, chances = [], []
    for cell in range(len(lags)):
        inside = np.flatnonzero((cells == cell) & found.usable)
        windows.append(inside[np.argmax(found.z[inside])] if len(inside) else -1)
        chances.append(excess[:, inside].max(axis=1).mean() if len(inside) else 1.0)
    shares = _shares(side, design, np.array(windows), np.array(chances))
    return tuple(np.where(np.array(windows) < 0, 0.0, shares).tolist())


def _shares(side: ErrorSide, design: Design, windows: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Adjusted R² of the errors on what each window shows; `chances` times the usual chance is taken off."""
    width = design.width
    depths = depths_of(design.starts[windows], side)
    cross = np.zeros((len(windows), side.levels[0].shape[2], width))
    inner = np.zeros((len(windows), width, width))
    energy, left = np.zeros(len(windows)), np.zeros(len(windows))
    for index, anchor in enumerate(design.anchors.tolist()):
        seen = design.seen(anchor, windows)
        inner += np.einsum("nwf,nwg->wfg", seen, seen, optimize=True)
        has = design.lags[index] > design.starts[windows, None]
        energy += has @ side.energy[index]
        for depth in np.unique(depths):
            chosen = depths == depth
            error = side.levels[depth][index]
            cross[chosen] += np.einsum("nd,nwf->wdf", error, seen[:, chosen], optimize=True)
            left[chosen] += has[chosen] @ np.square(error).sum(axis=1)
    inverse = np.linalg.pinv(inner, rcond=1e-4, hermitian=True)
    explained = np.einsum("wdf,wfg,wdg->w", cross, inverse, cross)
    rank = np.linalg.matrix_rank(inner, rtol=1e-4, hermitian=True)
    chance = np.minimum(chances * rank / np.maximum(design.pairs[windows], 1), 0.99)
    energy = np.maximum(energy, 1e-12)
    return np.clip((explained - chance * left) / (1 - chance) / energy / side.freedom[depths], 0.0, 1.0)
