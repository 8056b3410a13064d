"""From a model's output back to where a sequence enters it: one product for all lags, rows and entrances."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from longreach.probes import tails
from longreach.probes.axes import Layout, layouts
from longreach.probes.entrance import Entrance
from longreach.probes.fused import last_error_step
from longreach.probes.lags import lag_grid
from longreach.probes.rerun import Rerun
from longreach.probes.samples import Curve

# Rows that a gradient is sent into.
ANCHORS = 16
# Share of the largest influence below which another may be rounding: 16 units in the last place, and at most this.
MOST_ROUNDING = 1e-5


class Way:
    """From a model's output back to where the sequence enters: one product for all lags, rows and entrances."""

    def __init__(self, entrances: Sequence[Entrance], output: Tensor):
        self.entrances, self.output = entrances, output
        self._reruns = [Rerun(e.call, e.data) if e.mixed else None for e in entrances]

    @property
    def data(self) -> Tensor:
        """What enters first."""
        return self.entrances[0].data

    def seen(self, layout: Layout) -> Tensor:
        """The output as (row, time, feature), part of the live graph."""
        with torch.enable_grad():
            return layout.leaving(self.output, self.data.shape[layout.row])

    def sensitivity(self, seen: Tensor, seed: Tensor, layout: Layout) -> Tensor:
        """‖∂(seed · output)/∂x‖ of each row at every step, in float64."""
        flows = [flow for entrance in self.entrances for flow in entrance.flows]
        grads = iter(torch.autograd.grad(seen, flows, seed, retain_graph=True, allow_unused=True))
        arrived: dict[tuple[int, ...], Tensor] = {}
        for place, (entrance, rerun) in enumerate(zip(self.entrances, self._reruns, strict=True)):
            own = [next(grads) for _ in entrance.flows]
            back = own[0] if rerun is None else rerun.pull_back(own)
            if back is not None:
                # several modules that read one tensor: what comes back from them adds up
                data = entrance.data
                at = (place,) if rerun is None else (-1, data.data_ptr(), *data.stride())
                arrived[at] = arrived[at] + back if at in arrived else back
        size = self.data.shape[layout.row], self.data.shape[layout.time]
        total = torch.zeros(size, dtype=torch.float64, device=seen.device)
        for back in arrived.values():
            squares = layout.entering(back).double().square().sum(dim=2)
            total[:, -squares.shape[1] :] += squares  # what was padded has more steps at the start
        return total.sqrt()


def measure(
    way: Way, layout: Layout, error: Tensor, directions: Sequence[str], step: int, generator: torch.Generator
) -> dict[str, Curve]:
    """Curves by direction: of gain for random vectors, of signal for the errors of the anchors.

    Left out   a direction in which no step sees another
    """
    rows = way.data.shape[layout.row]
    arrived = layout.leaving(error, rows)
    size = arrived.double().norm(dim=2).T  # (time, row)
    lengths = torch.full((rows,), len(size))
    last, first = last_error_step(size, lengths), len(size) - 1 - last_error_step(size.flip(0), lengths)
    count = min(ANCHORS, rows if rows < 4 else rows // 2)  # the others show what batch norm spreads
    chosen = torch.arange(count) * rows // count
    found = {}
    for direction in directions:
        anchors = (last if direction == "forward" else first)[chosen]
        vectors = torch.randn(count, arrived.shape[2], generator=generator)
        gain, signal = (
            _shares(way, layout, sent, chosen, anchors, direction) for sent in (vectors, arrived[chosen, anchors].cpu())
        )
        if gain is not None and gain[1] > 0:
            found[direction] = _curve(step, gain, signal)
    return found


def _shares(
    way: Way, layout: Layout, vectors: Tensor, chosen: Tensor, anchors: Tensor, direction: str
) -> tuple[np.ndarray, int] | None:
    """`tails.gain` for vectors that are sent into the chosen rows of the output, each at its own anchor."""
    seen = way.seen(layout)
    seed = torch.zeros_like(seen)
    seed[chosen, anchors] = _scaled(vectors).to(seen)
    padded = padding(layout.entering(way.data))
    back = way.sensitivity(seen, seed, layout).cpu().numpy()
    own = tails.above_the_leak(back, chosen.numpy(), min(16 * torch.finfo(seen.dtype).eps, MOST_ROUNDING))[:, padded:]
    ends = (steps_of(seen.shape[1], way.data.shape[layout.time])[anchors] - padded).clamp(min=0).numpy()
    return tails.gain(own, ends) if direction == "forward" else tails.gain(own[:, ::-1], own.shape[1] - 1 - ends)


def _curve(step: int, gain: tuple[np.ndarray, int], signal: tuple[np.ndarray, int] | None) -> Curve:
    """A curve on the usual lags, and at the last one with any influence and the first one without."""
    horizon, last = len(gain[0]) - 1, gain[1]
    lags = tuple(sorted({*lag_grid(horizon), last, min(last + 1, horizon)}))

    def logs(shares: np.ndarray) -> tuple[float, ...]:
        with np.errstate(divide="ignore"):
            return tuple(np.log(shares[list(lags)]).tolist())

    return Curve(step, lags, logs(gain[0]), logs(signal[0]) if signal else None, None, False)


def padding(drive: Tensor) -> int:
    """Steps at the start of (row, time, feature) numbers at which all are 0, for a convolution to begin on."""
    if not drive.is_floating_point():
        return 0
    steps = (drive != 0).any(dim=2).any(dim=0).nonzero()
    return int(steps[0]) if len(steps) else 0


def steps_of(leaving: int, entering: int) -> Tensor:
    """For each step of the output, the last step of the input that it stands for.

    One output stands for all; of outputs at every second step each for two; and where some are missing at the start,
    because nothing was padded, the last stands for the last.
    """
    steps = torch.arange(leaving)
    return (steps + 1) * entering // leaving - 1 if entering % leaving == 0 else steps + entering - leaving


def matches(layout: Layout, data: Tensor, output: Tensor) -> bool:
    """Whether a layout can be that of these tensors."""
    if max(layout.row, layout.time) >= data.dim():
        return False
    return layout in layouts(((layout.row, layout.time),), tuple(data.shape), tuple(output.shape))


def _scaled(vectors: Tensor) -> Tensor:
    """Rows of length 1 times the square root of their size: small formats underflow less."""
    vectors = vectors.double()
    norms = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(norms > 0, norms, 1.0) * vectors.shape[1] ** 0.5
