"""The first NaN or infinity of a run: where, when, and whether it came in with the data or was made by the network.

Nothing is hooked for this. A loss that is not finite still has its whole graph, and the tensors that autograd saved
for the backward tell in which operation the trouble began.
"""

import math
import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.optim import Optimizer

from longreach.probes.names import Names
from longreach.record import NonFinite
from longreach.store import Store

# Nodes of a graph looked at in a post-mortem: enough for some thousand unrolled steps, done in seconds.
MOST_NODES = 200_000
# Saved tensors that an operation made itself; all others it was given.
MADE = ("result", "output", "results")


class Sentinel:
    """Looks at every loss, and at the gradients where time allows, until the first number that is not finite.

    cost  seconds that the latest look at the gradients took
    """

    def __init__(self, names: Names):
        self.cost = 1e-3
        self._names, self._found = names, False

    def look_at_loss(self, root: Tensor, step: int, store: Store) -> None:
        """Post-mortem on the live graph if the loss is not finite. On a device, the loss is looked at when written."""
        if not self._found and root.device.type == "cpu" and not bool(root.detach().isfinite().all()):
            self._found = True
            store.set_nonfinite(autopsy(root, self._names, step))

    def look_at_gradients(self, optimizer: Optimizer, step: int, store: Store) -> None:
        """The first parameter, seen from the loss, whose gradient is not finite."""
        if self._found:
            return
        began = time.perf_counter()
        groups = (group["params"] for group in optimizer.param_groups)
        parameters = [parameter for group in groups for parameter in group if parameter.grad is not None]
        grads = [parameter.grad for parameter in parameters if not parameter.grad.is_sparse]
        if grads and not bool(torch.nn.utils.get_total_norm(grads, math.inf).isfinite()):
            self._found = True
            store.set_nonfinite(_in_gradients(parameters, self._names, step))
        self.cost = time.perf_counter() - began


def _in_gradients(parameters: list[Tensor], names: Names, step: int) -> NonFinite:
    # Errors travel from the loss down: of all parameters they have spoilt, the last in order is nearest to the loss.
    spoilt = [p for p in parameters if p.grad is not None and not bool(p.grad.isfinite().all())]
    module, parameter = names.owner_of(spoilt[-1])
    weights = any(not bool(p.isfinite().all()) for p in parameters)
    operation = f"gradient of {parameter}" if parameter else None
    value = _worst([spoilt[-1].grad])
    return NonFinite(step, "backward", "weights" if weights else "overflow", module, operation, None, value)


def autopsy(root: Tensor, names: Names, step: int) -> NonFinite:
    """Where the numbers of a graph first stopped being finite.

    Looks at the tensors saved for the backward, in the order in which the forward made them. An operation that was
    given a non-finite number which no earlier operation made got it from the data; one that made it out of finite
    ones has overflowed.
    """
    nodes = _in_forward_order(root)
    for place, node in enumerate(nodes):
        spoilt = {name: tensor for name, tensor in _saved(node) if not bool(tensor.isfinite().all())}
        if not spoilt:
            continue
        name, tensor = next(iter(spoilt.items()))
        parameters = [p for p in _parameters_of(node) if not bool(p.isfinite().all())]
        module, _ = names.owner_of(_nearest_parameter(node))
        if parameters:
            module, operation = names.owner_of(parameters[0])
            return NonFinite(step, "forward", "weights", module, operation, None, _worst(parameters))
        cause = "overflow" if name.startswith(MADE) or not _is_given(node) else "data"
        return NonFinite(
            step, "forward", cause, module, _operation(node), _time(nodes, place, tensor), _worst([tensor])
        )
    last = nodes[-1] if nodes else None
    return NonFinite(step, "forward", "unknown", None, _operation(last) if last else None, None, _worst([root]))


def _in_forward_order(root: Tensor) -> list[Node]:
    frontier, seen = [root.grad_fn], set()
    while frontier and len(seen) < MOST_NODES:
        node = frontier.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        frontier += [parent for parent, _ in node.next_functions]
    made = [node for node in seen if _parameter(node) is None]
    return sorted(made, key=lambda node: node._sequence_nr())


def _saved(node: Node) -> Iterator[tuple[str, Tensor]]:
    """The floating-point tensors that a node keeps for its backward, with their names."""
    for attribute in dir(node):
        if not attribute.startswith("_saved_"):
            continue
        value = getattr(node, attribute)
        for tensor in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                yield attribute.removeprefix("_saved_"), tensor.detach()


def _parameter(node: Node | None) -> Tensor | None:
    """The parameter whose gradient a node accumulates; None for an operation."""
    return getattr(node, "variable", None)


def _parameters_of(node: Node) -> Iterator[Tensor]:
    """Parameters that a node reads itself, also through a transposition."""
    for parent, _ in node.next_functions:
        if parent is None:
            continue
        turned = parent.name() in ("TBackward0", "TransposeBackward0", "UnsqueezeBackward0")
        for reader in [above for above, _ in parent.next_functions] if turned else [parent]:
            parameter = _parameter(reader)
            if parameter is not None:
                yield parameter


def _is_given(node: Node) -> bool:
    """Whether what a node works on comes from outside of the graph: no operation before it but on parameters."""
    shaping = (
        "View",
        "Reshape",
        "Transpose",
        "T",
        "Unsqueeze",
        "Squeeze",
        "Select",
        "Unbind",
        "Slice",
        "Expand",
        "Permute",
    )
    frontier = [parent for parent, _ in node.next_functions]
    while frontier:
        parent = frontier.pop()
        if parent is None or _parameter(parent) is not None:
            continue
        if not parent.name().removesuffix("0").removesuffix("Backward").startswith(shaping):
            return False
        frontier += [above for above, _ in parent.next_functions]
    return True


def _nearest_parameter(node: Node) -> Tensor | None:
    """The first parameter met on the way up from a node: it tells whose operation this is."""
    frontier, seen = [node], set()
    while frontier:
        current = frontier.pop(0)
        parameter = _parameter(current)
        if parameter is not None:
            return parameter
        if current in seen:
            continue
        seen.add(current)
        frontier += [parent for parent, _ in current.next_functions if parent is not None]
    return None


def _time(nodes: list[Node], place: int, tensor: Tensor) -> int | None:
    """The time step: along the time axis of a fused layer, or by counting an unrolled loop's operations of one kind."""
    node = nodes[place]
    if "RnnLayer" in node.name() or "Rnn" in node.name():
        spoilt = ~tensor.isfinite().flatten(1).all(dim=1)
        return int(spoilt.nonzero()[0, 0])
    alike = [other for other in nodes if other.name() == node.name() and _shapes(other) == _shapes(node)]
    return alike.index(node) if len(alike) >= 4 else None


def _shapes(node: Node) -> list[torch.Size]:
    return [tensor.shape for _, tensor in _saved(node)]


def _operation(node: Node) -> str:
    return node.name().removesuffix("0").removesuffix("Backward")


def _worst(tensors: Iterable[Tensor | None]) -> str:
    return "nan" if any(bool(t.isnan().any()) for t in tensors if t is not None) else "inf"
