"""What a remedy does once, when the script's own data first come by: at the first forward pass of training."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from longreach.remedies.remedy import remember

Act = Callable[[nn.Module, Tensor | PackedSequence], None]


class FirstForward:
    """A pre-hook that acts on a module and its input once, in training, and is gone before it acts.

    It is found among the module's hooks by itself, so that a copy of the module has its own to fire.
    """

    def __init__(self, name: str, act: Act):
        self.name, self.act = name, act

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """As torch calls a pre-hook."""
        if not module.training or not torch.is_grad_enabled():
            return
        take_off(module, self)
        self.act(module, arguments[0] if arguments else keywords["input"])


def at_first_forward(module: nn.Module, name: str, act: Act) -> None:
    """Before the module's first forward pass in training with gradients, call `act(module, its input)`; once.

    One that waits under the same name is replaced; `undo` calls it off.
    """
    for waiting in list(module._forward_pre_hooks.values()):
        if isinstance(waiting, FirstForward) and waiting.name == name:
            take_off(module, waiting)
    once = FirstForward(name, act)
    module.register_forward_pre_hook(once, with_kwargs=True)
    remember(module, name, take_off, once)


def take_off(module: nn.Module, hook: Callable[..., Any]) -> None:
    """No longer one of the module's pre-hooks, if it still was."""
    for key in [key for key, own in module._forward_pre_hooks.items() if own is hook]:
        del module._forward_pre_hooks[key]
        module._forward_pre_hooks_with_kwargs.pop(key, None)


def steps_of(module: Any, input: Tensor | PackedSequence) -> int:
    """How many steps a layer is given to read: of the longest sequence."""
    if isinstance(input, PackedSequence):
        return len(input.batch_sizes)
    return input.shape[1 if input.dim() == 3 and module.batch_first else 0]
