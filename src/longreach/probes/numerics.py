"""The first NaN or infinity of a run, without a hook on any module.

Forward: a loss that is not finite still has its whole graph, which `autopsy` reads. Backward: the gradients after a
backward pass whose loss was finite; of its graph, only which operation fed which is still there.
"""

import math
import time
import weakref
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from longreach.probes.autopsy import autopsy, name_of, number_of, operation, operations_before, parameter_of, worst
from longreach.probes.names import Names
from longreach.record import NonFinite
from longreach.store import Store

# Operations whose slope is infinite somewhere in or at the edge of their domain.
STEEP = ("Sqrt", "Rsqrt", "LinalgVectorNorm", "Norm", "Div", "Reciprocal", "Log", "Pow", "Acos", "Asin", "Std", "Cdist")


class Sentinel:
    """Looks at every loss, and at the gradients where time allows, until the first number that is not finite.

    Gradients count once an update has been made with them: scalers of mixed precision, and careful scripts, throw
    the bad ones away.

    cost  seconds that the latest look at the gradients took
    """

    def __init__(self, names: Names):
        self.cost = 1e-3
        self._names, self._found = names, False
        self._optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._root: Node | None = None  # of the latest backward pass, until its gradients were looked at
        self._pending: NonFinite | None = None

    def look_at_loss(self, root: Tensor, step: int, store: Store, *, may_wait: bool) -> None:
        """Before the backward pass. On a device, a look waits for it: only where that is allowed."""
        if self._found:
            return
        self._root = root.grad_fn
        if (may_wait or root.device.type == "cpu") and not bool(root.detach().isfinite().all()):
            self._keep(_post_mortem(root, self._names, step), store)

    def look_at_gradients(self, step: int) -> float:
        """After a backward pass, and before anything is done to its gradients: clipping a NaN spreads it to all.

        Returns the seconds that it took.
        """
        root, self._root = self._root, None
        if self._found or root is None:
            return 0.0
        began = time.perf_counter()
        parameters = self._parameters()
        if _all_finite(parameters):
            self._pending = None
        elif self._pending is None:
            self._pending = in_gradients(root, parameters, self._names, step)
        self.cost = time.perf_counter() - began
        return self.cost

    def before_step(self, optimizer: Optimizer, step: int) -> float:
        """An optimizer met for the first time may hold parameters that belong to no module that has been seen."""
        seconds = 0.0
        if optimizer not in self._optimizers:
            self._optimizers.add(optimizer)
            seconds = self.look_at_gradients(step)
        self._root = None
        return seconds

    def after_step(self, store: Store) -> None:
        """An update was made with the gradients as they are now."""
        if self._pending is not None and not _all_finite(self._parameters()):
            self._keep(self._pending, store)

    def at_a_crash(self, store: Store) -> None:
        """The script has died: gradients that were not finite may be why (`clip_grad_norm_` can be told to raise)."""
        if self._pending is not None:
            self._keep(self._pending, store)

    def _keep(self, event: NonFinite, store: Store) -> None:
        self._found, self._root, self._pending = True, None, None
        store.set_nonfinite(event)

    def _parameters(self) -> list[Tensor]:
        """Parameters with a gradient: those of the optimizers that have stepped, before that those of all modules."""
        groups = (group for optimizer in list(self._optimizers) for group in optimizer.param_groups)
        owned = [parameter for group in groups for parameter in group["params"]] or self._names.parameters()
        return [p for p in dict.fromkeys(owned) if p.grad is not None and p.grad.layout == torch.strided]


def _all_finite(parameters: Iterable[Tensor]) -> bool:
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return not grads or bool(get_total_norm(grads, math.inf).isfinite())


def _post_mortem(root: Tensor, names: Names, step: int) -> NonFinite:
    try:
        return autopsy(root, names, step)
    except Exception:
        # people's own autograd functions can do anything when their saved tensors are asked for; the event stays true
        return NonFinite(step, "forward", "unknown", None, None, None, worst(root))


def in_gradients(root: Node, parameters: list[Tensor], names: Names, step: int) -> NonFinite:
    """The gradient that stopped being finite first, seen from the loss; the loss itself was finite.

    Errors travel from the loss down and spoil all they meet: of the parameters spoilt, the one used last is nearest
    to where it began. If steep operations of one kind alone stand above it, and below what is still sound, that is
    where. A weight whose bias is sound got a sound error: then its input was not finite.
    """
    nodes = operations_before(root)
    used: dict[Tensor, int] = {}
    for node in nodes:
        for before, _ in node.next_functions:
            parameter = parameter_of(before)
            if parameter is not None:
                used[parameter] = number_of(node)
    spoilt = {p: worst(p.grad) for p in parameters}
    bad = [p for p in parameters if spoilt[p]]
    nearest = max(bad, key=lambda p: used.get(p, -1))
    module, parameter = names.owner_of(nearest)
    low = used.get(nearest, -1)
    high = min((used[p] for p in parameters if not spoilt[p] and used.get(p, -1) > low), default=math.inf)
    steep = {operation(node) for node in nodes if low <= number_of(node) < high and name_of(node) in STEEP}
    gradient = f"the gradient of {parameter}" if parameter else None
    told = steep.pop() if len(steep) == 1 else gradient
    if module is not None and _error_was_sound(module, parameters, names):
        first, _ = names.owner_of(min(used, key=lambda p: used[p]))
        return NonFinite(
            step, "backward", "data" if module == first else "unknown", module, gradient, None, spoilt[nearest]
        )
    return NonFinite(step, "backward", "overflow", module, told, None, spoilt[nearest])


def _error_was_sound(module: str, parameters: list[Tensor], names: Names) -> bool:
    """Whether the errors that came to a module were: their sums, the gradients of its biases, are finite and small."""
    biases = [p for p in parameters if p.dim() == 1 and names.owner_of(p)[0] == module]
    grads = [bias.grad for bias in biases if bias.grad is not None]
    return bool(grads) and all(float(g.abs().max()) < torch.finfo(g.dtype).max ** 0.25 for g in grads)
