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
            look.store.add(ChanceSample("", look.step, chance))


def chance_level(loss: Tensor) -> float | None:
    """The loss of the best constant answer to the targets of `loss`; None where the graph does not tell.

    cross entropy         the entropy of the classes, at most ln C, after Miller & Madow's correction
    binary cross entropy  the mean entropy of the outputs
    squared error         the mean variance of the outputs
    """
    node = loss.grad_fn
    if node is None or getattr(node, "_saved_reduction", None) != MEAN or _first(node, "weight") is not None:
        return None
    target, given = _first(node, "target"), _first(node, "self")
    if target is None or given is None or not target.numel():
        return None
    name = name_of(node)
    if name.startswith("NllLoss"):
        return _entropy(target[target != _signed(getattr(node, "_saved_ignore_index", -100))], given.shape[1])
    outputs = target.detach().double().flatten(0, -2) if target.dim() > 1 else target.detach().double()[:, None]
    if len(outputs) < 2:
        return None
    if name == "MseLoss":
        return outputs.var(dim=0).mean().item()
    if name.startswith("BinaryCrossEntropy") and _first(node, "pos_weight") is None:
        p = outputs.mean(dim=0).clamp(0, 1)
        return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).mean().item()
    return None


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
