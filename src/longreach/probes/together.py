"""What no rank can measure alone: layers whose weights are spread over all ranks (FSDP).

Whoever asks the others for their part of a weight has to be sure that they answer: a call that one rank makes and
another does not ends in a deadlock, or worse, in numbers that meet the wrong ones. So all ranks look at the same
training steps, and agree, before each joint measurement, that all of them are there.
"""

from datetime import timedelta

import torch.distributed as dist
from torch import Tensor, nn

# How long a rank waits for the others before it gives joint measurements up for all of them; seconds. Ranks leave a
# backward pass together, so that this is long.
PATIENCE = 20.0


class Together:
    """Agreement between the ranks of one training, by the store that they met through; no collective is called.

    Whichever rank first knows that all are there, or has lost patience, decides, for all and for ever: what it decides
    is set once, atomically. A rank that stopped watching does not turn up, and joint measurements end there.
    """

    def __init__(self) -> None:
        self._over = False

    def agree(self, step: int) -> bool:
        """Whether all ranks measure together at this step. Cost: a few messages, and the wait for the slowest rank."""
        if self._over or not (dist.is_available() and dist.is_initialized()):
            return False
        store, world = dist.distributed_c10d._get_default_store(), dist.get_world_size()
        here, decided = f"longreach/{step}/here", f"longreach/{step}/all"
        if store.add(here, 1) == world:
            store.compare_set(decided, "", "yes")
        try:
            store.wait([decided], timedelta(seconds=PATIENCE))
        except (RuntimeError, ValueError):
            store.compare_set(decided, "", "no")
        self._over = store.get(decided) != b"yes"
        return not self._over


def is_spread(model: nn.Module) -> bool:
    """Whether weights of a model are spread over the ranks. Cost: a walk over its parameters."""
    return any(is_part(parameter) for parameter in model.parameters())


def can_be_gathered(module: nn.Module) -> bool:
    """Whether a module's own weights are still its own: a flat one of several modules (FSDP 1) is not."""
    return not any(type(parameter).__name__ == "FlatParameter" for parameter in module.parameters())


def with_whole_weights(module: nn.Module) -> nn.Module:
    """The same module with weights of its own, put together from those of all ranks: all of them have to ask.

    Cost: one exchange a weight, and the memory of the module.
    """
    other = object.__new__(type(module))  # the classes that FSDP makes refuse to be copied
    own = {
        name: None if part is None else nn.Parameter(whole(part.detach())) for name, part in module._parameters.items()
    }
    other.__dict__ = {**module.__dict__, "_parameters": own}
    return other


def whole(weight: Tensor) -> Tensor:
    """A weight with the parts of all ranks: all of them have to ask. A weight that is not spread is itself."""
    return weight.full_tensor() if is_part(weight) else weight  # pyright: ignore[reportAttributeAccessIssue]


def own_part(tensor: Tensor) -> Tensor:
    """Of a weight or gradient that is spread over the ranks what this one holds; nobody else is asked."""
    return tensor.to_local() if is_part(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def is_part(tensor: Tensor) -> bool:
    """Whether this rank holds only a part of a tensor: to read its numbers would ask all others."""
    # by name: importing these classes takes longer than asking
    return type(tensor) is not Tensor and type(tensor.data).__name__ in ("DTensor", "FlatParameter")
