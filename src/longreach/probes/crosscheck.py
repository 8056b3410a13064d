"""One module at a time once more, in double precision: do its output and its gradient agree with the script's?

The copy is made before the call and asked after the step, in the script's own precision and in double. Where the first
does not repeat what the script has seen, the module is random, keeps a state, or mixes the rows of a batch, and is left
alone. Where the second differs by more than rounding its inputs would do, a kernel is wrong or digits are lost.
"""

import math
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from longreach.probes.functions import is_quiet
from longreach.probes.loop import tensors_in
from longreach.probes.probe import Look, Probe
from longreach.probes.randomness import untouched_randomness
from longreach.probes.rerun import autocast_of, copied, is_known, without_global_hooks
from longreach.quantities.crosscheck import Check

# A module is checked at so many sampled steps.
ENOUGH = 2
# Rows of a batch that are taken, unless all of them are as quickly done; numbers in them, and in the weights, at most.
ROWS, MOST_NUMBERS, MOST_WEIGHTS = 8, 2**20, 2**22
# A pass over so many (number, weight) pairs is quick; of slower ones a sixteenth of the batch is taken.
QUICK, PART = 2**24, 16
# How far the copy may be from the script's own output to count as the same computation.
SAME = {torch.float16: 0.05, torch.bfloat16: 0.05}
SAME_ELSE = 1e-3
# An error is what goes beyond so many times the effect of rounding what the module is given.
ROUNDINGS = 10
# Absolute gradients below this part of what was sent back are next to none.
TINY = 1e-3


@dataclass
class Visit:
    """One call of one module, as it was before it ran, and what it gave."""

    module: nn.Module
    name: str
    copy: nn.Module | None = None
    kept: int = 0
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)
    results: list[Tensor] = field(default_factory=list)
    autocast: tuple[bool, torch.dtype] = (False, torch.float32)
    handles: list[Any] = field(default_factory=list)

    def start(self) -> None:
        """Put the hooks on."""
        before: Any = self._before
        after: Any = self._after
        self.handles = [
            self.module.register_forward_pre_hook(before, with_kwargs=True),
            self.module.register_forward_hook(after, prepend=True),
        ]

    def stop(self) -> None:
        """Take the hooks off."""
        while self.handles:
            self.handles.pop().remove()

    def _before(self, module: nn.Module, arguments: Any, keywords: Any) -> None:
        with suppress(Exception):  # what cannot be copied cannot be checked
            if self.copy is None and torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active():
                given = tensors_in((arguments, keywords))
                self.kept = _kept(module, given)
                cut = _cut(module, given, self.kept)
                self.autocast = autocast_of(given[0].device)
                self.arguments, self.keywords = _each(arguments, cut), _each(keywords, cut)
                self.copy = copied(module)

    def _after(self, module: nn.Module, arguments: Any, result: Any) -> None:
        with suppress(Exception):
            if self.copy is not None and not self.results:
                found = _gradable(result)
                self.results = list(map(_cut(module, found, self.kept), found))


class Crosschecks(Probe):
    """Modules against themselves in double precision (single where a device has no double).

    Which    leaves of the model and modules with weights of their own, in turn, each at two sampled steps; of
             torch's only those that have weights; of layers of longreach that torch has too, torch's is the copy
    Cost     a copy of one module and its input, and three forward and backward passes of it, two in double precision;
             over all rows of the batch where that is quick, else over eight of them or fewer
    Blind    to functions whose backward is wrong in every precision: those are compared with differences
             (`Functions`); to modules that are random, stateful, give a single number, or are larger than four million
             weights or a million numbers a row
    """

    def __init__(self):
        self._checked: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()
        self._visit: Visit | None = None

    def opened(self, look: Look) -> None:
        """Stand beside the module that was looked at least often."""
        if not look.with_curves or look.compiled:
            return
        waiting = [(count, module) for module, count in self._checked.items() if count < ENOUGH]
        if waiting:
            _, module = min(waiting, key=lambda pair: pair[0])
            self._checked[module] += 1
            self._visit = Visit(module, look.names.of(module))
            self._visit.start()

    def saw(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Get to know the modules."""
        if module not in self._checked and any(result.requires_grad for result in results):
            self._checked[module] = 0 if _is_worth_it(module) else ENOUGH

    def closed(self, look: Look) -> None:
        """Step aside and compare."""
        visit, self._visit = self._visit, None
        if visit is None:
            return
        visit.stop()
        if visit.results:
            with suppress(Exception), untouched_randomness(), without_global_hooks():
                for check in checks(visit, look.step, look.generator):
                    look.store.add(check)


def checks(visit: Visit, step: int, generator: torch.Generator) -> Iterator[Check]:
    """One for the output and one for the gradient that is off most; none where the copy does not repeat the script."""
    assert visit.copy is not None
    own = Again(visit.copy, visit)
    outputs = own.outputs
    dtype = visit.autocast[1] if visit.autocast[0] else outputs[0].dtype
    pairs = list(zip(outputs, visit.results, strict=True))
    if not all(_far(a, b) <= SAME.get(dtype, SAME_ELSE) for a, b in pairs):
        return
    exact = Again(_reference(visit.copy), visit, wide=True)
    rounded = Again(_reference(visit.copy), visit, wide=True, rounding=(torch.finfo(dtype).eps / 2, generator))
    sent = [torch.randn(part.shape, generator=generator).to(part) for part in visit.results]
    weight = math.hypot(*(float(part.norm()) for part in sent))
    values = zip(outputs, exact.outputs, rounded.outputs, strict=True)
    yield _check(visit, step, max((_judged("output", *value) for value in values), key=_error))
    mine, right, near = (again.gradients(sent) for again in (own, exact, rounded))
    grads = [_judged(name, mine[name], right[name], near[name], TINY * weight) for name in mine if name in right]
    if grads:
        yield _check(visit, step, max(grads, key=_error))


class Again:
    """A module's call once more.

    wide      in double precision, outside of autocast
    rounding  what it is given is first changed at random by this part of itself
    """

    def __init__(
        self,
        module: nn.Module,
        visit: Visit,
        *,
        wide: bool = False,
        rounding: tuple[float, torch.Generator] | None = None,
    ):
        def prepared(part: Tensor) -> Tensor:
            part = part.detach().clone()
            if wide and part.is_floating_point():
                part = part.to(torch.float32 if part.device.type == "mps" else torch.float64)
            if rounding and part.is_floating_point():
                noise = torch.randn(part.shape, generator=rounding[1], dtype=torch.float64).to(part)
                part = part * (1 + rounding[0] * noise)
            return part.requires_grad_() if part.is_floating_point() else part

        self._module = deepcopy(module)
        for part in self._module.modules():
            for kept in (part._parameters, part._buffers):
                for name, value in kept.items():
                    if value is not None:
                        changed = prepared(value) if kept is part._parameters else prepared(value).detach()
                        kept[name] = nn.Parameter(changed) if isinstance(value, nn.Parameter) else changed  # type: ignore[assignment]
            if isinstance(part, nn.RNNBase):
                part._flat_weights = [getattr(part, name, None) for name in part._flat_weights_names]
        arguments, keywords = _each(visit.arguments, prepared), _each(visit.keywords, prepared)
        self._given = tensors_in((arguments, keywords))
        enabled, dtype = (False, visit.autocast[1]) if wide else visit.autocast
        with torch.autocast(self._given[0].device.type, dtype=dtype, enabled=enabled), torch.enable_grad():
            # a module may write into what it is given, but not into a leaf
            passed = {id(leaf): leaf * 1 if leaf.requires_grad else leaf for leaf in self._given}
            arguments, keywords = (_each(part, lambda leaf: passed[id(leaf)]) for part in (arguments, keywords))
            self._results = _gradable(self._module(*arguments, **keywords))
        self.outputs = [part.detach() for part in self._results]

    def gradients(self, sent: list[Tensor]) -> dict[str, Tensor]:
        """What comes of these errors, by the name of the parameter or "input"."""
        named = {f"input {n}" if n else "input": leaf for n, leaf in enumerate(self._given) if leaf.requires_grad}
        named |= {name: leaf for name, leaf in self._module.named_parameters() if leaf.requires_grad}
        live = [(r, s.to(r)) for r, s in zip(self._results, sent, strict=True) if r.requires_grad]
        found = torch.autograd.grad([r for r, _ in live], list(named.values()), [s for _, s in live], allow_unused=True)
        return {name: part for name, part in zip(named, found, strict=True) if part is not None}


Judged = tuple[str, float, float, Tensor]  # part, relative error, ratio, the script's numbers


def _judged(part: str, script: Tensor, exact: Tensor, rounded: Tensor, least: float = 0.0) -> Judged:
    """How far the script is off beyond rounding; an absolute error below `least` counts as none."""
    mine, right, near = (tensor.double().flatten() for tensor in (script, exact, rounded))
    off, size = float((mine - right).norm()), max(float(mine.norm()), float(right.norm()))
    if not math.isfinite(off + float(near.norm())) or off <= least or size == 0:
        return part, 0.0, 1.0, script
    beyond = max(off - ROUNDINGS * float((near - right).norm()), 0.0)
    squares = float(right @ right)
    return part, beyond / size, float(mine @ right) / squares if squares > 0 else math.inf, script


def _error(judged: Judged) -> float:
    return judged[1]


def _check(visit: Visit, step: int, judged: Judged) -> Check:
    part, error, ratio, script = judged
    return Check(
        place=visit.name,
        step=step,
        subject=type(visit.module).__name__,
        against="replay",
        part=part,
        shape="x".join(map(str, script.shape)) or "scalar",
        dtype=str(visit.autocast[1] if visit.autocast[0] else script.dtype).removeprefix("torch."),
        error=error,
        ratio=ratio,
    )


def _is_worth_it(module: nn.Module) -> bool:
    """Whether a module can be asked again, and computes something by itself."""
    own = any(True for _ in module.parameters(recurse=False))
    leaf = not any(True for _ in module.children())
    if not (own or leaf) or isinstance(module, (nn.Embedding, torch.jit.ScriptModule)):
        return False
    weights = [*module.parameters(), *module.buffers()]
    plain = all(type(w.detach()) is Tensor and w.layout == torch.strided and not w.is_complex() for w in weights)
    if not plain or sum(weight.numel() for weight in weights) > MOST_WEIGHTS or hasattr(module, "parametrizations"):
        return False
    return own if is_known(module) else all(is_quiet(type(part).forward) for part in module.modules())


def _reference(module: nn.Module) -> nn.Module:
    """The module to compare with: of our layers torch's own, where it is the same function; else the module."""
    ours = sys.modules.get("longreach.nn.layers")
    plain = {"cut": 0, "clip": math.inf, "checkpoint_every": 0}
    if ours is None or not isinstance(module, nn.RNNBase) or not type(module).__module__.startswith("longreach."):
        return module
    if any(getattr(module, name) != value for name, value in plain.items()):
        return module
    kinds = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN_TANH": nn.RNN, "RNN_RELU": nn.RNN}
    if module.mode not in kinds:
        return module
    options: dict[str, Any] = {"nonlinearity": module.mode[4:].lower()} if module.mode.startswith("RNN") else {}
    options |= {"proj_size": module.proj_size} if module.mode == "LSTM" else {}
    same = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")
    options |= {name: getattr(module, name) for name in same}
    twin = kinds[module.mode](module.input_size, module.hidden_size, **options).train(module.training)
    twin.load_state_dict(module.state_dict())
    return twin


def _kept(module: nn.Module, given: list[Tensor]) -> int:
    """How many rows of a batch are taken: all if that is quick (batch norm needs them), else the first ones."""
    if any(part.layout != torch.strided or part.is_complex() or part.device.type == "meta" for part in given):
        raise ValueError("expected dense real tensors")
    rows, numbers = _row_count(module, given), sum(part.numel() for part in given)
    channels = given[0].shape[1 if isinstance(module, nn.modules.conv._ConvNd) else -1] if given[0].dim() else 1
    work = given[0].numel() // max(channels, 1) * sum(part.numel() for part in module.parameters())
    if max(work, numbers) <= QUICK:
        kept = rows
    else:
        kept = min(rows, ROWS if work <= PART * QUICK else max(1, min(ROWS, rows // PART)))
    if numbers * kept > MOST_NUMBERS * max(rows, 1):
        raise ValueError("expected fewer numbers")
    return kept


def _row_count(module: nn.Module, tensors: list[Tensor]) -> int:
    return tensors[0].shape[_row_dim(module, tensors[0], first=True)] if tensors[0].dim() else 1


def _cut(module: nn.Module, tensors: list[Tensor], kept: int) -> Callable[[Tensor], Tensor]:
    """Takes the first rows, as a copy, of each tensor that has as many as the first of `tensors`."""
    rows = _row_count(module, tensors)

    def cut(part: Tensor) -> Tensor:
        dim = _row_dim(module, part, first=part is tensors[0])
        part = part.detach()
        return (part.narrow(dim, 0, kept) if part.dim() > dim and part.shape[dim] == rows else part).clone()

    return cut


def _row_dim(module: nn.Module, part: Tensor, *, first: bool) -> int:
    """Where the rows lie: recurrent layers have time in front of them, and in states the stack of layers."""
    recurrent = isinstance(module, nn.RNNBase) and part.dim() == 3
    return 1 if recurrent and not (first and module.batch_first) else 0


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested arguments with every tensor changed. Raises on what might be shared with the script."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(entry, change) for key, entry in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_each(entry, change) for entry in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"expected tensors, numbers or text, got {type(value).__name__}")


def _gradable(result: Any) -> list[Tensor]:
    """The results that carry a gradient, and are more than one number."""
    return [part for part in tensors_in(result) if part.requires_grad and part.is_floating_point() and part.numel() > 1]


def _far(one: Tensor, other: Tensor) -> float:
    size = float(other.norm())
    return float((one - other).norm()) / size if size > 0 else float(one.norm())
