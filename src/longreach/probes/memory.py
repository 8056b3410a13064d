"""Whether a series remembers for long: the memory parameter d of its spectrum near frequency 0."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import fminbound
from scipy.stats import norm

from longreach.probes.overlaps import without_overlaps
from longreach.probes.samples import Pairs
from longreach.record import LongMemory

SHORTEST = 100  # steps; the bandwidth is then 10
MOST = 512  # sequences, at most
LOWER = 2  # the second look is at a bandwidth so many times smaller
FEWEST = 5  # frequencies, at least
RANGE = (-0.5, 1.0)  # of d; consistent there (Velasco 1999)


def long_memory(pairs: Sequence[Pairs]) -> LongMemory | None:
    """Local Whittle estimate of d of each input series; their mean, and a one-sided test of it.

    Minimised  R(d) = mean_i ln[(1/m) Σ_j λ_j^{2d} I_ij] - 2d (1/m) Σ_j ln λ_j over d in [-1/2, 1]; I_ij the periodogram
               of sequence i at λ_j = 2πj/n, j = 1, …, m. Each sequence has a scale of its own, all have one d
    Bandwidth  m = √n (Greaves-Tunnell & Harchaoui)
    Error      1 / (2 √(N Σ_j ν_j² m / (m+1))), ν_j = ln j - mean ln j, of N sequences: in the limit 1 / (2 √(N m)),
               too small for short ones. Of the mean over series, with the correlation that their scores have
    p-value    the larger of two, at m and at m / 2. Short memory bends the spectrum: the bias is about
               (2π²/9) (2φ/(1-φ)²) (m/n)² for an AR(1) with weight φ, a quarter of that at m / 2. An AR(1) with φ = 0.9
               still passes for long memory where sequences are short or many; d itself is not corrected
    None       for token ids; below 100 steps; where no input varies
    Is not     need: a series may remember for long, and its far past be of no use for the target
    Papers     Robinson 1995, Annals of Statistics 23:1630; Greaves-Tunnell & Harchaoui 2019, ICML; Velasco 1999
    """
    power = _periodograms(pairs)
    if power is None:
        return None
    series, sequences, half = power.shape
    length = 2 * half
    m = int(np.sqrt(length))
    d, error = _whittle(power[:, :, :m])
    low, wider = _whittle(power[:, :, : max(m // LOWER, FEWEST)])
    p = max(norm.sf(d / error), norm.sf(low / wider))
    return LongMemory(d, error, float(p), m, length, sequences, series)


def _periodograms(pairs: Sequence[Pairs]) -> Float[np.ndarray, "series sequence frequency"] | None:
    """At frequencies 1, 2, …, n/2; of the inputs that vary, over the last n steps of the sequences that have them."""
    pairs = [] if not pairs or pairs[0].tokens else without_overlaps(pairs)
    lengths = np.concatenate([pair.lengths for pair in pairs]) if pairs else np.zeros(0, int)
    if not len(lengths):
        return None
    length = int(np.median(lengths)) // 2 * 2
    if length < SHORTEST:
        return None
    rows = np.concatenate([pair.inputs[pair.lengths >= length, -length:] for pair in pairs]).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=(1, 2))]
    rows = rows[np.arange(min(MOST, len(rows))) * len(rows) // min(MOST, max(len(rows), 1))]
    rows = rows[:, :, rows.std(axis=1).min(axis=0, initial=np.inf) > 0] if len(rows) else rows
    if not rows.size:
        return None
    return np.square(np.abs(np.fft.rfft(rows, axis=1)[:, 1:])).transpose(2, 0, 1)


def _whittle(power: Float[np.ndarray, "series sequence frequency"]) -> tuple[float, float]:
    """Mean over series of the estimates of d, and its standard error."""
    series, sequences, m = power.shape
    logs = np.log(np.arange(1, m + 1))
    news = logs - logs.mean()
    estimates, scores = [], []
    for own in power:

        def objective(d: float, own: np.ndarray = own) -> float:
            return float(np.log((np.exp(2 * d * news) * own).mean(axis=1)).mean())

        d = np.asarray(fminbound(objective, *RANGE, xtol=1e-5)).item()
        flat = np.exp(2 * d * news) * own
        estimates.append(d)
        scores.append((news * (flat / flat.mean(axis=1, keepdims=True) - 1)).ravel())
    alone = 1 / (2 * np.sqrt(sequences * np.square(news).sum() * m / (m + 1)))
    sizes = np.linalg.norm(scores, axis=1)
    together = np.square(np.sum(np.array(scores) / np.maximum(sizes, 1e-12)[:, None], axis=0)).sum()
    return float(np.mean(estimates)), float(alone * np.sqrt(together) / series)
