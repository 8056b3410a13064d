"""Operations that a product on a script's live graph may pass without leaving a trace."""

from torch._C._autograd import _top_saved_tensors_default_hooks  # type: ignore[import]
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

# What torch calls the functions that it makes of registered operators; their backward is a formula.
OF_OPERATORS = "GeneratedBackwardFor_"


def repeatable(node: Node) -> bool:
    """Whether the backward of an operation can run once more than the script asked for.

    Not that of a torch.autograd.Function, which is a stranger's code: it may count, write into what it has saved, start
    to communicate (DDP, FSDP) or have given its buffers away (torch.compile). Not where hooks have packed what is
    saved: unpacking may compute a checkpointed block again, and move the statistics of its batch norm.
    """
    if isinstance(node, BackwardCFunction):
        return node.name().startswith(OF_OPERATORS)
    return not any(_packed(getattr(node, name)) for name in _raw(node))


def packing() -> bool:
    """Whether hooks pack what is saved right now: to look at that would unpack it, and perhaps compute it again."""
    return _top_saved_tensors_default_hooks(True) is not None


def _packed(raw: object) -> bool:
    parts = raw if isinstance(raw, (tuple, list)) else (raw,)
    return any(getattr(part, "unpack_hook", None) for part in parts)


def _raw(node: Node) -> list[str]:
    """The names under which a node keeps tensors, packed as they are."""
    name = node.name()
    if name not in _RAW:
        _RAW[name] = [attribute for attribute in dir(node) if attribute.startswith("_raw_saved_")]
    return _RAW[name]


_RAW: dict[str, list[str]] = {}
