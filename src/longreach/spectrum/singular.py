"""Singular values of the Jacobian over many steps: along how many directions does a gradient survive?

(Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063; Vorontsov, Trabelsi, Kadoury & Pal 2017, arXiv 1702.00071)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longreach.probes.lags import check_lags
from longreach.spectrum.orbit import Orbit, orbits

EPSILON = torch.finfo(torch.float64).eps
LEFT = 0.01  # of a gradient: where reach ends
ALTERNATIONS = 2  # of QR before it: they bring the rows close to what rotations have to make of them
MOST_SWEEPS = 40  # of Jacobi's rotations; they converge quadratically, as a rule in fewer than 10


@dataclass(frozen=True, eq=False)
class Stretches:
    """Singular values of ∂s_t/∂s_{t-k} in one layer and direction, t its last step.

    layer, reverse  its place in the module
    log             their natural logarithms [lag, row, n], the largest first; -inf for 0
    """

    layer: int
    reverse: bool
    log: Float[Tensor, "lag row n"]

    @property
    def log_gain(self) -> Float[Tensor, "lag row"]:
        """ln √(mean σ²): what becomes of a random direction, the root of the mean square of gain(k)."""
        return 0.5 * (torch.logsumexp(2 * self.log, dim=2) - math.log(self.log.shape[2]))

    @property
    def directions(self) -> Float[Tensor, "lag row"]:
        """In how many directions a gradient keeps 1 % of its size or more."""
        return (self.log >= math.log(LEFT)).sum(dim=2).to(self.log)


@dataclass(frozen=True, eq=False)
class SingularValues:
    """What `singular_values` found, printable as medians over the sequences.

    lags     ascending
    places   layer by layer, of each its directions
    """

    lags: tuple[int, ...]
    places: tuple[Stretches, ...]

    def __str__(self) -> str:
        lines = ["Singular values of ∂s_t/∂s_{t-k}"]
        for place in self.places:
            name = f"layer {place.layer}{' reverse' if place.reverse else ''}"
            lines.append(f"{name:<16}   lag     largest      median    smallest   1% survives in")
            of = place.log.shape[2]
            for lag, log, directions in zip(self.lags, place.log, place.directions, strict=True):
                parts = (log[:, 0], log.median(dim=1).values, log[:, -1])
                shown = "".join(f"{power(part.median().item()):>12}" for part in parts)
                lines.append(f"{'':<16}{lag:6}{shown}   {directions.median():.0f} of {of} directions")
        return "\n".join(lines)


@torch.no_grad()
def singular_values(module: nn.Module, inputs: Tensor, lags: Sequence[int], *, state: Any = None) -> SingularValues:
    """Singular values of J = ∂s_t/∂s_{t-k} for the last step t of the inputs, at the given lags k.

    σ₁ bounds what a gradient can keep over k steps, the root of their mean square is what a random one keeps, and their
    number above 1 % says how many things can be told apart after k steps.

    module   as in `lyapunov`; in float64 and in evaluation
    inputs   as it takes them: (time, row, feature), batch_first as set
    lags     whole numbers from 0 to the number of steps - 1
    state    to start from, as it takes it; None: zeros
    Cost     per step and sequence the whole Jacobian and a QR of n x n, n numbers in the state; per lag a Jacobi SVD
    Exact    in logarithms: 1e-300 beside 1 is a number like any other. The factors of J are kept as Q D U, D a
             logarithm a row; D U is diagonalised by rotations of its rows (Demmel & Veselić 1992)
    Raises   ArgumentError where anything does not fit
    """
    places, chosen = [], ()
    for orbit in orbits(module, inputs, state):
        chosen = check_lags(lags, len(orbit.inputs) - 1)
        places.append(Stretches(orbit.layer, orbit.reverse, _at_lags(orbit, chosen)))
    return SingularValues(chosen, tuple(places))


def _at_lags(orbit: Orbit, lags: tuple[int, ...]) -> Float[Tensor, "lag row n"]:
    """Jᵀ = Q diag(e^d) U grows by a step's Jacobian at a time, from the last step back."""
    time, rows, _ = orbit.inputs.shape
    size = orbit.states.shape[2]
    q = u = torch.eye(size).to(orbit.states).expand(rows, size, size)
    d = orbit.states.new_zeros(rows, size)
    found = []
    for lag in range(lags[-1] + 1):
        if lag > 0:
            q, d, u = _grown(orbit.jacobian(time - lag).mT @ q, d, u)
        if lag in lags:
            found.append(log_singular_values(d, u))
    return torch.stack(found)


def _grown(
    c: Float[Tensor, "row n n"], d: Float[Tensor, "row n"], u: Float[Tensor, "row n n"]
) -> tuple[Float[Tensor, "row n n"], Float[Tensor, "row n"], Float[Tensor, "row n n"]]:
    """C diag(e^d) U as Q diag(e^d') U', Q orthogonal, the rows of U' of length 1.

    The columns of C e^d are sorted by size first: what then lies above the diagonal of R is no larger than what lies on
    it, so that the factor U stays well conditioned however far D spreads (Loh et al. 1992, Tomas et al. 2012).
    """
    order = (c.norm(dim=1).log() + d).argsort(dim=1, descending=True)
    c = c.gather(2, order[:, None].expand_as(c))
    d, u = d.gather(1, order), u.gather(1, order[:, :, None].expand_as(u))
    q, r = torch.linalg.qr(c)  # the same Q as with the columns times e^d
    # what is no more than the rounding of its column is nothing
    r = torch.where(r.abs() > len(r[0]) * EPSILON * c.norm(dim=1)[:, None], r, 0.0).triu()
    logs = r.abs().log() + d[:, None]
    scale = logs.amax(dim=2)
    r = r.sign() * torch.where(logs > -math.inf, logs - scale[:, :, None], -math.inf).exp()
    u, length = _unit(r @ u)
    return q, scale + length, u


def log_singular_values(d: Float[Tensor, "matrix n"], u: Float[Tensor, "matrix n n"]) -> Float[Tensor, "matrix n"]:
    """ln σᵢ of diag(e^d) U, the largest first, each to the accuracy that U allows, whatever the range of d.

    Jacobi's rotations from the left make the rows orthogonal; their lengths then are the singular values. Of a row,
    direction and logarithm of the length are kept apart. In a round every row meets one other.
    """
    size = d.shape[1]
    for _ in range(ALTERNATIONS):
        _, d, u = _grown(u.mT, d, torch.eye(size).to(u).expand_as(u))
    rounds = _rounds(size, d.device) if size > 1 else []
    for _ in range(MOST_SWEEPS):
        largest = 0.0
        for first, second in rounds:
            d, u, cosine = _rotated(d, u, first, second)
            largest = max(largest, cosine)
        if largest <= size * EPSILON:
            break
    return d.sort(dim=1, descending=True).values


def _rotated(
    d: Float[Tensor, "matrix n"], u: Float[Tensor, "matrix n n"], first: Tensor, second: Tensor
) -> tuple[Float[Tensor, "matrix n"], Float[Tensor, "matrix n n"], float]:
    """Each pair of rows turned until it is orthogonal; the largest cosine that there was between two."""
    swap = d[:, second] > d[:, first]
    longer, shorter = torch.where(swap, second, first), torch.where(swap, first, second)
    a, b = _rows(u, longer), _rows(u, shorter)
    cosine = (a * b).sum(dim=2)
    # the shorter over the longer; a length of 0 meets nothing
    ratio = (d.gather(1, shorter) - d.gather(1, longer)).nan_to_num(nan=-math.inf, neginf=-math.inf).exp()
    gap = 1 - ratio.square()
    below = gap + (gap.square() + 4 * (ratio * cosine).square()).sqrt()
    # tangent / ratio: where the shorter vanishes beside the longer, the step of Gram and Schmidt
    tilt = torch.where(below > 0, -2 * cosine / below.where(below > 0, 1.0), 0.0)[:, :, None]
    turned, lengths = _unit(torch.cat((a - tilt * ratio.square()[:, :, None] * b, b + tilt * a), dim=1))
    turn = 0.5 * torch.log1p((tilt[:, :, 0] * ratio).square())  # -ln cos of the angle
    where = torch.cat((longer, shorter), dim=1)
    u = u.scatter(1, where[:, :, None].expand_as(turned), turned)
    d = d.scatter_add(1, where, lengths - torch.cat((turn, turn), dim=1))
    return d, u, cosine.abs().max().item()


def _rounds(size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Every pair of `size` rows once, in rounds of disjoint pairs: the rows sit at a round table, one stays put."""
    seats = list(range(size + size % 2))
    found = []
    for _ in range(len(seats) - 1):
        pairs = zip(seats[: len(seats) // 2], reversed(seats[len(seats) // 2 :]), strict=True)
        met = torch.tensor([pair for pair in pairs if max(pair) < size], dtype=torch.int64, device=device).view(-1, 2)
        found.append((met[:, 0], met[:, 1]))
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return found


def _rows(u: Float[Tensor, "matrix n n"], chosen: Tensor) -> Float[Tensor, "matrix pair n"]:
    return u.gather(1, chosen[:, :, None].expand(*chosen.shape, u.shape[2]))


def _unit(
    rows: Float[Tensor, "matrix count n"],
) -> tuple[Float[Tensor, "matrix count n"], Float[Tensor, "matrix count"]]:
    """Rows of length 1, or of zeros, and the logarithms of the lengths."""
    length = rows.norm(dim=2)
    return rows / length.where(length > 0, 1.0)[:, :, None], length.log()


def power(log: float) -> str:
    """e^log with two digits, within the range of float64 or not: 0.73, 2.4e-412."""
    if not math.isfinite(log):
        return {math.inf: "inf", -math.inf: "0"}.get(log, "nan")
    if math.log(0.001) <= log < math.log(99.5):
        return f"{math.exp(log):.2g}"
    exponent = math.floor(log / math.log(10))
    digits = f"{10 ** (log / math.log(10) - exponent):.1f}"
    return f"1.0e{exponent + 1}" if digits == "10.0" else f"{digits}e{exponent}"
