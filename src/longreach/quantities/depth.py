"""Gain over depth: how much of a gradient survives from the output of a network down to its lowest layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from longreach.probes.samples import Sample

Axis = Literal["layers", "hops"]


@dataclass(frozen=True)
class DepthSample(Sample):
    """One curve; `place` names the network by its lowest and its highest layer, a tree by its cell.

    axis      "layers": from layer to layer; "hops": from the root of a tree to its leaves
    layers    names of the layers, the highest first; of hops, their numbers
    log_gain  ln gain at each, 0 at the first; -inf where nothing is left
    """

    axis: str
    layers: tuple[str, ...]
    log_gain: tuple[float, ...]


@dataclass(frozen=True)
class Depth:
    """Gain over the depth of a network, pooled over sampled training steps of the second half of the run.

    module    the lowest and the highest layer, or the cell of a tree
    axis      "layers" or "hops"
    layers    names of the layers, the highest first; of hops, their numbers
    log_gain  ln gain at each of them: of a random gradient at the first, what is left; median over samples
    at_start  the same at the first sampled step: the network as it was initialised
    growth    slope of ln gain over depth, from the first to the last layer; nats per layer or hop
    samples   how many sampled steps were pooled
    """

    module: str
    axis: str
    layers: tuple[str, ...]
    log_gain: tuple[float, ...]
    at_start: tuple[float, ...]
    growth: float
    samples: int

    @property
    def steps(self) -> int:
        """Layers, or hops, below the first."""
        return len(self.layers) - 1


def pool(samples: dict[str, list[DepthSample]]) -> tuple[Depth, ...]:
    """One for each network and tree; a place whose layers changed counts with those it had at last."""
    return tuple(depth for found in samples.values() if (depth := _pooled(found)) is not None)


def _pooled(found: Sequence[DepthSample]) -> Depth | None:
    # a gradient that is not a number says nothing of the channel: LR401 tells of it
    finite = [sample for sample in found if not any(math.isnan(value) for value in sample.log_gain)]
    if not finite:
        return None
    last = finite[-1]
    alike = [sample for sample in finite if sample.layers == last.layers]
    late = [sample for sample in alike if 2 * sample.step >= last.step]
    log_gain = tuple(median(values) for values in zip(*(sample.log_gain for sample in late), strict=True))
    return Depth(
        module=last.place,
        axis=last.axis,
        layers=last.layers,
        log_gain=log_gain,
        at_start=alike[0].log_gain,
        growth=log_gain[-1] / max(1, len(log_gain) - 1),
        samples=len(late),
    )
