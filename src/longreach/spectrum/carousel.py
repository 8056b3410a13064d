"""The LSTM's constant error carousel: what of a gradient stays in c, and what goes through h.

(Hochreiter & Schmidhuber 1997, Neural Computation 9:1735-1780; with forget gates Gers, Schmidhuber & Cummins 2000)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longreach.errors import ArgumentError
from longreach.nn import cells
from longreach.probes.lags import check_lags, lag_grid
from longreach.spectrum.orbit import Orbit, Projected, orbits
from longreach.spectrum.singular import power


@dataclass(frozen=True)
class Split:
    """One layer in one direction: gains from c_t to c_{t-k}, by way, as medians over the sequences.

    layer, reverse  its place in the module
    alone           ln of the gain by c alone, at each lag: the carousel
    through_h       ln of the gain by all ways that go through h at some step between
    together        ln of the gain by all ways: of ∂c_t/∂c_{t-k}
    share           of the carousel: alone² / (alone² + through_h²), 0 to 1; nan where nothing is left at all
    half_lives      of each unit, in steps: c alone then keeps half of a gradient. inf where f = 1, nan for lag 0 only
    """

    layer: int
    reverse: bool
    alone: tuple[float, ...]
    through_h: tuple[float, ...]
    together: tuple[float, ...]
    share: tuple[float, ...]
    half_lives: tuple[float, ...]


@dataclass(frozen=True)
class Carousel:
    """What `carousel` found, printable.

    lags     ascending
    places   layer by layer, of each its directions
    """

    lags: tuple[int, ...]
    places: tuple[Split, ...]

    def __str__(self) -> str:
        return "\n".join(["Gain from c_t to c_{t-k}", *(line for place in self.places for line in self._lines(place))])

    def _lines(self, place: Split) -> list[str]:
        lives = sorted(place.half_lives)
        low, middle, high = (f"{lives[at]:.3g}" for at in (0, len(lives) // 2, -1))
        name = f"layer {place.layer}{' reverse' if place.reverse else ''}"
        lines = [
            f"{name:<16} c alone halves a gradient in {low} to {high} steps, median {middle}",
            f"{'lag':>22}{'c alone':>12}{'through h':>12}{'together':>12}   share of c alone",
        ]
        for at in _shown(self.lags):
            gains = "".join(f"{power(way[at]):>12}" for way in (place.alone, place.through_h, place.together))
            lines.append(f"{self.lags[at]:22}{gains}   {place.share[at]:.0%}")
        return lines


@torch.no_grad()
def carousel(lstm: nn.Module, inputs: Tensor, *, lags: Sequence[int] | None = None, state: Any = None) -> Carousel:
    """How much of a gradient stays in the LSTM's c over k steps, and how much of it goes round through h.

        ∂c_t/∂c_{t-k} = diag(f_t ⋯ f_{t-k+1}) + all ways that go through h      t the last step of the inputs

    A gain is the root of the mean square over random directions, ‖M‖_F / √H. The carousel is constant if f = 1; it is
    the only way that no weight matrix can shrink or blow up. All in float64 and in evaluation.

    lstm     nn.LSTM or nn.LSTMCell, those of longreach.nn, or a Recurrent of cells.LSTM
    inputs   as it takes them: (time, row, feature), batch_first as set
    lags     whole numbers from 0 to the number of steps - 1; None: as reach is read at
    state    to start from, (h, c) as it takes it; None: zeros
    Cost     per step and sequence the whole Jacobian, and a product of H x 2H with it; H units
    Equals   with gates that do not listen to h, diag(f_t ⋯ f_{t-k+1}) alone: share 1 at every lag
    Is not   gain(k), which is that of the state (h, c) as a whole
    Raises   ArgumentError where anything does not fit
    """
    places, chosen = [], ()
    for orbit in orbits(lstm, inputs, state):
        if type(orbit.cell) not in (cells.LSTM, Projected):
            raise ArgumentError(
                f"lstm: expected an LSTM, got {type(lstm).__name__} of {type(orbit.cell).__name__}; only an LSTM has c"
            )
        horizon = len(orbit.inputs) - 1
        chosen = lag_grid(horizon) if lags is None else check_lags(lags, horizon)
        places.append(_split(orbit, chosen))
    return Carousel(chosen, tuple(places))


def _split(orbit: Orbit, lags: tuple[int, ...]) -> Split:
    """The two sums of ways, a step's Jacobian at a time, from the last step back.

    A way leaves the carousel through h once for the first time: rest' = rest J + diag(kept) (J's rows of c, without f).
    Nothing is told as a difference of two large numbers.
    """
    time, rows, _ = orbit.inputs.shape
    units = orbit.cell.hidden_size
    kept = orbit.states.new_zeros(rows, units)  # ln of the carousel's diagonal
    rest = orbit.states.new_zeros(rows, units, orbit.states.shape[2])  # divided by e^scale
    scale = orbit.states.new_zeros(rows)
    found, log_f = [], []
    for lag in range(lags[-1] + 1):
        if lag > 0:
            jacobian = orbit.jacobian(time - lag)
            leaving = jacobian[:, -units:].clone()
            f = leaving[:, :, -units:].diagonal(dim1=1, dim2=2)
            log_f.append(f.log())
            f.zero_()
            rest = rest @ jacobian + (kept - scale[:, None]).exp()[:, :, None] * leaving
            kept = kept + log_f[-1]
            rest, scale = _rescaled(rest, scale, kept)
        if lag in lags:
            found.append(_gains(rest[:, :, -units:], scale, kept))
    alone, through_h, together, share = torch.stack(found).median(dim=2).values.T.tolist()
    fade = torch.stack(log_f).mean(dim=(0, 1)).abs() if log_f else kept[0] * math.nan
    return Split(
        orbit.layer,
        orbit.reverse,
        tuple(alone),
        tuple(through_h),
        tuple(together),
        tuple(share),
        tuple((math.log(2) / fade).tolist()),
    )


def _rescaled(
    rest: Float[Tensor, "row unit n"], scale: Float[Tensor, " row"], kept: Float[Tensor, "row unit"]
) -> tuple[Float[Tensor, "row unit n"], Float[Tensor, " row"]]:
    """The same with the larger of carousel and rest of size 1."""
    change = torch.maximum(rest.flatten(1).norm(dim=1).log(), kept.amax(dim=1) - scale)
    change = change.where(change > -math.inf, 0.0)
    return rest * (-change).exp()[:, None, None], scale + change


def _gains(
    rest: Float[Tensor, "row unit unit"], scale: Float[Tensor, " row"], kept: Float[Tensor, "row unit"]
) -> Float[Tensor, "way row"]:
    """alone, through_h and together as logarithms, and the share."""
    root = 0.5 * math.log(kept.shape[1])
    whole = rest + torch.diag_embed((kept - scale[:, None]).exp())
    alone = 0.5 * torch.logsumexp(2 * kept, dim=1) - root
    through_h, together = (part.flatten(1).norm(dim=1).log() + scale - root for part in (rest, whole))
    return torch.stack((alone, through_h, together, torch.sigmoid(2 * (alone - through_h))))


def _shown(lags: tuple[int, ...], most: int = 12) -> list[int]:
    """Places of the lags to print: all of a few; of many those nearest to 1, 2, 4, 8, ... and the last."""
    if len(lags) <= most:
        return list(range(len(lags)))
    doubling = [2**n for n in range(lags[-1].bit_length())]
    return sorted({*(min(range(len(lags)), key=lambda at: abs(lags[at] - lag)) for lag in doubling), len(lags) - 1})
