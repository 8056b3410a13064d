"""The first NaN or infinity of a run, without a hook on any module.

Forward: a loss that is not finite still has its whole graph, which `autopsy` reads. Backward: the gradients after a
backward pass whose loss was finite; of its graph, only which operation fed which is still there.
"""

import math
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from longreach.probes.autopsy import autopsy, name_of, number_of, operation, operations_before, parameter_of, worst
from longreach.probes.gradients import Norms
from longreach.probes.names import Names
from longreach.probes.together import own_part
from longreach.record import NonFinite
from longreach.store import Store

# Operations whose slope is infinite somewhere in or at the edge of their domain.
STEEP = ("Sqrt", "Rsqrt", "LinalgVectorNorm", "Norm", "Div", "Reciprocal", "Log", "Pow", "Acos", "Asin", "Std", "Cdist")


@dataclass(frozen=True)
class Spoilt:
    """The gradients that a backward pass has spoilt: of each parameter "nan", "inf" or "", and the largest entry."""

    step: int
    root: Node
    gradients: dict[Tensor, tuple[str, float]]


class Sentinel:
    """Looks at every loss, and at the gradients where time allows, until the first number that is not finite.

    Gradients count once an update has been made with them: scalers of mixed precision, and careful scripts, throw
    the bad ones away.

    cost  seconds that the latest look at the gradients took
    """

    def __init__(self, names: Names, norms: Norms):
        self.cost = 1e-3
        self._names, self._norms, self._found = names, norms, False
        self._optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._root: Node | None = None  # of the latest backward pass, until its gradients were looked at
        self._pending: Spoilt | None = None

    def look_at_loss(self, root: Tensor, step: int, store: Store, *, may_wait: bool) -> None:
        """Before the backward pass. On a device, a look waits for it: only where that is allowed."""
        if self._found:
            return
        self._root = root.grad_fn
        if self._pending is not None and _all_finite(self._parameters()):
            self._pending = None  # thrown away by the script
        if (may_wait or root.device.type == "cpu") and not _is_finite(root):
            self._keep(_post_mortem(root, self._names, step), store)

    def look_at_gradients(self, step: int, *, scale: float = 1.0, may_wait: bool = True) -> float:
        """After a backward pass, and before anything is done to its gradients: clipping a NaN spreads it to all.

        scale     what the loss was multiplied by
        may_wait  for a device: where that is not allowed, the norms of the gradients are read later
        Returns   the seconds that it took
        """
        root, parameters = self._root, [] if self._found else self._parameters()
        if root is None or not parameters:
            return 0.0
        self._root = None
        began = time.perf_counter()
        sound = self._norms.look(parameters, step, scale=scale, may_wait=may_wait)
        if sound or (sound is False and _all_finite(parameters)):
            self._pending = None
        elif sound is False and self._pending is None:
            parts = {p: own_part(p.grad) for p in parameters if p.grad is not None}
            self._pending = Spoilt(step, root, {p: (worst(part), _largest(part)) for p, part in parts.items()})
        self.cost = time.perf_counter() - began
        return self.cost

    def meets(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer is met for the first time: it may hold parameters of no module that has been seen."""
        new = optimizer not in self._optimizers
        self._optimizers.add(optimizer)
        return new

    def before_step(self) -> None:
        """Something may have been done to the gradients: it is too late for a first look."""
        self._root = None

    def after_step(self, store: Store) -> None:
        """An update was made with the gradients as they are now."""
        if self._pending is not None and not _all_finite(self._parameters()):
            self._keep(in_gradients(self._pending, self._names), store)

    def at_a_crash(self, store: Store) -> None:
        """The script has died: gradients that were not finite may be why (`clip_grad_norm_` can be told to raise)."""
        if self._pending is not None:
            self._keep(in_gradients(self._pending, self._names), store)

    def _keep(self, event: NonFinite, store: Store) -> None:
        self._found, self._root, self._pending = True, None, None
        store.set_nonfinite(event)

    def _parameters(self) -> list[Tensor]:
        """Parameters with a gradient: those of the optimizers that have stepped, before that those of all modules."""
        groups = (group for optimizer in list(self._optimizers) for group in optimizer.param_groups)
        owned = [parameter for group in groups for parameter in group["params"]] or self._names.parameters()
        return [p for p in dict.fromkeys(owned) if p.grad is not None and p.grad.layout == torch.strided]


def _is_finite(loss: Tensor) -> bool:
    # at every step: reading one number is ten times cheaper than asking a tensor
    return math.isfinite(loss.item()) if loss.numel() == 1 else bool(loss.detach().isfinite().all())


def _all_finite(parameters: Iterable[Tensor]) -> bool:
    # of gradients that are spread over several processes this one's part: to ask the others would wait for them
    grads = [own_part(parameter.grad) for parameter in parameters if parameter.grad is not None]
    return not grads or bool(get_total_norm(grads, math.inf).isfinite())


def _post_mortem(root: Tensor, names: Names, step: int) -> NonFinite:
    try:
        return autopsy(root, names, step)
    except Exception:
        # people's own autograd functions can do anything when their saved tensors are asked for; the event stays true
        return NonFinite(step, "forward", "unknown", None, None, None, worst(root))


def in_gradients(spoilt: Spoilt, names: Names) -> NonFinite:
    """Which gradient stopped being finite first, seen from the loss, which was finite itself.

    Errors travel from the loss down and spoil all they meet: of the parameters spoilt, the one used last is nearest
    to where it began. If steep operations of one kind alone stand above it, and below what is still sound, that is
    where. A weight that is spoilt next to a bias that is sound got a sound error: then its input was not finite.
    """
    nodes = operations_before(spoilt.root)
    used = {
        p: number_of(node)
        for node in nodes
        for before, _ in node.next_functions
        if (p := parameter_of(before)) is not None
    }
    bad = {p: found for p, (found, _) in spoilt.gradients.items() if found}
    nearest = max(bad, key=lambda p: used.get(p, -1))
    module, parameter = names.owner_of(nearest)
    gradient = f"the gradient of {parameter}" if parameter else None
    if _error_was_sound(module, spoilt, names):
        first, _ = names.owner_of(min(used, key=lambda p: used[p]))
        cause = "data" if module == first else "unknown"
        return NonFinite(spoilt.step, "backward", cause, module, gradient, None, bad[nearest])
    low = used.get(nearest, -1)
    high = min((used[p] for p in spoilt.gradients if p not in bad and used.get(p, -1) > low), default=math.inf)
    steep = {operation(node) for node in nodes if low <= number_of(node) < high and _is_steep(node)}
    told = steep.pop() if len(steep) == 1 else gradient
    return NonFinite(spoilt.step, "backward", "overflow", module, told, None, bad[nearest])


def _is_steep(node: Node) -> bool:
    squared = node.name() == "PowBackward0" and getattr(node, "_saved_exponent", 0) >= 1  # a number, never freed
    return name_of(node) in STEEP and not squared


def _error_was_sound(module: str | None, spoilt: Spoilt, names: Names) -> bool:
    """Whether the errors that came to a module were: their sums, the gradients of its biases, are finite and small."""
    biases = [p for p in spoilt.gradients if p.dim() == 1 and module is not None and names.owner_of(p)[0] == module]
    found = [spoilt.gradients[bias] for bias in biases]
    return bool(found) and all(not bad and size < torch.finfo(torch.float32).max ** 0.25 for bad, size in found)


def _largest(gradient: Tensor) -> float:
    return float(gradient.abs().max()) if gradient.numel() else 0.0
