"""How far back the error depends on two inputs that count only together: the deep need test."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import chndtr

from longreach.errors import ArgumentError
from longreach.probes.features import features
from longreach.probes.need import (
    POWER,
    Design,
    ErrorSide,
    Verdicts,
    anchors_of,
    depths_of,
    error_side,
    repairings,
    spans,
    verdicts,
)
from longreach.probes.pool import Pool, pool
from longreach.probes.products import Candidates, Windows, scan, windows_of
from longreach.probes.samples import Pairs
from longreach.record import DeepNeed, Need

DRAWS = 399  # re-pairings; two of the 400 pairings may lie beyond a level of 0.5 %, which is each half's
WORK = 2e12  # floating-point operations that the searches may take (docs/deep.md has the seconds)
HELD = 80_000_000  # numbers (row, window, feature) of each side at most; with copies, a little over a gigabyte
SIZES = ((8, 4), (4, 4), (4, 2), (2, 2), (1, 2), (1, 1))  # (anchors, error directions) tried until the work fits
HELD_REPAIRED = 16_000_000  # numbers held at once while re-pairing
ENOUGH = 1024  # sequences; below, features are given up before sequences
SHARES = np.geomspace(1e-4, 1, 161)  # of variance, among which the smallest detectable one is looked for


def deep_test(
    pairs: Sequence[Pairs],
    *,
    level: float = 0.01,
    draws: int = DRAWS,
    seed: int = 0,
    seconds: float = math.inf,
    tell: Callable[[float], None] = lambda share: None,
) -> DeepNeed | None:
    """Would the product of two inputs, at t-k and nearer, receive a consistent gradient at t, and up to which lag k?

    Each half of the sequences in turn names candidates, and the other half tests them. Naming is a search through all
    pairs of windows by matrix products (`scan`); whatever it looked at, the other half has not seen it.

    Product  of what a far window shows and what a nearer one does: windows as in `shortcut_test`, single lags and
             bands; the far one in innovations, so that more recent inputs tell nothing about it; errors freed of the
             inputs more recent than the far window, in each half by itself
    Named    per half the best partner of every far window and feature; of these, in each of 16 parts of the lags, the
             four whose products stand out most
    Tested   S = ‖Σ g̃ ε φ‖² / Σ ‖g̃‖² ε² φ² over sequences and anchors; in each of `draws` re-pairings within strata, ε
             (the far side) comes from another sequence, while g̃ and φ (the near side) stay together. Its maximum over
             all candidates against their maxima (Westfall & Young 1993), at level / 2, because there are two halves
    lag      the largest first lag of a far window in a significant product: a lower bound on the largest lag needed,
             wrong upwards with a probability of `level` at most
    strength of the product that stands out most in each part of the lags, its adjusted R² in the half that tested it
    detectable  the share of the variance of g that one product must explain to be named by one half and confirmed by
             the other, or the other way round, with a probability of 80 %; median over the candidates; 1.0 where
             nothing could have been found
    Cost     WORK at most: fewer anchors and error directions, then fewer features, then fewer sequences. No model
             runs; nothing is trained
    seconds  after which the search stops; it begins at the furthest lags
    tell     called with the share that is done
    None     where there is nothing to test: no finite sequence, no varying input, or no varying error
    Is not   able to see what shows only when three inputs or more are read together (parity of three)
    """
    if not 0 < level < 1 or draws + 1 < 2 / level:
        raise ArgumentError(
            f"deep_test: expected 0 < level < 1 and draws >= 2 / level - 1, got level={level}, draws={draws}; "
            "with fewer draws no p-value can be that small"
        )
    began = time.perf_counter()
    pooled = pool(pairs)
    if pooled is None:
        return None
    phi, linear = features(pooled.inputs, pooled.lengths, tokens=pooled.tokens)
    shape = _affordable(pooled, phi.shape[2])
    if shape.sequences < len(pooled.lengths):
        pooled = pooled.first(shape.sequences)
        phi, linear = features(pooled.inputs, pooled.lengths, tokens=pooled.tokens)
    phi, linear = phi[:, :, : shape.width], min(linear, shape.width)
    if not phi.any():
        return None
    design = Design(phi, pooled.lengths, anchors_of(pooled, shape.anchors))
    split = _split(pooled.strata)
    sides = [_side(pooled, phi, linear, design, half, shape.directions) for half in split]
    windows = windows_of(phi, design)
    halves = [
        Half(side, windows.of(half, design.lags[:, half]), design.lags[:, half], pooled.strata[half])
        for side, half in zip(sides, split, strict=True)
        if side is not None
    ]
    if len(halves) < 2:
        return None
    named = []
    for index, half in enumerate(halves):
        until = began + seconds * (index + 1) / 2
        named.append(scan(half.side, half.windows, lambda done, index=index: tell((index + done) / 2), until))
    if not all(len(candidates.far) for candidates in named):
        nothing = Need(None, 1.0, level, 1.0, pooled.seen, (), (), pooled.tokens)
        return DeepNeed(nothing, None, min(candidates.scanned for candidates in named), time.perf_counter() - began)
    rng = np.random.default_rng(seed)
    trials = [
        _trial(candidates, half, level / 2, draws, rng)
        for candidates, half in zip(named, reversed(halves), strict=True)
    ]
    return _concluded(trials, level, pooled, time.perf_counter() - began)


@dataclass(frozen=True)
class Shape:
    """How much of the data the work allows."""

    anchors: int
    directions: int
    width: int
    sequences: int


def _affordable(pooled: Pool, width: int) -> Shape:
    sequences, steps, directions = pooled.errors.shape
    windows = len(spans(steps)[0])

    def most(anchors: int, kept: int, features: int) -> int:
        """Sequences that fit."""
        columns = windows * max(features, 1)
        return min(int(WORK / (anchors * (min(kept, directions) + 1) * columns**2)), HELD // (anchors * columns))

    for anchors, kept in SIZES:
        if most(anchors, kept, width) >= sequences:
            return Shape(anchors, kept, width, sequences)
    while width > 1 and most(1, 1, width) < min(sequences, ENOUGH):
        width -= 1
    return Shape(1, 1, width, min(sequences, most(1, 1, width)))


def _split(strata: Int[np.ndarray, " sequence"]) -> tuple[np.ndarray, np.ndarray]:
    """Two halves: of each stratum the first and the last sequences. Pieces of one stream are thus kept apart."""
    starts = np.searchsorted(strata, strata)
    sizes = np.searchsorted(strata, strata, side="right") - starts
    early = 2 * (np.arange(len(strata)) - starts) < sizes
    return np.flatnonzero(early), np.flatnonzero(~early)


def _side(
    pooled: Pool, phi: np.ndarray, linear: int, design: Design, half: np.ndarray, tested: int
) -> ErrorSide | None:
    """The errors of one half, freed of recent inputs by a regression within that half."""
    parts = (pooled.inputs[half], pooled.errors[half], pooled.lengths[half], pooled.strata[half])
    own = Pool(*parts, seen=pooled.seen, tokens=pooled.tokens)
    return error_side(own, phi[half], linear, design.anchors, tested) if len(half) else None


@dataclass(frozen=True)
class Half:
    """One half of the sequences: errors, windows, the lags that each has at each anchor, and strata."""

    side: ErrorSide
    windows: Windows
    lags: Int[np.ndarray, "anchor sequence"]
    strata: Int[np.ndarray, " sequence"]


@dataclass(frozen=True)
class Trial:
    """What one half named, and what the other said about it.

    lags, partners  where the windows of each candidate begin
    """

    candidates: Candidates
    lags: Int[np.ndarray, " candidate"]
    partners: Int[np.ndarray, " candidate"]
    found: Verdicts
    strength: Float[np.ndarray, " candidate"]
    power: Float[np.ndarray, "share candidate"]


def _trial(candidates: Candidates, testing: Half, level: float, draws: int, rng: np.random.Generator) -> Trial:
    windows = testing.windows
    lags, partners = windows.first[candidates.far // windows.width], windows.start[candidates.near // windows.width]
    depths = depths_of(lags, testing.side)
    far, near = candidates.sides(windows)
    values = statistics(testing.side, far, near, depths, repairings(testing.strata, draws, rng))
    products = far * near
    counts = (testing.lags.max(axis=0)[:, None] > lags).sum(axis=0)
    found = verdicts(values, counts, level)
    has = (testing.lags[:, :, None] > lags).astype(np.float32)
    strength, left = _shares(testing.side, products, depths, has)
    rows = has.sum(axis=(0, 1)) * testing.side.freedom[depths]
    power = _power(values, found, left, products, rows, candidates)
    return Trial(candidates, lags, partners, found, strength, power)


def statistics(
    side: ErrorSide,
    far: Float[np.ndarray, "anchor sequence candidate"],
    near: Float[np.ndarray, "anchor sequence candidate"],
    depths: Int[np.ndarray, " candidate"],
    pairings: Int[np.ndarray, "pairing sequence"],
) -> Float[np.ndarray, "pairing candidate"]:
    """S of each candidate for each pairing, on errors freed to the candidate's depth; the far column is re-paired.

    What the error has to do with the near column stays as it is, and so does the size of either.
    """
    count, columns = len(pairings), far.shape[2]
    sums, squares = np.zeros((side.tested, count, columns)), np.zeros((count, columns))
    most = max(1, HELD_REPAIRED // (far.shape[1] * columns))
    for anchor, (own, partner) in enumerate(zip(far, near, strict=True)):
        errors = np.stack([level[anchor, :, : side.tested] for level in side.levels])[depths]
        weighted = errors.transpose(2, 1, 0) * partner  # (direction, sequence, candidate)
        sizes = np.square(weighted).sum(axis=0)
        for start in range(0, count, most):
            some = slice(start, start + most)
            repaired = own[pairings[some]]
            sums[: len(weighted), some] += np.einsum("psc,dsc->dpc", repaired, weighted)
            squares[some] += np.einsum("psc,sc->pc", np.square(repaired, out=repaired), sizes)
    numerator = np.square(sums).sum(axis=0)
    return np.divide(numerator, squares, out=np.zeros_like(squares), where=squares > 1e-12)


def _shares(
    side: ErrorSide, products: np.ndarray, depths: np.ndarray, has: np.ndarray
) -> tuple[Float[np.ndarray, " candidate"], Float[np.ndarray, " candidate"]]:
    """Adjusted R² of the errors on each product, and the share of their variance that the tested directions hold."""
    explained, whole, tested = np.zeros((3, len(depths)))
    energy = np.maximum(np.einsum("asc,as->c", has, side.energy, optimize=True), 1e-12)
    size = np.maximum(np.square(products, dtype=np.float64).sum(axis=(0, 1)), 1e-12)
    for depth in np.unique(depths):
        chosen = depths == depth
        error = side.levels[depth]
        sums = np.einsum("asd,asc->dc", error, products[:, :, chosen], optimize=True)
        squares = np.square(error, dtype=np.float64)
        explained[chosen] = np.square(sums).sum(axis=0) / size[chosen]
        whole[chosen] = np.einsum("as,asc->c", squares.sum(axis=2), has[:, :, chosen], optimize=True)
        leading = squares[:, :, : side.tested].sum(axis=2)
        tested[chosen] = np.einsum("as,asc->c", leading, has[:, :, chosen], optimize=True)
    freedom = side.freedom[depths]
    chance = 1 / np.maximum(has.sum(axis=(0, 1)), 2)
    strength = np.clip((explained - chance * whole) / (1 - chance) / energy / freedom, 0.0, 1.0)
    return strength, tested / energy / freedom


def _power(
    values: np.ndarray,
    found: Verdicts,
    left: np.ndarray,
    products: np.ndarray,
    rows: np.ndarray,
    candidates: Candidates,
) -> Float[np.ndarray, "share candidate"]:
    """The probability that a product in the place of a candidate is named by one half and confirmed by the other.

    SHARES of the variance of g. Under the null S ~ (v/2m) χ² with 2m²/v degrees of freedom (m, v: its mean and
    variance). A share r of the variance of g̃ over n rows moves its mean by n r / (1 + (κ - 1) r), κ the kurtosis of the
    product: the denominator grows with the effect. κ is 3 for a normal product, 1 for one of two signs; a product that
    is rarely anything but 0 has a large one.
    """
    mean = np.maximum(values[1:].mean(axis=0), 1e-12)
    scale = np.maximum(values[1:].var(axis=0), 1e-12) / (2 * mean)
    squares = np.square(products, dtype=np.float64)
    kurtosis = np.square(squares).mean(axis=(0, 1)) / np.maximum(squares.mean(axis=(0, 1)), 1e-12) ** 2
    kurtosis = np.maximum(kurtosis, 1.0)  # of whatever varies; where nothing does, 0 / 0 came out as 0
    share = np.minimum(SHARES[:, None] / np.maximum(left, 1e-12), 1.0)
    shift = rows * share / (1 + (kurtosis - 1) * share)
    bar = np.maximum(candidates.bar[candidates.cell], 1e-12)
    named, confirmed = (1 - chndtr(limit / scale, mean / scale, shift / scale) for limit in (bar, found.critical))
    return np.where(found.usable, named * confirmed, 0.0)


def _concluded(trials: Sequence[Trial], level: float, pooled: Pool, seconds: float) -> DeepNeed:
    lags, partners, strength, cells = (
        np.concatenate(parts)
        for parts in zip(*((t.lags, t.partners, t.strength, t.candidates.cell) for t in trials), strict=True)
    )
    p = np.minimum(2 * np.concatenate([trial.found.p for trial in trials]), 1.0)
    z = np.concatenate([trial.found.z for trial in trials])
    significant = p <= level
    lag = int(lags[significant].max()) if significant.any() else None
    chosen = np.flatnonzero(significant & (lags == lag)) if lag is not None else np.arange(len(p))
    best = int(chosen[np.argmax(z[chosen])]) if len(chosen) else None
    shown, shares = _curve(lags, cells, z, strength, best if lag is not None else None)
    need = Need(
        lag=lag,
        p_value=1.0 if best is None else float(p[chosen].min()),
        level=level,
        detectable=_detectable(trials),
        sequences=pooled.seen,
        lags=shown,
        strength=shares,
        tokens=pooled.tokens,
    )
    partner = None if lag is None or best is None else int(partners[best])
    return DeepNeed(need, partner, min(trial.candidates.scanned for trial in trials), seconds)


def _curve(
    lags: np.ndarray, cells: np.ndarray, z: np.ndarray, strength: np.ndarray, lead: int | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Of each part of the lags the candidate that stands out most, `lead` in any case; 0 at the lags beside them."""
    parts = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    chosen = [int(part[np.argmax(z[part])]) for part in parts]
    if lead is not None:
        chosen = [index for index in chosen if cells[index] != cells[lead]] + [lead]
    curve = {int(lags[index]) + side: 0.0 for index in chosen for side in (-1, 1)}
    curve |= {int(lags[index]): float(strength[index]) for index in chosen}
    return tuple(sorted(curve)), tuple(curve[lag] for lag in sorted(curve))


def _detectable(trials: Sequence[Trial]) -> float:
    """The smallest share that one of the two halves finds with a probability of 80 %; they find independently."""
    power = np.concatenate([trial.power for trial in trials], axis=1)
    if not power.any():
        return 1.0
    found = 1 - (1 - np.median(power[:, power.any(axis=0)], axis=1)) ** 2
    return float(SHARES[np.argmax(found >= POWER)]) if (found >= POWER).any() else 1.0
