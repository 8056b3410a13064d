"""Optimizer steps that are given a closure: their gradients come about within the step."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


def before_use(act: Callable[[Optimizer], None]) -> Callable[[Optimizer, tuple[Any, ...], dict[str, Any]], Any]:
    """A hook for `register_step_pre_hook` that calls `act(optimizer)` whenever it is about to use gradients.

    That is before a step; of a step with a closure, after every call of the closure, which makes the gradients.
    """

    def before_step(optimizer: Optimizer, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        itself, *arguments = given
        closure = arguments[0] if arguments else named.get("closure")
        if closure is None:
            act(optimizer)
            return None

        def acting() -> Any:
            loss = closure()
            act(optimizer)
            return loss

        return (itself, acting), {key: value for key, value in named.items() if key != "closure"}

    return before_step
