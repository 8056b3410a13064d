"""Remedies put into a script from outside: at the place where it makes its optimizer.

There the model is whole, the script's own initialisation is done, and nothing has been trained. Remedies of modules are
applied just before the optimizer takes its parameters, remedies of the optimizer just after it is made. So the same two
lines can stand in the script, and `longreach treat` writes them there.
"""

import functools
import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from longreach.errors import NotApplicable
from longreach.remedies.remedy import Remedy, applied

OWN = ("torch", "longreach")


class Told(Protocol):
    """Who hears how it went."""

    def made(self, file: str, line: int) -> None:
        """The script makes an optimizer here."""

    def refused(self, message: str) -> None:
        """A remedy finds nothing that it fits."""


def put_in(treatment: "Treatment") -> None:
    """From now on every optimizer that this process makes, and its model, is treated.

    In the process of a script, before its first line. Raises, within the script where it makes the optimizer,
    NotApplicable if a remedy finds nothing that it fits.
    """
    for kind in _with_subclasses(Optimizer):
        if "__init__" in vars(kind) and kind is not Optimizer:
            _wrap_init(kind, treatment)
    before = Optimizer.__init_subclass__

    def init_subclass(cls: type[Optimizer], **options: Any) -> None:
        before(**options)
        if "__init__" in vars(cls):
            _wrap_init(cls, treatment)

    Optimizer.__init_subclass__ = classmethod(init_subclass)  # type: ignore[assignment]


class Treatment:
    """What happens where an optimizer is made. Remedies of the process are applied at once."""

    def __init__(self, remedies: Sequence[Remedy], told: Told):
        self._remedies, self._told = remedies, told
        for remedy in remedies:
            if remedy.moment == "process":
                remedy.verb(None)

    def before(self, params: Any) -> Any:
        """Treat the modules that own these parameters; gives the parameters that the optimizer is to take."""
        self._told.made(*_caller())
        if not any(remedy.moment == "module" for remedy in self._remedies):
            return params
        groups = _materialised(params)
        models = _owners([own for group in groups for own in group["params"]])
        if not models:
            return groups
        before = _Holdings(groups, models)
        try:
            treat_modules(self._remedies, models)
        except NotApplicable as refusal:
            self._told.refused(str(refusal))
            raise
        return before.renewed(groups, models)

    def after(self, optimizer: Optimizer) -> None:
        """Treat the optimizer."""
        treat_optimizer(self._remedies, optimizer)


def _wrap_init(kind: type[Optimizer], treatment: Treatment) -> None:
    real = kind.__init__

    @functools.wraps(real)
    def init(self: Optimizer, params: Any, *arguments: Any, **options: Any) -> None:
        inner = _initialised_by(type(self)) is not kind  # a subclass is at it, and treats when it is done
        if inner or sys._getframe(1).f_globals.get("__name__", "").startswith("longreach."):  # or a remedy trains
            real(self, params, *arguments, **options)
            return
        real(self, treatment.before(params), *arguments, **options)
        treatment.after(self)

    kind.__init__ = init  # type: ignore[method-assign]


def _initialised_by(kind: type) -> type:
    return next(base for base in kind.__mro__ if "__init__" in vars(base))


def _caller() -> tuple[str, int]:
    """Where in the script an optimizer is being made; of a subclass that the script defines, where it makes that."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in OWN:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def treat_modules(remedies: Iterable[Remedy], models: Sequence[nn.Module]) -> None:
    """Those of modules, each to all models that it fits.

    Raises  NotApplicable if a remedy fits none of them
    """
    for remedy in remedies:
        if remedy.moment == "module":
            _apply(remedy, models)


def treat_optimizer(remedies: Iterable[Remedy], optimizer: Optimizer) -> None:
    """Those of optimizers, each."""
    for remedy in remedies:
        if remedy.moment == "optimizer":
            remedy.verb(optimizer)


def _apply(remedy: Remedy, models: Sequence[nn.Module]) -> None:
    refusals = []
    for model in models:
        if remedy.name in applied(model):  # where another optimizer of its parameters was made
            continue
        try:
            remedy.verb(model)
        except NotApplicable as refusal:
            refusals.append(refusal)
    if len(refusals) == len(models):
        raise refusals[0]


def _materialised(params: Any) -> list[dict[str, Any]]:
    """What an optimizer may be given, as groups with lists: of tensors, or of pairs (name, tensor)."""
    if isinstance(params, Tensor):
        return [{"params": params}]  # torch's own complaint is the better one
    given = list(params)
    groups = [dict(group) for group in given] if given and isinstance(given[0], dict) else [{"params": given}]
    for group in groups:
        group["params"] = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
    return groups


def _owners(given: list[Any]) -> list[nn.Module]:
    """The outermost modules that hold any of these parameters, in the order they were made."""
    wanted = {id(_tensor(own)) for own in given}
    # by type: to ask an object for its class may set off whatever it likes
    everything = [
        thing for thing in gc.get_objects() if issubclass(type(thing), nn.Module) and "_modules" in vars(thing)
    ]
    holding = [m for m in everything if any(id(own) in wanted for own in m.parameters())]
    inner = {id(part) for module in holding for part in module.children()}
    return [module for module in holding if id(module) not in inner]


class _Holdings:
    """Which parts of the models an optimizer was to train, before they were treated."""

    def __init__(self, groups: list[dict[str, Any]], models: list[nn.Module]):
        held = {id(_tensor(own)) for group in groups for own in group["params"]}
        parts = {id(part): part for model in models for part in model.modules()}
        self._owned = {id(own) for part in parts.values() for own in part.parameters(recurse=False)}
        self._trained = {key: any(id(own) in held for own in part.parameters()) for key, part in parts.items()}

    def renewed(self, groups: list[dict[str, Any]], models: list[nn.Module]) -> list[dict[str, Any]]:
        """The groups without parameters that are gone, and with new ones of parts that were trained before.

        New ones go to the group that lost the most.
        """
        now = {id(own) for model in models for own in model.parameters()}
        kept = [[own for own in group["params"] if not self._is_gone(own, now)] for group in groups]
        lost = [len(group["params"]) - len(rest) for group, rest in zip(groups, kept, strict=True)]
        named = any(isinstance(own, tuple) for group in groups for own in group["params"])
        new = {id(own): (name, own) for model in models for name, own in self._new(model)}
        kept[lost.index(max(lost))] += [pair if named else pair[1] for pair in new.values()]
        return [{**group, "params": rest} for group, rest in zip(groups, kept, strict=True)]

    def _is_gone(self, own: Any, now: set[int]) -> bool:
        return id(_tensor(own)) in self._owned - now

    def _new(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        for name, own in model.named_parameters():
            path = name.split(".")[:-1]
            above = [model, *(model.get_submodule(".".join(path[:depth])) for depth in range(1, len(path) + 1))]
            nearest = next((part for part in reversed(above) if id(part) in self._trained), model)
            if id(own) not in self._owned and self._trained[id(nearest)]:
                yield name, own


def _tensor(own: Any) -> Tensor:
    return own[1] if isinstance(own, tuple) else own


def _with_subclasses(kind: type) -> list[type]:
    return [kind, *(further for child in kind.__subclasses__() for further in _with_subclasses(child))]
