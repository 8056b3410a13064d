"""The loss of the best constant answer, from the targets that a loss keeps for its backward pass."""

import math

import torch
from torch import Tensor

from longreach.probes.autopsy import name_of, unpacked
from longreach.probes.probe import Look, Probe
from longreach.quantities.chance import ChanceSample

MEAN = 1  # torch's number for reduction="mean"


class Chance(Probe):
    """Cross entropy, binary cross entropy, squared error: the loss itself, not a sum with other terms.

    Cost  one look at the targets of a batch
    """

    def before_backward(self, look: Look, root: Tensor, gradient: Tensor | None) -> None:
        """The graph is whole."""
        if gradient is None and (chance := chance_level(root)) is not None:
            look.store.add(ChanceSample("", look.step, chance / look.scale))


def chance_level(loss: Tensor) -> float | None:
    """The loss of the best constant answer to the targets of `loss`; None where the graph does not tell.

    cross entropy         the entropy of the classes, at most ln C, after Miller & Madow's correction
    binary cross entropy  the mean entropy of the outputs
    squared error         the mean variance of the outputs
    and the same factor where a script divides one of these by a number, or a loss scaler multiplies it
    """
    node, factor = _without_factors(loss.grad_fn)
    if node is None or getattr(node, "_saved_reduction", None) != MEAN or _first(node, "weight") is not None:
        return None
    target, given = _first(node, "target"), _first(node, "self")
    if target is None or given is None or not target.numel():
        return None
    name = name_of(node)
    if name.startswith("NllLoss"):
        entropy = _entropy(target[target != _signed(getattr(node, "_saved_ignore_index", -100))], given.shape[1])
        return None if entropy is None else factor * entropy
    outputs = target.detach().double().flatten(0, -2) if target.dim() > 1 else target.detach().double()[:, None]
    if len(outputs) < 2:
        return None
    if name == "MseLoss":
        return factor * outputs.var(dim=0).mean().item()
    if name.startswith("BinaryCrossEntropy") and _first(node, "pos_weight") is None:
        p = outputs.mean(dim=0).clamp(0, 1)
        return -factor * (torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).mean().item()
    return None


def _without_factors(node: torch.autograd.graph.Node | None) -> tuple[torch.autograd.graph.Node | None, float]:
    """The operation whose result was multiplied and divided by single numbers, and the product of those."""
    factor = 1.0
    while node is not None and name_of(node) in ("Mul", "Div"):
        other = next(iter(unpacked(node, "_saved_other")), None)
        number = other.item() if isinstance(other, Tensor) and other.numel() == 1 and not other.requires_grad else other
        if not isinstance(number, (int, float)) or number <= 0:
            return None, 1.0
        factor = factor * number if name_of(node) == "Mul" else factor / number
        node = node.next_functions[0][0]
    return node, factor


def _first(node: torch.autograd.graph.Node, name: str) -> Tensor | None:
    kept = next(iter(unpacked(node, f"_saved_{name}") if hasattr(node, f"_raw_saved_{name}") else ()), None)
    return kept if isinstance(kept, Tensor) else None


def _signed(index: int) -> int:
    """Autograd shows a negative index as if it had no sign."""
    return index - 2**64 if index >= 2**63 else index


def _entropy(classes: Tensor, count: int) -> float | None:
    if not classes.numel():
        return None
    counts = classes.flatten().unique(return_counts=True)[1].double()
    share = counts / counts.sum()
    found = -(share * share.log()).sum().item() + (len(counts) - 1) / (2 * classes.numel())
    return min(found, math.log(count))
