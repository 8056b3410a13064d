"""What a remedy is, and how it is taken back."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

T = TypeVar("T")
Moment = Literal["module", "optimizer", "process"]


@dataclass(frozen=True)
class Remedy:
    """A verb, and what has to be known to choose it.

    name       "identity-init"; the verb is longreach.remedies.identity_init
    verb       (target, *, options) -> target: changes it in place, gives it back; twice is the same as once
    moment     what it is applied to: a "module" (a layer, or a model that holds some) just before the optimizer is
               made; an "optimizer" just after; the "process" (the target is None) before anything is computed
    preserves  whether the model computes the same function right after it as before
    answers    names of the findings that it is for
    cost       a phrase for people: what a training step costs more
    source     the paper, for people
    """

    name: str
    verb: Callable[..., Any]
    moment: Moment
    preserves: bool
    answers: tuple[str, ...]
    cost: str
    source: str


class _Entry(NamedTuple):
    order: int
    name: str
    restore: Callable[[Any, Any], None]
    kept: Any


# Of every module or optimizer that was treated; kept apart from it, so that it can be pickled and copied as ever.
_treated: WeakKeyDictionary[Any, list[_Entry]] = WeakKeyDictionary()
_order = itertools.count()


class _Process:
    """Stands for the target None, which no weak reference can point to."""


_process = _Process()


def remember(target: Any, name: str, restore: Callable[[Any, Any], None], kept: Any) -> None:
    """That `name` was applied to `target` itself; `restore(target, kept)` takes it back. `kept` must not hold it."""
    _treated.setdefault(_process if target is None else target, []).append(_Entry(next(_order), name, restore, kept))


def applied(target: Any) -> tuple[str, ...]:
    """Names of the remedies that were applied to a module and its parts, or to an optimizer; each once."""
    return tuple(dict.fromkeys(entry.name for entry, _ in _entries(target)))


def undo(target: T) -> T:
    """Take back all remedies of a module (and of all within it), an optimizer, or the process (None); gives it back.

    The latest comes first. A start (identity-init and its like) is taken back to the weights from before it, whatever
    was learned since; a structure (orthogonal, lstm) to the layer from before it; a limit (clip-norm, guard) leaves.
    Copies and what was loaded from a file do not know what was done to the original. The docstring of each verb tells
    more.
    """
    for entry, part in reversed(_entries(target)):
        _treated[part].remove(entry)
        entry.restore(None if part is _process else part, entry.kept)
    return target


def _entries(target: Any) -> list[tuple[_Entry, Any]]:
    parts = list(target.modules()) if isinstance(target, nn.Module) else [_process if target is None else target]
    return sorted(((entry, part) for part in parts for entry in _treated.get(part, ())), key=lambda pair: pair[0].order)


def remember_weights(module: nn.Module, name: str) -> None:
    """Before weights of a module are changed: `undo` puts all of its own back."""
    remember(module, name, _put_back, {key: own.detach().clone() for key, own in module.named_parameters()})


@torch.no_grad()
def _put_back(module: nn.Module, weights: dict[str, Tensor]) -> None:
    own = dict(module.named_parameters())
    for name, value in weights.items():
        own[name].copy_(value)


def remember_hooks(target: Any, name: str, *hooks: Any) -> None:
    """After hooks were put on, what torch gave for them: `undo` takes them off."""
    remember(target, name, _take_off, hooks)


def _take_off(_: Any, hooks: tuple[Any, ...]) -> None:
    for hook in hooks:
        hook.remove()


def remember_structure(module: nn.Module, name: str) -> None:
    """Before a module's class, options or parts are changed: `undo` puts them back, what was learned in them stays."""
    held = {key: copy.copy(own) if isinstance(own, (dict, list, set)) else own for key, own in vars(module).items()}
    remember(module, name, _rebuild, (type(module), held))


def _rebuild(module: nn.Module, kept: tuple[type[nn.Module], dict[str, Any]]) -> None:
    turn_into(module, *kept)
    module.train(module.training)


def turn_into(module: nn.Module, kind: type[nn.Module], held: dict[str, Any]) -> None:
    """From now on a module is of this class and holds this; its hooks, and whether it is in training, stay its own."""
    lasting = {key: own for key, own in vars(module).items() if "hook" in key or key == "training"}
    module.__class__ = kind
    vars(module).clear()
    vars(module).update(held | lasting)
