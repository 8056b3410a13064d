"""Norms of gradients, at as many steps as the time budget affords: one number a parameter, in one pass.

The latest are kept by parameter, so that it can be said afterwards whose gradient rose first.
"""

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from longreach.probes.arrivals import Arrivals
from longreach.probes.names import Names
from longreach.probes.together import own_part
from longreach.quantities.gradients import GradientNorm
from longreach.quantities.spikes import Riser, rose_first
from longreach.store import Store

# Looks that are kept by parameter.
KEPT = 64
HALF = (torch.float16, torch.bfloat16)


class Norms:
    """Looks at the gradients of one step after the other.

    Tag of a look   (step, the identities of the parameters, the scale that the loss was multiplied by)
    """

    def __init__(self):
        self.recent: deque[tuple[int, dict[int, float]]] = deque(maxlen=KEPT)
        self._arrivals: Arrivals[tuple[int, tuple[int, ...], float]] = Arrivals()
        self._latest: tuple[int, dict[int, float]] | None = None  # of the step that is open
        self._samples: list[GradientNorm] = []

    def look(self, parameters: Sequence[Tensor], step: int, *, scale: float, may_wait: bool) -> bool | None:
        """After a backward pass: whether all norms are finite; None on a device that may not be waited for."""
        norms = norms_of(parameters)
        tag = (step, tuple(map(id, parameters)), scale)
        if norms.device.type != "cpu" and not may_wait:
            self._arrivals.put(tag, norms)
            return None
        found = norms.tolist()
        self._latest = self._keep(tag, found)
        return all(map(math.isfinite, found))

    @property
    def fresh(self) -> bool:
        """Whether the gradients of the step that is open have been looked at."""
        return self._latest is not None

    def backward_again(self) -> None:
        """Another backward pass adds to the gradients: what was seen of them is no longer all."""
        self._latest = None

    def before_step(self, parameters: Sequence[Tensor], step: int, *, may_wait: bool) -> None:
        """The optimizer is about to use these gradients: `after`, if the step is one that may be waited for."""
        latest, self._latest = self._latest, None
        if latest is None or latest[0] != step:
            return
        before = _total(latest[1].get(id(parameter), 0.0) for parameter in parameters)
        after = _total(norms_of(parameters).tolist()) if may_wait and parameters else math.nan
        self._samples.append(GradientNorm("", step, before, after))

    def write(self, store: Store, *, wait: bool) -> None:
        """Store what has arrived since."""
        for tag, found in self._arrivals.take(wait=wait):
            step, norms = self._keep(tag, found)
            self._samples.append(GradientNorm("", step, _total(norms.values()), math.nan))
        for sample in self._samples:
            store.add(sample)
        self._samples = []

    def riser(self, step: int, names: Names) -> Riser | None:
        """Whose gradient rose first when the loss jumped at `step`; None where none is known to have."""
        if not self.recent:
            return None
        owners = {id(parameter): module for parameter, (module, _) in names.owners().items()}
        looks = []
        for at, norms in self.recent:
            modules: dict[str, float] = {}
            for parameter, norm in norms.items():
                module = owners.get(parameter)
                if module is not None:
                    modules[module] = math.hypot(modules.get(module, 0.0), norm)
            looks.append((at, modules))
        return rose_first(looks, step)

    def _keep(self, tag: tuple[int, tuple[int, ...], float], found: list[float]) -> tuple[int, dict[int, float]]:
        step, parameters, scale = tag
        latest = (step, {parameter: norm / scale for parameter, norm in zip(parameters, found, strict=True)})
        self.recent.append(latest)
        return latest


def norms_of(parameters: Sequence[Tensor]) -> Tensor:
    """‖∂L/∂p‖ of each; in 32 bits at least. Finite gradients beyond 1e19 may give inf there."""
    grads = [own_part(parameter.grad) for parameter in parameters if parameter.grad is not None]
    wide = [grad.float() if grad.dtype in HALF else grad for grad in grads]
    norms = torch._foreach_norm(wide, 2)  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack([norm.to(norms[0].device, norms[0].dtype) for norm in norms])


def _total(norms) -> float:
    return math.hypot(*norms)
