"""The script's own autograd functions: is what their backward returns the derivative of their forward?

A custom function is the one place where a gradient is written by hand. What it was given and what it gave back are
recorded in the script's own pass; its forward alone is then asked again, in double precision, a little to the left and
a little to the right.
"""

import builtins
import dis
import functools
import inspect
import io
import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from longreach.probes.probe import Look, Probe
from longreach.probes.randomness import untouched_randomness
from longreach.probes.repeatable import OF_OPERATORS
from longreach.quantities.crosscheck import Check

# A function is checked at so many sampled steps; so many calls of a step wait for their errors, the latest.
ENOUGH, CALLS = 6, 3
# Tensors of more numbers than this together would take too long.
MOST_NUMBERS = 2**19
# Directions in which each argument is moved, and how far, in parts of its size, if numbers have 16 or 7 digits.
DIRECTIONS = 3
STEP = {torch.float64: 2.0**-18, torch.float32: 2.0**-7}
# Relative errors above this are looked into: what comes of rounding is smaller.
NOTABLE = {torch.float16: 0.1, torch.bfloat16: 0.1}
NOTABLE_ELSE = 0.01
# A gradient of less than this part of the error that came in is next to none.
TINY = 1e-3
# Effects that a second call would have a second time.
LOUD = {"print", "open", "input", "exec", "eval", "breakpoint", "next"}
KEEPING = (list, dict, set, logging.Logger, io.IOBase)


@dataclass
class Call:
    """One call of a custom function in the script's own pass.

    module    the module in whose call it was made
    given     what it was given, tensors copied
    wanted    whether a gradient of each is wanted
    errors    what came to its outputs on the way back, None before that
    returned  what its backward made of it, one for each that was given
    """

    kind: type[Function]
    module: nn.Module | None
    given: tuple[Any, ...]
    wanted: tuple[bool, ...]
    context: Any = None
    errors: tuple[Tensor | None, ...] | None = None
    returned: tuple[Tensor | None, ...] = ()


@dataclass
class Recorder:
    """Stands in front of a function's forward and backward while a sampled step lasts. It only listens."""

    kind: type[Function]
    running: Callable[[], nn.Module | None]
    calls: list[Call] = field(default_factory=list)
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def start(self) -> None:
        """Stand in front."""
        with_context = self.kind.setup_context is Function.setup_context
        self._replace("forward", self._forward if with_context else self._forward_alone)
        if not with_context:
            self._replace("setup_context", self._setup)
        self._replace("vjp" if self.kind.vjp is not Function.vjp else "backward", self._backward)

    def stop(self) -> None:
        """Step aside."""
        while self._undo:
            self._undo.pop()()

    def _replace(self, name: str, wrap: Callable[[Callable], Callable]) -> None:
        kind, own = self.kind, self.kind.__dict__.get(name)
        setattr(kind, name, staticmethod(functools.wraps(getattr(kind, name))(wrap(getattr(kind, name)))))
        self._undo.append(lambda: delattr(kind, name) if own is None else setattr(kind, name, own))

    def _forward(self, real: Callable) -> Callable:
        def forward(context: Any, *given: Any) -> Any:
            self._record(given, context)
            return real(context, *given)

        return forward

    def _forward_alone(self, real: Callable) -> Callable:
        def forward(*given: Any) -> Any:
            self._record(given, None)
            return real(*given)

        return forward

    def _setup(self, real: Callable) -> Callable:
        def setup_context(ctx: Any, inputs: Any, output: Any) -> Any:
            if self.calls and self.calls[-1].context is None:
                self.calls[-1].context = ctx
            return real(ctx, inputs, output)

        return setup_context

    def _backward(self, real: Callable) -> Callable:
        def backward(context: Any, *errors: Any) -> Any:
            returned = real(context, *errors)
            with suppress(Exception):  # ours alone
                self._came_back(context, errors, returned)
            return returned

        return backward

    def _record(self, given: tuple[Any, ...], context: Any) -> None:
        with suppress(Exception):
            if _can_be_repeated(given) and not torch._C._are_functorch_transforms_active():
                waiting = [call for call in self.calls if call.errors is None]
                if len(waiting) == CALLS:  # the oldest may be of an evaluation, to which no error comes back
                    self.calls.remove(waiting[0])
                wanted = tuple(isinstance(part, Tensor) and part.requires_grad for part in given)
                copies = tuple(part.detach().clone() if isinstance(part, Tensor) else part for part in given)
                self.calls.append(Call(self.kind, self.running(), copies, wanted, context))

    def _came_back(self, context: Any, errors: tuple[Any, ...], returned: Any) -> None:
        if any(call.errors is not None for call in self.calls):
            return
        for call in self.calls:
            if call.context is context and context is not None and call.errors is None:
                found = returned if isinstance(returned, tuple) else (returned,)
                call.errors = tuple(None if error is None else error.detach().clone() for error in errors)
                call.returned = tuple(part.detach().clone() if isinstance(part, Tensor) else None for part in found)
                call.context = None


class Functions(Probe):
    """Custom autograd functions against central differences of their own forward pass.

    Cost       a copy of what each is given and gives back, and some thirteen forward passes an argument, until it was
               checked at six sampled steps
    Exact      to about 1e-6 of the gradient where the function takes double precision, else to about 1 %
    Left out   what is random, what has a visible effect, what takes more than half a million numbers or an argument
               that is no tensor, number or text; all functions where several processes train together, because one
               that communicates would wait for the others
    Source     central differences as in torch.autograd.gradcheck, along random directions, on the run's own numbers
    """

    def __init__(self):
        self._checked: dict[type[Function], int] = {}
        self._quiet: dict[type[Function], bool] = {}
        self._recorders: list[Recorder] = []
        self._known = 0  # how many there were when we last looked

    def opened(self, look: Look) -> None:
        """Stand in front of those that were not checked often enough."""
        if look.with_curves and not look.compiled and not _with_others():
            self._known = len(Function.__subclasses__())
            listening = {recorder.kind for recorder in self._recorders}
            for kind in own_functions():
                if kind not in listening and self._checked.get(kind, 0) < ENOUGH and self._is_quiet(kind):
                    recorder = Recorder(kind, lambda: look.trace.running)
                    recorder.start()
                    self._recorders.append(recorder)

    def saw(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Before the first step, a script had yet to define them."""
        if len(Function.__subclasses__()) != self._known:
            self.opened(look)

    def _is_quiet(self, kind: type[Function]) -> bool:
        if kind not in self._quiet:
            self._quiet[kind] = is_quiet(kind.forward) and is_quiet(kind.backward)
        return self._quiet[kind]

    def closed(self, look: Look) -> None:
        """Step aside and compare."""
        recorders, self._recorders = self._recorders, []
        for recorder in recorders:
            recorder.stop()
        for recorder in recorders:
            whole = [call for call in recorder.calls if call.errors is not None]
            recorder.calls = []
            if whole:
                self._checked[recorder.kind] = self._checked.get(recorder.kind, 0) + 1
                with suppress(Exception), untouched_randomness():  # a function may refuse whatever it likes
                    module = whole[0].module
                    place = "" if module is None else look.names.of(module)  # the first step teaches names at its end
                    for check in checks(whole[0], place, look.step, look.generator):
                        look.store.add(check)


def own_functions() -> list[type[Function]]:
    """Autograd functions that are not torch's own: the script's, those of its libraries, registered operators."""
    found, waiting = [], list(Function.__subclasses__())
    while waiting:
        kind = waiting.pop(0)
        waiting += kind.__subclasses__()
        if _home(kind) not in ("torch", "longreach") and kind not in found:
            found.append(kind)
    return found


def _home(kind: type[Function]) -> str:
    """The package that a function was written in; of a registered operator, where its backward was."""
    if not kind.__name__.startswith(OF_OPERATORS):
        return kind.__module__.split(".")[0]
    held = inspect.getclosurevars(kind.forward).nonlocals.get("info")
    backward = getattr(held, "_backward_fn", None)
    return "torch" if backward is None else getattr(backward, "__module__", "torch").split(".")[0]


def checks(call: Call, place: str, step: int, generator: torch.Generator) -> Iterator[Check]:
    """One for each argument that a gradient came back to."""
    repeated = _repeatable(call)
    if repeated is None:
        return
    for at, gradient in enumerate(call.returned):
        argument = call.given[at] if at < len(call.given) else None
        if gradient is None or not isinstance(argument, Tensor) or not call.wanted[at] or not argument.numel():
            continue
        probe = Probing(repeated, at, generator)
        found = probe.compare(gradient)
        if found is None:
            continue
        error, ratio = found
        design = ""
        if error > NOTABLE.get(argument.dtype, NOTABLE_ELSE):
            if repeated.is_identity(at):
                design = "identity"
            elif probe.is_flat() or repeated.is_stepped() or probe.agrees_where_it_moves():
                design = "straight-through"
            elif probe.is_tiny() and repeated.is_right_in_double(probe):
                continue  # the script's precision cannot tell such numbers from 0
        yield Check(
            place=place,
            step=step,
            subject=call.kind.__name__.removeprefix(OF_OPERATORS),
            against="differences",
            part=_name_of(call.kind, at),
            shape="x".join(map(str, argument.shape)) or "scalar",
            dtype=str(argument.dtype).removeprefix("torch."),
            error=error,
            ratio=ratio,
            design=design,
        )


@dataclass
class Repeated:
    """A function's forward pass with the errors that came to it, as often as one likes.

    given    its arguments, floating-point tensors in `dtype`
    outputs  its floating-point results on them
    errors   one for each of these
    flat     of each of these the entries that no direction tried so far has moved
    """

    call: Call
    given: tuple[Any, ...]
    dtype: torch.dtype
    outputs: list[Tensor]
    errors: list[Tensor]
    flat: list[Tensor]

    def at(self, place: int, value: Tensor) -> list[Tensor]:
        """The results with another value in the place of one argument."""
        given = (*self.given[:place], value, *self.given[place + 1 :])
        return forward(self.call.kind, given)

    def backward(self, place: int, errors: list[Tensor]) -> Tensor | None:
        """What the function's own backward makes of these errors, in this precision."""
        given = [part.clone() if isinstance(part, Tensor) else part for part in self.given]
        leaf = given[place] = given[place].requires_grad_()
        with torch.enable_grad():
            # a function may write into what it is given, and a leaf must not be written into
            given[place] = leaf * 1
            results = floating(self.call.kind.apply(*given))
        some = [(r, e.to(r)) for r, e in zip(results, errors, strict=True) if r.requires_grad]
        (gradient,) = torch.autograd.grad([r for r, _ in some], leaf, [e for _, e in some], allow_unused=True)
        return gradient

    def is_identity(self, place: int) -> bool:
        """Whether one of the results is the argument itself, and all the function does lies in its backward."""
        argument = self.given[place]
        same = (r for r in self.outputs if r.numel() == argument.numel())
        return any(torch.allclose(r.flatten(), argument.flatten().to(r), rtol=1e-6, atol=0.0) for r in same)

    def is_stepped(self) -> bool:
        """Whether a whole result never moved: a spike, a sign, a rounded number."""
        return any(bool(flat.all()) for flat in self.flat if flat.numel())

    def is_right_in_double(self, probe: "Probing") -> bool:
        """Whether its own backward is right as long as it has enough digits."""
        if self.dtype != torch.float64:
            return False
        gradient = self.backward(probe.place, self.errors)
        found = None if gradient is None else probe.compare(gradient)
        return found is not None and found[0] <= NOTABLE_ELSE


class Probing:
    """One argument of a function, moved along a few random directions."""

    def __init__(self, repeated: Repeated, place: int, generator: torch.Generator):
        self.repeated, self.place = repeated, place
        x = repeated.given[place]
        size = float(x.norm()) / math.sqrt(x.numel())
        self._h = STEP[repeated.dtype] * (size if 0 < size < math.inf else 1.0)
        # exact zeros stay where they are (padding, and what a relu has cut off): there a function may have a kink
        free = (x != 0) if x.count_nonzero() else torch.ones_like(x)
        drawn = (torch.randn(x.shape, generator=generator, dtype=torch.float64) for _ in range(DIRECTIONS))
        self.directions = [direction.to(x) * free for direction in drawn]
        self.moves = [self._moved(direction) for direction in self.directions]

    def _moved(self, direction: Tensor) -> dict[float, list[Tensor]]:
        x = self.repeated.given[self.place]
        moved = {h: self.repeated.at(self.place, x + h * direction) for h in self._sizes}
        pairs = zip(self.repeated.flat, moved[self._h], moved[-self._h], strict=True)
        self.repeated.flat = [flat & (plus == minus) for flat, plus, minus in pairs]
        return moved

    @property
    def _sizes(self) -> tuple[float, ...]:
        return (self._h, -self._h, self._h / 4, -self._h / 4)

    def slopes(self, errors: list[Tensor]) -> tuple[list[float], list[float]]:
        """The derivative of Σ errors · results along each direction, and how far it can be trusted."""
        values, doubts = [], []
        for moved in self.moves:
            here, scale = _sum(errors, self.repeated.outputs), _size(errors, self.repeated.outputs)
            (plus, minus, near, nearer), h = [_sum(errors, moved[size]) - here for size in self._sizes], self._h
            wide, narrow = (plus - minus) / (2 * h), (near - nearer) * 2 / h
            kink = (near + nearer) * 4 / h  # right less left: what is smooth has next to none
            noise = 64 * torch.finfo(self.repeated.dtype).eps * scale / h
            values.append(narrow)
            doubts.append(3 * (abs(wide - narrow) + abs(kink)) + noise)
        return values, doubts

    def compare(self, gradient: Tensor, errors: list[Tensor] | None = None) -> tuple[float, float] | None:
        """(relative error of a gradient, its ratio to the right one); None where neither is a number or both are 0."""
        right, doubts = self.slopes(self.repeated.errors if errors is None else errors)
        gradient = gradient.to(self.directions[0]).reshape(self.directions[0].shape)
        said = [float((gradient * direction).sum()) for direction in self.directions]
        beyond = [max(abs(s - r) - doubt, 0.0) for s, r, doubt in zip(said, right, doubts, strict=True)]
        largest = max(math.hypot(*said), math.hypot(*right))
        if not 0 < largest < math.inf:
            return None
        squares = sum(r * r for r in right)
        along = sum(s * r for s, r in zip(said, right, strict=True))
        return math.hypot(*beyond) / largest, along / squares if squares > 0 else math.inf

    def is_tiny(self) -> bool:
        """Whether next to nothing of the errors comes through."""
        came = math.hypot(*(float(error.norm()) for error in self.repeated.errors))
        return math.hypot(*self.slopes(self.repeated.errors)[0]) < TINY * came * math.sqrt(DIRECTIONS)

    def is_flat(self) -> bool:
        """Whether nothing moved at all."""
        return all(
            torch.equal(plus, minus)
            for moved in self.moves
            for plus, minus in zip(moved[self._h], moved[-self._h], strict=True)
        )

    def agrees_where_it_moves(self) -> bool:
        """Whether the backward is right for the entries of the result that do move: a clamp that lets gradients by."""
        if not any(bool(flat.any()) for flat in self.repeated.flat):
            return False
        errors = [error * ~flat for error, flat in zip(self.repeated.errors, self.repeated.flat, strict=True)]
        gradient = self.repeated.backward(self.place, errors)
        found = None if gradient is None else self.compare(gradient, errors)
        return found is not None and found[0] <= NOTABLE_ELSE


def _repeatable(call: Call) -> Repeated | None:
    """The call in double precision, or else in single; None if it is random or takes neither."""
    for dtype in (torch.float64, torch.float32):
        given = tuple(_widened(part, dtype) for part in call.given)
        try:
            outputs = forward(call.kind, given)
            again = forward(call.kind, given)
        except Exception:  # whatever a kernel says to numbers it was not made for
            continue
        errors = [error for error in call.errors or () if error is None or error.is_floating_point()]
        if len(errors) != len(outputs) or not all(map(_steady, outputs, again)):
            return None
        whole = [torch.zeros_like(o) if e is None else e.to(o) for e, o in zip(errors, outputs, strict=True)]
        return Repeated(call, given, dtype, outputs, whole, [torch.ones_like(o, dtype=torch.bool) for o in outputs])
    return None


def forward(kind: type[Function], given: tuple[Any, ...]) -> list[Tensor]:
    """The floating-point results of a function, in double precision; no graph, nothing of the caller's written into."""
    with torch.no_grad():
        copies = [part.clone() if isinstance(part, Tensor) else part for part in given]
        return [result.detach().double().clone() for result in floating(kind.apply(*copies))]


def floating(results: Any) -> list[Tensor]:
    """Those results of a function that a gradient can come back to."""
    whole = results if isinstance(results, (tuple, list)) else (results,)
    return [part for part in whole if isinstance(part, Tensor) and part.is_floating_point()]


def is_quiet(function: Callable) -> bool:
    """Whether a function's own code can be run once more unnoticed: it prints nothing and keeps no books."""
    function = inspect.unwrap(function)
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None:
        return True
    if any(entry.opname in ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF") for entry in dis.get_instructions(code)):
        return False
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)  # type: ignore[attr-defined]
    held = [cell.cell_contents for _, cell in cells if cell is not None]
    known = [names.get(name, getattr(builtins, name, None)) for name in code.co_names]
    loud = any(name in LOUD and name not in names for name in code.co_names)
    return not loud and not any(isinstance(value, KEEPING) for value in (*held, *known))


def _can_be_repeated(given: tuple[Any, ...]) -> bool:
    plain = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, torch.layout)

    def known(part: Any) -> bool:
        if isinstance(part, (tuple, list)):
            return all(isinstance(entry, plain) for entry in part)
        return isinstance(part, plain) or type(part).__module__ == "torch._library.autograd"

    tensors = [part for part in given if isinstance(part, Tensor)]
    rest = [part for part in given if not isinstance(part, Tensor)]
    dense = all(t.layout == torch.strided and not t.is_complex() and t.device.type != "meta" for t in tensors)
    return dense and sum(t.numel() for t in tensors) <= MOST_NUMBERS and all(map(known, rest))


def _with_others() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return bool(
        distributed and distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    )


def _widened(part: Any, dtype: torch.dtype) -> Any:
    return part.to(dtype) if isinstance(part, Tensor) and part.is_floating_point() else part


def _steady(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) and bool(one.isfinite().all())


def _sum(errors: list[Tensor], results: list[Tensor]) -> float:
    return sum(float((e.double() * r).sum()) for e, r in zip(errors, results, strict=True))


def _size(errors: list[Tensor], results: list[Tensor]) -> float:
    return sum(float((e.double() * r).abs().sum()) for e, r in zip(errors, results, strict=True))


def _name_of(kind: type[Function], place: int) -> str:
    function = inspect.unwrap(kind.forward)
    code = getattr(function, "__code__", None)
    if code is None:
        return f"argument {place}"
    first = 1 if kind.setup_context is Function.setup_context else 0
    named = code.co_varnames[first : code.co_argcount]
    return named[place] if place < len(named) else f"argument {place}"
