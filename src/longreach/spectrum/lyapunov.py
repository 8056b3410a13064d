"""Lyapunov exponents of a recurrent layer (Vogt et al. 2020, arXiv 2006.14123; Benettin et al. 1980)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longreach.errors import ArgumentError
from longreach.report.chart import BLOCKS
from longreach.spectrum.orbit import Orbit, orbits

STRETCHES = 20  # that an error is told from: so many means, taken from all rows
LEFT = 0.01  # of a gradient: where reach ends


@dataclass(frozen=True)
class Exponents:
    """The exponents of one layer in one direction.

    layer, reverse  its place in the module
    size            numbers in the state: how many exponents there are
    values          in nats per step, the largest first; -inf for a direction that a single step wipes out
    errors          their standard errors; nan where there are too few steps and rows to tell
    """

    layer: int
    reverse: bool
    size: int
    values: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def dimension(self) -> float:
        """D = j + (λ₁ + … + λ_j) / |λ_{j+1}|, j the largest number of exponents whose sum is not negative.

        Of the attractor, given the inputs (Kaplan & Yorke 1979). 0 if a single state attracts all others; nan if too
        few exponents were asked for.
        """
        total = 0.0
        for number, value in enumerate(self.values):
            if total + value < 0:
                return number + total / -value
            total += value
        return float(self.size) if len(self.values) == self.size else math.nan

    @property
    def steps_left(self) -> float:
        """Steps after which 1 % of a gradient is left, ln 100 / -λ₁; inf if it does not fade."""
        return math.log(1 / LEFT) / -self.values[0] if self.values[0] < 0 else math.inf


@dataclass(frozen=True)
class Spectrum:
    """What `lyapunov` found, printable: the exponents of every place, layer by layer, of each its directions.

    steps, warmup, rows   steps that count, those before them that do not, and sequences
    """

    steps: int
    warmup: int
    rows: int
    places: tuple[Exponents, ...]

    def __str__(self) -> str:
        rows = "1 sequence" if self.rows == 1 else f"{self.rows} sequences"
        head = f"Lyapunov exponents in nats per step, over {self.steps} steps of {rows}"
        return "\n".join([head, *(line for place in self.places for line in _lines(place))])


@torch.no_grad()
def lyapunov(
    module: nn.Module,
    inputs: Tensor,
    *,
    state: Any = None,
    count: int | None = None,
    warmup: int | None = None,
    reorthonormalise: int = 1,
) -> Spectrum:
    """How fast small differences between states grow or fade, and with them gradients: one rate for each direction.

        λᵢ = 1/T Σₜ ln |Rₜ|ᵢᵢ     Qₜ Rₜ = Jₜ Qₜ₋₁, a QR decomposition     Jₜ = ∂sₜ/∂sₜ₋₁, sₜ = hₜ or (hₜ, cₜ)

    All in float64 and in evaluation, averaged over the sequences. λ₁ is what growth tends to at long lags.

    module            nn.RNN, nn.GRU, nn.LSTM, their cells, those of longreach.nn, Recurrent, or a Cell
    inputs            that drive it, as it takes them: (time, row, feature), batch_first as set; the longer the better
    state             to start from, as it takes it; None: zeros
    count             of the largest exponents; None: all
    warmup            steps before it counts, for states and Q to settle; None: a fifth
    reorthonormalise  QR every so many steps; more than 1 is cheaper, and loses the smallest exponents first
    Cost              per step and sequence `count` products with J, and a QR of n x count; n numbers in the state
    Error             the spread of the means of some 20 stretches: it does not see what changes more slowly than these
    Exact             for a linear network: ln |eigenvalue of W|
    Is not            gain at a finite lag: a passing growth, of a matrix that is not normal, averages out
    Raises            ArgumentError where anything does not fit
    """
    found, time, rows = [], 0, 0
    for orbit in orbits(module, inputs, state):
        time, rows = orbit.inputs.shape[:2]
        warmup = time // 5 if warmup is None else warmup
        size = orbit.states.shape[2]
        count_here = size if count is None else count
        _check(time, size, count_here, warmup, reorthonormalise)
        logs, lengths = _logs(orbit, count_here, warmup, reorthonormalise)
        values = logs.sum(0).mean(0) / lengths.sum()
        order = values.argsort(descending=True).tolist()
        errors = _errors(logs, lengths)
        found.append(
            Exponents(
                orbit.layer,
                orbit.reverse,
                size,
                tuple(values[order].tolist()),
                tuple(errors[order].tolist()),
            )
        )
    return Spectrum(time - (warmup or 0), warmup or 0, rows, tuple(found))


def _check(time: int, size: int, count: int, warmup: int, every: int) -> None:
    if not isinstance(count, int) or not 1 <= count <= size:
        raise ArgumentError(f"count: expected 1 to {size} exponents, as many as the state has numbers, got {count!r}")
    if not isinstance(warmup, int) or not 0 <= warmup < time:
        raise ArgumentError(f"warmup: expected 0 to {time - 1} steps, fewer than the inputs have, got {warmup!r}")
    if not isinstance(every, int) or every < 1:
        raise ArgumentError(f"reorthonormalise: expected a number of steps, 1 or more, got {every!r}")


def frame(orbit: Orbit, count: int) -> Float[Tensor, "row n count"]:
    """The directions to begin with: random, as what starts along an axis may stay there.

    Of numbers of our own, the same however many are asked for.
    """
    size = orbit.states.shape[2]
    start = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.qr(start[:, :count].to(orbit.states).expand(orbit.states.shape[1], size, count))[0]


def _logs(
    orbit: Orbit, count: int, warmup: int, every: int
) -> tuple[Float[Tensor, "interval row count"], Float[Tensor, " interval"]]:
    """ln |Rᵢᵢ| of every interval after the warm-up, and its length in steps."""
    time, size = len(orbit.inputs), orbit.states.shape[2]
    q = frame(orbit, count)
    logs, lengths, since = [], [], 0
    for t in range(time):
        q = orbit.push(t, q)
        since += 1
        done = t + 1 - warmup
        if done != 0 and done % every and t + 1 < time:
            continue
        if not q.isfinite().all():
            raise ArgumentError(
                f"reorthonormalise: expected products within the range of float64, got one beyond it at step {t}; "
                f"every {every} steps is too seldom"
            )
        length = q.norm(dim=1)
        q, r = torch.linalg.qr(q)
        left = r.diagonal(dim1=1, dim2=2).abs()
        # what is no more than the rounding of its column is nothing
        left = torch.where(left > size * torch.finfo(q.dtype).eps * length, left, 0.0)
        if done > 0:
            logs.append(left.log())
            lengths.append(since)
        since = 0
    return torch.stack(logs), torch.tensor(lengths, dtype=torch.float64).to(orbit.states)


def _errors(logs: Float[Tensor, "interval row count"], lengths: Float[Tensor, " interval"]) -> Float[Tensor, " count"]:
    """Standard errors, from the means of about `STRETCHES` stretches of time, as many of each row."""
    intervals, rows, count = logs.shape
    pieces = min(intervals, math.ceil(STRETCHES / rows))
    parts = zip(logs.tensor_split(pieces), lengths.tensor_split(pieces), strict=True)
    means = torch.cat([part.sum(0) / steps.sum() for part, steps in parts])
    if len(means) < 2:
        return logs.new_full((count,), math.nan)
    return means.std(dim=0) / math.sqrt(len(means))


def _lines(place: Exponents) -> list[str]:
    """One place: the largest exponent and what it means, then the spectrum."""
    largest, error = place.values[0], place.errors[0]
    if abs(largest) <= 2 * error:
        fate = "not to be told from 0: gradients last"
    elif largest < 0:
        fate = f"1% of a gradient left after {place.steps_left:.0f} steps"
    else:
        fate = f"a gradient grows tenfold in {math.log(10) / largest:.0f} steps"
    dimension = "" if math.isnan(place.dimension) else f"dimension {place.dimension:.3g}"
    name = f"layer {place.layer}{' reverse' if place.reverse else ''}"
    return [
        f"{name:<16} {largest:9.3g} ± {f'{error:.1g}':<9} {fate}",
        f"{f'{len(place.values)} of {place.size}':>15}  {_chart(place.values)} {dimension}".rstrip(),
    ]


def _chart(values: tuple[float, ...], columns: int = 24) -> str:
    """First value, bars for at most `columns` of the exponents, last value."""
    chosen = min(columns, len(values))
    shown = [values[place * (len(values) - 1) // max(1, chosen - 1)] for place in range(chosen)]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return f"{values[0]:9.3g} {''.join(_bar(value, low, high) for value in shown)} {values[-1]:<9.3g}"


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    return BLOCKS[1 + round(7 * (value - low) / (high - low))] if high > low else BLOCKS[-1]
