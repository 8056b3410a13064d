"""Counts the script's calls of torch's own clipping functions, at every step, and how often they bind."""

import math
from typing import Any

from torch import Tensor

from longreach.probes.arrivals import Arrivals
from longreach.probes.together import is_part
from longreach.quantities.clipping import NORM, VALUE, Clip
from longreach.store import Store


class ClipCounter:
    """Hears every call of clip_grad_norm_ and clip_grad_value_, wherever the script has got their names from.

    Cost       reading one number a call; on a device that is put off
    Blind to   clipping that the script does itself, and norms that are spread over several processes: what either does
               shows in the norms before and after
    """

    def __init__(self):
        self._arrivals: Arrivals[tuple[int, float]] = Arrivals()
        self._counted: dict[str, Clip] = {}
        self._new: set[str] = set()

    def heard_norm(self, step: int, max_norm: Any, total_norm: Any) -> None:
        """A norm was cut to `max_norm`, if it was larger."""
        limit = float(max_norm)
        if isinstance(total_norm, Tensor) and is_part(total_norm):
            return
        if not isinstance(total_norm, Tensor):
            self._count(step, limit, float(total_norm))
        elif total_norm.device.type == "cpu":
            self._count(step, limit, total_norm.item())
        else:
            self._arrivals.put((step, limit), total_norm)

    def heard_value(self, step: int, clip_value: Any) -> None:
        """Entries were cut to `clip_value`; how many and by how much, only the norms before and after can tell."""
        known = self._counted.get(VALUE)
        self._counted[VALUE] = Clip(VALUE, step, float(clip_value), known.calls + 1 if known else 1, 0, 0.0)
        self._new.add(VALUE)

    def write(self, store: Store, *, wait: bool) -> None:
        """Store the counts as they stand."""
        for (step, limit), (norm,) in self._arrivals.take(wait=wait):
            self._count(step, limit, norm)
        for place in sorted(self._new):
            store.add(self._counted[place])
        self._new = set()

    def _count(self, step: int, limit: float, norm: float) -> None:
        known = self._counted.get(NORM)
        calls, bound, log_cut = (known.calls, known.bound, known.log_cut) if known else (0, 0, 0.0)
        if not math.isnan(norm) and norm > limit > 0:
            bound += 1
            log_cut += min(math.log(norm) - math.log(limit), 700.0)
        self._counted[NORM] = Clip(NORM, step, limit, calls + 1, bound, log_cut)
        self._new.add(NORM)
