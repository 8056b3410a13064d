"""How often clipping binds, and how much of the gradient it cuts away."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from longreach.probes.samples import Sample
from longreach.quantities.gradients import Gradients, shrunk
from longreach.quantities.updates import EARLY

NORM, VALUE, OWN = "clip_grad_norm_", "clip_grad_value_", "clipping of the script's own"


@dataclass(frozen=True)
class Clip(Sample):
    """All calls of a clipping function until `step`: counted, so that any two samples tell what was between them.

    place   which function
    limit   the largest norm, or value, that the latest call allowed
    calls   how often it was called
    bound   how often it made a gradient smaller; of clip_grad_value_, which does not tell, always 0
    log_cut sum over those calls of ln(norm before / norm after)
    """

    limit: float
    calls: int
    bound: int
    log_cut: float


@dataclass(frozen=True)
class Clipping:
    """Clipping over the run, beyond its first tenth.

    by      "clip_grad_norm_", "clip_grad_value_", or "clipping of the script's own": seen from what it does to the norm
    limit   the largest norm, or value, that it allowed last; for clipping of the script's own the norm it leaves
    calls   how often it was called; for the last two, how many sampled steps were compared
    bound   share of them in which the gradient became smaller
    factor  how many times smaller: the geometric mean of those, or their median where norms were compared; 1 for none
    """

    by: str
    limit: float
    calls: int
    bound: float
    factor: float


def pool(samples: dict[str, list[Clip]], gradients: Gradients | None, steps: int) -> Clipping | None:
    """What clipping has done in a run of so many steps; None where there was none."""
    norm = samples.get(NORM)
    if norm:
        return _of_norm(norm, steps)
    seen = shrunk(gradients, steps)
    if seen is None or gradients is None:
        return None
    called = samples.get(VALUE)
    if not called and not seen.level:
        return None  # averaging and the like make gradients smaller too, but not to one size
    limit = called[-1].limit if called else seen.limit
    factor = seen.factor if seen.share > 0 else 1.0
    return Clipping(VALUE if called else OWN, limit, len(gradients.steps), seen.share, factor)


def _of_norm(samples: Sequence[Clip], steps: int) -> Clipping:
    last = samples[-1]
    calls, bound, log_cut = last.calls, last.bound, last.log_cut
    before = [sample for sample in samples[:-1] if sample.step < EARLY * steps]
    if before:
        start = before[-1]
        calls, bound, log_cut = calls - start.calls, bound - start.bound, log_cut - start.log_cut
    factor = math.exp(min(log_cut / bound, 700.0)) if bound else 1.0
    return Clipping(NORM, last.limit, calls, bound / calls if calls else 0.0, factor)
