"""Post-mortem on the graph of a loss that is not finite: which operation made the first NaN or infinity.

Autograd saves the tensors that a backward pass will need, so most values of the forward pass are still there. The walk
starts at the loss and goes back only through values that are not known to be finite; where it ends, the trouble began.
(A mask of -inf that a softmax has made harmless is never reached.)
"""

import ctypes
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from longreach.probes import scans
from longreach.probes.names import Names
from longreach.record import NonFinite

# Nodes looked at: some thousand unrolled steps, a few seconds.
MOST_NODES = 100_000
# A graph whose nodes Python has an object for is taken down one call inside the other: at its end, in the hands of the
# script, a deep one would exhaust the stack. The nodes of larger graphs than this live until the process ends.
SAFE_NODES = 2000
# So many uses of one weight, evenly spaced, are a walk through time.
FEWEST_STEPS = 4
# Operations that save what they read but not what they gave: it is computed again.
OF_ONE = ("Log", "Log2", "Log10", "Log1P", "Acos", "Asin", "Atanh", "Acosh", "Cosh", "Sinh")
OF_TWO = {"Div": "other", "Mul": "other", "Mm": "mat2", "Bmm": "mat2", "Addmm": "mat2", "Pow": "exponent"}
# Operations that give finite numbers, or none but infinities, for finite numbers: a NaN in their result was given.
LINEAR = ("Add", "Sub", "Rsub", "Neg", "Sum", "Mean", "Where", "Cat", "Stack", "Index", "MaskedFill", "ConstantPadNd")
# Operations that hand on what they were given.
HANDING_ON = (
    *("View", "UnsafeView", "T", "Transpose", "Permute", "Expand", "Squeeze", "Unsqueeze", "Reshape", "Clone"),
    *("Select", "Slice", "Unbind", "Split", "UnsafeSplit", "SplitWithSizes", "Alias", "ToCopy", "Relu", "LeakyRelu"),
)
WORDS = {
    "Addmm": "matmul",
    "Mm": "matmul",
    "Bmm": "matmul",
    "Div": "division",
    "Reciprocal": "division",
    "Mul": "multiplication",
    "Add": "addition",
    "Sub": "subtraction",
    "LinalgVectorNorm": "norm",
}
RNN_MODES = ("RNN relu", "RNN tanh", "LSTM", "GRU")


def autopsy(root: Tensor, names: Names, step: int) -> NonFinite:
    """The first non-finite number in the graph of `root`, which is not finite itself.

    cause  "weights" or "data" where one that the graph was given was not finite, "overflow" where an operation made
           it out of finite ones, "unknown" where the graph does not tell
    Cost   one look at every saved tensor; matrix products and the like are done once more
    """
    graph = Graph(root)
    weights = next(((node, p) for node in graph.walked for p in graph.parameters_of(node) if worst(p)), None)
    if weights:
        module, parameter = names.owner_of(weights[1])
        return NonFinite(step, "forward", "weights", module, parameter, None, worst(weights[1]))
    node = graph.origin()
    if node is None:
        return NonFinite(step, "forward", "unknown", None, None, None, worst(root))
    cause = graph.cause(node)
    owner = graph.owner(node, directly=cause == "data")
    module, _ = names.owner_of(owner)
    time = next((time for after in graph.spoilt_after(node) if (time := graph.time(after, names)) is not None), None)
    return NonFinite(step, "forward", cause, module, operation(node), time, graph.value(node) or worst(root))


class Graph:
    """What the saved tensors of a graph tell about its values.

    walked   operations whose result is not known to be finite and went into the loss, in the order of the forward
    results  what the results of each operation hold, by place, where known: "nan", "inf", or "" for finite numbers
    given    operations with what they were given from outside of the graph that is not finite
    """

    def __init__(self, root: Tensor):
        self.results: dict[Node, dict[int, str]] = {}
        self.given: dict[Node, Tensor] = {}
        self._nodes = operations_before(root.grad_fn)
        for node in self._nodes:
            self._read(node)
        self.walked = self._walk(root)
        self._by_number = {number_of(node): node for node in self._nodes}
        self._rhythms = _rhythms(self._nodes)

    def _read(self, node: Node) -> None:
        for tensor in saved(node).values():
            found = worst(tensor)
            if tensor.grad_fn is not None:
                self.results.setdefault(tensor.grad_fn, {})[tensor.output_nr] = found
            elif found and not tensor.requires_grad:
                self.given.setdefault(node, tensor.detach())
        if node not in self.results and (made := _made_again(node)) is not None:
            self.results[node] = {0: worst(made)}

    def _walk(self, root: Tensor) -> list[Node]:
        frontier = [root.grad_fn] if root.grad_fn is not None else []
        walked: set[Node] = set()
        while frontier and len(walked) < MOST_NODES:
            node = frontier.pop()
            if node not in walked:
                walked.add(node)
                frontier += [above for above in self._suspects(node) if above not in walked]
        return sorted(walked, key=number_of)

    def _suspects(self, node: Node) -> list[Node]:
        """Operations before a node whose results are not known to be finite."""
        return [
            above
            for above, place in node.next_functions
            if above is not None and parameter_of(above) is None and self.results.get(above, {}).get(place) != ""
        ]

    def value(self, node: Node) -> str:
        """What a node was given or has made that is not finite; "" if it shows nothing of it."""
        made = (found for found in self.results.get(node, {}).values() if found)
        return worst(self.given[node]) if node in self.given else next(made, "")

    def origin(self) -> Node | None:
        """The first operation that shows a non-finite number; where none does, the only one that can have made it."""
        shown = next((node for node in self.walked if self.value(node)), None)
        if shown is None:
            able = [node for node in self.walked if name_of(node) not in HANDING_ON + LINEAR]
            return able[0] if len(able) == 1 else None
        while shown not in self.given and name_of(shown) in HANDING_ON and len(before := self._suspects(shown)) == 1:
            shown = before[0]
        return shown

    def cause(self, node: Node) -> str:
        """Whether the operation in which the trouble began was given it or has made it."""
        if node in self.given:
            return "data"
        if name_of(node) not in LINEAR or self.value(node) != "nan":
            return "overflow"
        # sums of finite numbers are never NaN: what came from outside was, if all that came from inside is known
        outside = any(before is None for before, _ in node.next_functions)
        return "data" if outside and not self._suspects(node) else "unknown"

    def spoilt_after(self, first: Node) -> Iterator[Node]:
        """An operation and those after it that show a non-finite number, in the order of the forward."""
        return (node for node in self.walked[self.walked.index(first) :] if node is first or self.value(node))

    def parameters_of(self, node: Node) -> list[Tensor]:
        """Leaves of the graph that a node reads itself, parameters before other tensors that want a gradient."""
        leaves = [leaf for before, _ in node.next_functions if (leaf := parameter_of(before)) is not None]
        return sorted(leaves, key=lambda leaf: not isinstance(leaf, nn.Parameter))

    def owner(self, node: Node, *, directly: bool = False) -> Tensor | None:
        """The nearest parameter on the way back from a node: it tells whose operation this is."""
        frontier, seen = [node], {node}
        while frontier:
            current = frontier.pop(0)
            if parameters := self.parameters_of(current):
                return parameters[0]
            before = [above for above, _ in current.next_functions if above is not None and above not in seen]
            if directly:
                before = [above for above in before if name_of(above) == "T"]
            seen |= set(before)
            frontier += before
        return None

    def time(self, node: Node, names: Names) -> int | None:
        """The time step of a node: along the time axis of a fused layer, or by its place in the rhythm of a loop."""
        if scans.is_scan(node):
            kept = unpacked(node, "saved_tensors")
            return scans.first_step(node, kept) if kept else None  # type: ignore[arg-type]
        if _is_fused(node):
            return self._time_in_fused(node)
        number, name = number_of(node), name_of(node)
        for rhythm in self._rhythms:
            if not rhythm.first - rhythm.stride < number < rhythm.first + rhythm.stride * (rhythm.count + 1):
                continue
            before, after = (self._alike(number, name, turn * rhythm.stride) for turn in (-1, 1))
            unlike = rhythm.count + rhythm.skipped - (before + 1 + after)
            if 0 <= unlike <= rhythm.skipped:
                _, parameter = names.owner_of(self.owner(node))
                return after if parameter and parameter.endswith("_reverse") else before + unlike
        return None

    def _alike(self, number: int, name: str, stride: int) -> int:
        """How many operations of one name follow each other at equal distance."""
        count = 0
        while (other := self._by_number.get(number + (count + 1) * stride)) is not None and name_of(other) == name:
            count += 1
        return count

    def _time_in_fused(self, node: Node) -> int | None:
        flows = [tensor for key, tensor in saved(node).items() if key in ("input", "result", "result0")]
        flow = next((tensor for tensor in flows if worst(tensor)), None)
        if flow is None or flow.dim() < 2:
            return None
        steps = (~flow.detach().isfinite()).flatten(1).any(dim=1).nonzero().flatten()
        if flow.dim() == 3:
            return int(steps[-1] if getattr(node, "_saved_reverse", False) else steps[0])
        # packed: the rows of all sequences at step 0, then those at step 1, ...
        sizes = getattr(node, "_saved_batch_sizes", ())
        return bisect_left(torch.tensor(sizes).cumsum(0).tolist(), int(steps[0]) + 1) if len(sizes) else None


def saved(node: Node) -> dict[str, Tensor]:
    """The floating-point tensors that a node keeps for its backward, by name, as far as they can be had.

    Not those that were freed or changed in place, nor those packed by hooks: unpacking would compute a checkpointed
    block once more.
    """
    name = node.name()
    if name not in _SAVED:
        own = [attribute for attribute in dir(node) if attribute.startswith("_saved_")]
        # those of a torch.autograd.Function
        _SAVED[name] = own + (["saved_tensors"] if hasattr(type(node), "saved_tensors") else [])
    found = {}
    for attribute in _SAVED[name]:
        for place, tensor in enumerate(unpacked(node, attribute)):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                found[attribute.removeprefix("_saved_") + (str(place) if place else "")] = tensor
    return found


_SAVED: dict[str, list[str]] = {}


def unpacked(node: Node, attribute: str) -> Sequence[object]:
    """What a node keeps under a name; nothing where it was freed, changed in place, or packed by hooks."""
    raw = getattr(node, f"_raw{attribute}" if attribute.startswith("_") else f"_raw_{attribute}", None)
    try:
        if any(part is not None and part.unpack_hook for part in (raw if isinstance(raw, (tuple, list)) else [raw])):
            return ()
        value = getattr(node, attribute)
    except RuntimeError:  # freed, or changed in place
        return ()
    return value if isinstance(value, (tuple, list)) else (value,)


def parameter_of(node: Node | None) -> Tensor | None:
    """The leaf whose gradient a node accumulates; None for an operation."""
    return getattr(node, "variable", None)


def worst(tensor: Tensor | None) -> str:
    """ "nan" if a tensor holds one, else "inf" if it holds one, else ""."""
    if tensor is None or bool(tensor.detach().isfinite().all()):
        return ""
    return "nan" if bool(tensor.detach().isnan().any()) else "inf"


def operation(node: Node) -> str:
    """The name of an operation, as people write it."""
    if scans.is_scan(node):
        return scans.operation(node)
    if _is_fused(node):
        mode = getattr(node, "_saved_mode", None)
        return RNN_MODES[mode] if isinstance(mode, int) else "recurrent layer"
    name = name_of(node)
    return WORDS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def number_of(node: Node) -> int:
    """Operations are numbered in the order in which the forward pass made them."""
    return node._sequence_nr()


def name_of(node: Node) -> str:
    """The name that autograd has for an operation, without what marks its backward."""
    return re.sub(r"Backward\d*$", "", node.name())


def _is_fused(node: Node) -> bool:
    return name_of(node) in ("MkldnnRnnLayer", "CudnnRnn", "MiopenRnn")


def operations_before(root: Node | None) -> list[Node]:
    """The operations before `root`, in the order in which the forward made them."""
    frontier, seen = [root], set()
    while frontier and len(seen) < MOST_NODES:
        node = frontier.pop()
        if node is not None and node not in seen:
            seen.add(node)
            frontier += [before for before, _ in node.next_functions]
    if len(seen) > SAFE_NODES:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(seen))
    return sorted((node for node in seen if parameter_of(node) is None), key=number_of)


def _made_again(node: Node) -> Tensor | None:
    """The result of an operation, computed again from what it has saved; None where that is not enough."""
    name = name_of(node)
    if name not in OF_ONE and name not in OF_TWO:
        return None
    tensors = {key: tensor.detach() for key, tensor in saved(node).items()}
    one = tensors.get("mat1" if name == "Addmm" else "self")
    if name in OF_ONE:
        return None if one is None else getattr(torch, name.lower())(one)
    (other,) = unpacked(node, f"_saved_{OF_TWO[name]}") or (None,)  # a tensor, or the number that was written there
    if name in ("Mm", "Addmm") and other is None:
        other = _turned_parameter(node)
    if name == "Div" and one is None and isinstance(other, Tensor):
        one = torch.ones_like(other)
    if one is None or other is None:
        return None
    with torch.autocast(one.device.type, enabled=False):
        return {"Div": torch.div, "Mul": torch.mul, "Pow": torch.pow}.get(name, torch.matmul)(one, other)


def _turned_parameter(node: Node) -> Tensor | None:
    """The weight that a product reads transposed, and does not save where its input needs no gradient."""
    before = node.next_functions[-1][0]
    if before is None or name_of(before) != "T":
        return None
    parameter = parameter_of(before.next_functions[0][0])
    return None if parameter is None else parameter.detach().t()


@dataclass(frozen=True)
class Rhythm:
    """The uses of one weight in a loop: the number of the first operation, the distance to the next, how many.

    skipped  steps before the first: one that starts from a constant state may take fewer operations than the others
    """

    first: int
    stride: int
    count: int
    skipped: int


def _rhythms(nodes: list[Node]) -> list[Rhythm]:
    """Those of every weight that is used again and again at equal distance."""
    uses: dict[Node, list[int]] = {}
    for node in nodes:
        for before, _ in node.next_functions:
            if before is not None and parameter_of(before) is not None:
                uses.setdefault(before, []).append(number_of(node))
    found = {}
    for numbers in uses.values():
        strides = [after - before for before, after in pairwise(numbers)]
        if len(numbers) >= FEWEST_STEPS and len(set(strides[1:])) == 1:
            skipped = int(strides[0] != strides[1])
            found[Rhythm(numbers[skipped], strides[1], len(numbers) - skipped, skipped)] = None
    return list(found)
