"""Steps that would break a run are not taken, and those that did are taken back.

The limit of 1e10 is that of the code that Pascanu, Mikolov & Bengio released with arXiv 1211.5063: beyond it they give
up a gradient as they do one that is not a number.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer

from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.gradients import before_use, norm, parameters
from longreach.remedies.remedy import Remedy, remember

Opt = TypeVar("Opt", bound=Optimizer)

EVERY = 100  # steps between two copies: copying costs a hundredth of a pass over the weights, a break 100 steps at most
LARGEST = 1e10
PATIENCE = 3  # finite gradients beyond it in a row; a loss that always has them is only badly scaled


@dataclass(frozen=True)
class Guarded:
    """What guard has done to an optimizer so far.

    steps        that the script has taken
    skipped      of them, for a gradient that was not finite, or longer than 1e10
    rolled_back  of them, for weights, or a state of the optimizer, that were not finite after the step
    """

    steps: int
    skipped: int
    rolled_back: int


def guard(optimizer: Opt, *, every: int = EVERY) -> Opt:
    """Skip steps whose gradient is not finite; after one that breaks the weights go back to where they were sound.

    Skips      a step with NaN or Inf in a gradient, or with ‖g‖ > 1e10 (the fourth of these in a row is taken): weights
               and the state of the optimizer keep their bits; the gradients are as the script made them afterwards
    Goes back  to weights and state as of the latest copy, if either is not finite after a step
    Changes    nothing in a run that stays finite
    Twice      is the same as once; with another number of steps, the first one holds
    Undo       the hooks leave and the copy goes; the weights stay as they are
    Price      a pass over gradients, weights and state at every step, and a wait for the device; a copy of weights and
               state in memory, made anew every `every` steps
    Is not     for what no optimizer holds: running averages of a batch norm, or a state that a script carries on, stay
               broken once they are; nor against weights that grow without an end and are finite still: clip_norm is
    Report     longreach.remedies.guarded(optimizer)
    Raises     ArgumentError unless every >= 1; NotApplicable where the weights are not finite already
    """
    if not isinstance(every, int) or every < 1:
        raise ArgumentError(f"every: expected a number of steps, 1 or more, got {every!r}")
    if optimizer not in _guards:
        if not _is_sound(optimizer):
            raise NotApplicable(
                "guard: expected weights that are finite, got some that are not; load a sound checkpoint first"
            )
        remember(optimizer, "guard", _release, stand_guard(optimizer, every=every))
    return optimizer


def stand_guard(optimizer: Optimizer, *, every: int = EVERY) -> Callable[[], None]:
    """As `guard`, whatever the weights are, unless it is on guard already; gives what ends it."""
    if optimizer in _guards:
        return lambda: None
    own = _guards[optimizer] = _Guard(optimizer, every)
    hooks = before_use(optimizer, own.before_use), optimizer.register_step_post_hook(own.after_step)
    guards = _guards  # found at the end of a process, too

    def leave() -> None:
        for hook in hooks:
            hook.remove()
        for optimizer in [optimizer for optimizer, present in guards.items() if present is own]:
            del guards[optimizer]

    return leave


def guarded(optimizer: Optimizer) -> Guarded:
    """What guard has done to this optimizer so far.

    Raises  ArgumentError if it is not applied
    """
    if optimizer not in _guards:
        raise ArgumentError("guarded: expected an optimizer with guard, got one without; apply it first")
    own = _guards[optimizer]
    return Guarded(own.steps, own.skipped, own.rolled_back)


class _Guard:
    def __init__(self, optimizer: Optimizer, every: int):
        self.steps = self.skipped = self.rolled_back = 0
        self._every, self._long_ones = every, 0
        self._held: list[tuple[Tensor, Tensor]] = []
        self._good = _Copy(optimizer)

    def before_use(self, optimizer: Optimizer) -> None:
        """Hold gradients back that would break something: what has none, an optimizer leaves alone."""
        length = norm(optimizer).item()
        self._long_ones = self._long_ones + 1 if LARGEST < length < math.inf else 0
        if not math.isfinite(length) or 0 < self._long_ones <= PATIENCE:
            self._held += [(own, own.grad) for own in parameters(optimizer) if own.grad is not None]
            for own, _ in self._held:
                own.grad = None

    def after_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Look at what the step has made."""
        self.steps += 1
        self.skipped += bool(self._held)
        for own, grad in self._held:
            own.grad = grad
        self._held = []
        if not _is_sound(optimizer):
            self._good.bring_back(optimizer)
            self.rolled_back += 1
        elif self.steps % self._every == 0:
            self._good = _Copy(optimizer)


class _Copy:
    """Weights and state of an optimizer as they were."""

    def __init__(self, optimizer: Optimizer):
        self._weights = [own.detach().clone() for own in parameters(optimizer)]
        self._state = [copy.deepcopy(optimizer.state.get(own)) for own in parameters(optimizer)]

    @torch.no_grad()
    def bring_back(self, optimizer: Optimizer) -> None:
        """A group that was added since then stays as it is."""
        for own, weight, state in zip(parameters(optimizer), self._weights, self._state, strict=False):
            own.copy_(weight)
            optimizer.state.pop(own, None)
            if state is not None:
                optimizer.state[own] = copy.deepcopy(state)


@torch.no_grad()
def _is_sound(optimizer: Optimizer) -> bool:
    """Whether all weights and all of the optimizer's state are finite."""
    tensors = list(parameters(optimizer))
    for state in optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, Tensor) and value.is_floating_point()]
    # a sum is a fast look; it may overflow where no entry has
    return all(tensor.sum().isfinite() or tensor.isfinite().all() for tensor in tensors)


_guards: WeakKeyDictionary[Optimizer, _Guard] = WeakKeyDictionary()


def _release(_: Optimizer, leave: Callable[[], None]) -> None:
    leave()


REMEDY = Remedy(
    "guard",
    guard,
    "optimizer",
    preserves=True,
    answers=("non-finite",),
    cost="a pass over gradients, weights and the optimizer's state, and a copy of the latter two in memory",
    source="Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, released code",
)
