"""What a remedy is, and how it is taken back."""

import copy
import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from longreach.errors import NotApplicable

T = TypeVar("T")
P = ParamSpec("P")
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
    _undo_since(0, target)
    return target


def _undo_since(first: int, target: Any) -> None:
    for entry, part in reversed(_entries(target)):
        if entry.order >= first:
            _treated[part].remove(entry)
            entry.restore(None if part is _process else part, entry.kept)


def _entries(target: Any) -> list[tuple[_Entry, Any]]:
    parts = list(target.modules()) if isinstance(target, nn.Module) else [_process if target is None else target]
    return sorted(((entry, part) for part in parts for entry in _treated.get(part, ())), key=lambda pair: pair[0].order)


def wholly(verb: Callable[Concatenate[T, P], T]) -> Callable[Concatenate[T, P], T]:
    """Of a verb for modules: where it does not fit one part of a model, no part is changed.

    What trains on many devices as one DistributedDataParallel stays one: all have the weights of the first, and what
    would give it parameters that it does not know is refused. So are weights on the meta device, which are no numbers.
    """
    name = verb.__name__.replace("_", "-")

    @functools.wraps(verb)
    def apply(module: T, *arguments: P.args, **options: P.kwargs) -> T:
        first, parts = next(_order), list(module.modules()) if isinstance(module, nn.Module) else []
        if any(own.is_meta for part in parts for own in part.parameters(recurse=False)):
            raise NotApplicable(
                f"{name}: expected weights that hold numbers, got some on the meta device; give them memory by "
                "to_empty, and their start, then apply it"
            )
        replicas = [part for part in parts if isinstance(part, DistributedDataParallel)]
        for replica in replicas:
            _check_parameters_stay(replica.module, lambda trial: verb(trial, *arguments, **options), name)
        try:
            verb(module, *arguments, **options)
            for replica in replicas:
                _agree(replica)
        except Exception:
            _undo_since(first, module)
            raise
        return module

    return apply


def _check_parameters_stay(module: nn.Module, verb: Callable[[Any], Any], name: str) -> None:
    """Found out with a copy: a parameter that was another for a while is lost to DistributedDataParallel."""
    trial = copy.deepcopy(module)
    before = _places(trial)
    try:
        verb(trial)
    except NotApplicable:  # perhaps it is another part that it fits
        return
    if _places(trial) != before:
        raise NotApplicable(
            f"{name}: expected a model before DistributedDataParallel takes its parameters, got one after, and there "
            "would be others; apply it to the model itself, then wrap that"
        )


def _places(module: nn.Module) -> dict[str, int]:
    return {name: id(own) for name, own in module.named_parameters()}


@torch.no_grad()
def _agree(replica: DistributedDataParallel) -> None:
    group: Any = replica.process_group
    for own in replica.parameters():
        distributed.broadcast(own, distributed.get_global_rank(group, 0), group)


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
