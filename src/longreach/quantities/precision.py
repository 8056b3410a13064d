"""What narrow number formats lose: gradients too small or too large for float16, and steps skipped because of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from longreach.probes.samples import Sample
from longreach.quantities.updates import middle


@dataclass(frozen=True)
class Scaling(Sample):
    """What a loss scaler has done until `step`: counted, so that any two samples tell what was between them.

    place    ""
    scale    what losses are multiplied by
    steps    how many steps it was asked for
    skipped  how many of them it left out, because a gradient was not finite
    """

    scale: float
    steps: int
    skipped: int


@dataclass(frozen=True)
class HalfGradient(Sample):
    """The gradient at the float16 outputs of one module, `place`, in one backward pass. Shares of their entries.

    lost      of the entries that are not 0 when the loss is multiplied by 2^16, or by 2^8 where that would be too much,
              those that are 0 without; NaN where this was not tried
    tiny      of the entries that are not 0, those that float16 holds with less than its full precision
    infinite  those that are infinite or NaN
    largest   the largest finite entry; 0 if all are 0
    scale     what the script itself has multiplied the loss by
    """

    lost: float
    tiny: float
    infinite: float
    largest: float
    scale: float


@dataclass(frozen=True)
class HalfGradients:
    """The gradient at the float16 outputs of one module: medians over the sampled steps; fields as in HalfGradient."""

    module: str
    lost: float
    tiny: float
    infinite: float
    largest: float
    scale: float
    samples: int


@dataclass(frozen=True)
class LossScale:
    """What a loss scaler has done in all.

    scale    what losses were multiplied by in the end
    steps    how many steps it was asked for
    skipped  how many of them it left out, because a gradient was not finite
    late     the share left out of those after the first sample of these counts: when the scale had been found
    """

    scale: float
    steps: int
    skipped: int
    late: float


def pool(samples: dict[str, list[HalfGradient]]) -> tuple[HalfGradients, ...]:
    """One for each module."""
    return tuple(
        HalfGradients(
            module=place,
            lost=middle([sample.lost for sample in found]),
            tiny=middle([sample.tiny for sample in found]),
            infinite=middle([sample.infinite for sample in found]),
            largest=middle([sample.largest for sample in found]),
            scale=found[-1].scale,
            samples=len(found),
        )
        for place, found in samples.items()
        if found
    )


def loss_scale(samples: Sequence[Scaling]) -> LossScale | None:
    """The counts at the end; None without a scaler."""
    if not samples:
        return None
    first, last = samples[0], samples[-1]
    steps, skipped = last.steps - first.steps, last.skipped - first.skipped
    return LossScale(last.scale, last.steps, last.skipped, skipped / steps if steps else math.nan)
