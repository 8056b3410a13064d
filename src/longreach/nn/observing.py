"""The norm of ∂L/∂s_t of every state of every layer, from an ordinary backward pass."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from longreach.errors import ArgumentError
from longreach.nn.rows import Layout
from longreach.report.chart import BLOCKS

_open: list["Seen"] = []


@dataclass(frozen=True)
class Norms:
    """‖∂L/∂s_t‖ of one call of one layer; s_t is the state after step t, its entries by name: "h", for an LSTM "c" too.

    Of everything that reaches s_t, from its own step's output and from the steps after it; before `clip` and `cut`.
    For c, what reaches it through h included. Places as in h_n: layer by layer, of each its directions.

    rows   for every entry [place, time, sequence]; 0 behind the end of a packed sequence
    steps  for every entry [place, time]: of all sequences together, the root of the sum of squares; float64
    """

    rows: dict[str, Float[Tensor, "place time batch"]]

    @property
    def steps(self) -> dict[str, Float[Tensor, "place time"]]:
        """Of the whole batch."""
        # in float64, where the squares of what float32 holds neither under- nor overflow
        return {name: torch.linalg.vector_norm(rows.double(), dim=2) for name, rows in self.rows.items()}


class Seen(Mapping[str, Norms]):
    """What `observe` has seen: norms by the layer's name, "name (2)" for its second call, and so on; printable."""

    def __init__(self, model: nn.Module | None):
        self._names = {module: name or type(module).__name__ for name, module in model.named_modules()} if model else {}
        self._whole_process = model is None
        self._numbers: Counter[str] = Counter()
        self._calls: dict[str, _Call] = {}

    def __getitem__(self, name: str) -> Norms:
        if name not in self._calls:
            raise KeyError(f"{name!r}: expected one of {', '.join(self._calls) or 'no call at all: none was observed'}")
        return self._calls[name].norms()

    # mappings are compared by what they hold; of these each is itself alone
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __str__(self) -> str:
        if not self:
            return "no call of a longreach layer was observed"
        lines = ["‖∂L/∂s_t‖, from the first step on the left to the last on the right, logarithmic"]
        for name, norms in self.items():
            places = len(next(iter(norms.rows.values())))
            for place in range(places):
                for entry, steps in norms.steps.items():
                    label = f"{name} {entry}" if places == 1 else f"{name} {entry} {place}"
                    lines.append(f"{label:<24.24} {_line(steps[place].tolist())}".rstrip())
        return "\n".join(lines)

    def wants(self, module: nn.Module) -> bool:
        """Whether calls of this module are to be observed."""
        return self._whole_process or module in self._names

    def add(self, module: nn.Module, call: "_Call") -> None:
        """A call that has just begun."""
        if module not in self._names:
            kind = type(module).__name__
            self._numbers[kind] += 1
            self._names[module] = f"{kind} {self._numbers[kind]}"
        name = self._names[module]
        again = (f"{name} ({n})" for n in range(2, len(self._calls) + 3))
        self._calls[name if name not in self._calls else next(key for key in again if key not in self._calls)] = call


@dataclass(frozen=True)
class _Call:
    """One call of a layer: a probe for each place, whose gradient the backward pass will make the norms."""

    entries: tuple[str, ...]
    layout: Layout
    probes: Sequence[Tensor]

    def norms(self) -> Norms:
        if all(probe.grad is None for probe in self.probes):
            raise ArgumentError(
                "seen: expected a backward pass before it is read, got none; call loss.backward() first"
            )
        found = [probe.new_zeros(probe.shape) if probe.grad is None else probe.grad for probe in self.probes]
        return Norms(
            {
                entry: torch.stack([self.layout.padded(place[number]) for place in found])
                for number, entry in enumerate(self.entries)
            }
        )


@contextmanager
def observe(model: nn.Module | None = None) -> Iterator[Seen]:
    """Have every call of a longreach layer tell the norms of its gradients:

        with longreach.observe(model) as seen:
            loss = criterion(model(x), y)
        loss.backward()
        seen["rnn"].steps["h"]    # float64 [places, time]
        print(seen)

    model    whose layers to observe, by their names in it; None: all that run, by class and number, "LSTM 1"
    Cost     none when not used; one number for each state when used. The gradients are what they would have been
    Is not   for torch.compile(fullgraph=True): while it is open, compiled code is left at each of our layers
    """
    seen = Seen(model)
    _open.append(seen)
    try:
        yield seen
    finally:
        _open.remove(seen)


def is_open() -> bool:
    """Whether anything is being observed."""
    return bool(_open)


def probes(
    module: nn.Module, layout: Layout, rows: Shaped[Tensor, "row feature"], entries: tuple[str, ...], places: int
) -> Sequence[Float[Tensor, "entry row"]] | None:
    """A probe for every place of a call that begins now; None unless somebody observes it."""
    if not _open or not torch.is_grad_enabled():
        return None
    if torch.compiler.is_compiling():  # a leaf that takes up a gradient cannot be born in a graph
        outside: Any = torch.compiler.disable(_new_probes)  # only here: the compiler takes a second to load
        return outside(module, layout, rows, entries, places)
    return _new_probes(module, layout, rows, entries, places)


def _new_probes(
    module: nn.Module, layout: Layout, rows: Tensor, entries: tuple[str, ...], places: int
) -> Sequence[Tensor] | None:
    observers = [seen for seen in _open if seen.wants(module)]
    if not observers:
        return None
    dtype = torch.promote_types(rows.dtype, torch.float32)
    size = (len(entries), rows.shape[0])
    found = [torch.zeros(size, dtype=dtype, device=rows.device).requires_grad_() for _ in range(places)]
    for seen in observers:
        seen.add(module, _Call(entries, layout, found))
    return found


def _line(steps: list[float], columns: int = 32) -> str:
    """First value, a chart of at most `columns` characters, last value."""
    count = min(columns, len(steps))
    shown = [steps[column * (len(steps) - 1) // max(1, count - 1)] for column in range(count)]
    logs = [math.log10(value) for value in shown if 0 < value < math.inf]
    low, high = min(logs, default=0.0), max(logs, default=0.0)
    chart = "".join(_block(value, low, high) for value in shown)
    return f"{steps[0]:8.1e} {chart} {steps[-1]:.1e}" if steps else "no steps"


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "?"
    if value == 0:
        return " "
    return BLOCKS[1 + round(7 * (math.log10(value) - low) / (high - low))] if high > low else BLOCKS[-1]
