"""The scans of longreach.kernels as a post-mortem meets them: nodes of autograd's graph that keep rows of all steps."""

import sys
from bisect import bisect_right
from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import Node

NAMES = {"gru": "GRU", "lstm": "LSTM"}


def is_scan(node: Node) -> bool:
    """Whether a node is one of our scans: then the module that defines them has been imported."""
    family = sys.modules.get("longreach.kernels.family")
    return family is not None and isinstance(getattr(node, "family", None), family.Family)


def operation(node: Node) -> str:
    """The scan's name, as people write it: LSTM, RNN tanh."""
    name = node.family.forward._opname  # type: ignore[attr-defined]
    return NAMES.get(name) or f"RNN {node.settings[0]}"  # type: ignore[attr-defined]


def first_step(node: Node, kept: Sequence[Tensor | None]) -> int | None:
    """The first time step, in the direction of the scan, with a number that is not finite in x, or else in h.

    kept  what the node has kept: its tensors, x first and h0 sixth, then batch_sizes, resets and h
    """
    count = len(node.family.tensors)  # type: ignore[attr-defined]
    x, h0, batch_sizes, h = (kept[place] for place in (0, 5, count, count + 2))
    for flow in (x, h):
        bad = [] if flow is None else (~flow.detach().isfinite()).any(dim=1).nonzero().flatten().tolist()
        if bad and h0 is not None:
            row = bad[-1] if node.reverse else bad[0]  # type: ignore[attr-defined]
            if batch_sizes is None:
                return row // h0.shape[0]
            return bisect_right(batch_sizes.cumsum(0).tolist(), row)
    return None
