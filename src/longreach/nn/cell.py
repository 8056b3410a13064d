"""How to write a cell.

A cell is one step and nothing else. This is a whole one:

    class Echo(Cell):
        \"\"\"hₜ = tanh(U xₜ + w hₜ₋₁), one number w for all units.\"\"\"

        def __init__(self, input_size, hidden_size, *, device=None, dtype=None):
            super().__init__(hidden_size)
            self.U = nn.Parameter(torch.randn(hidden_size, input_size, device=device, dtype=dtype))
            self.w = nn.Parameter(torch.ones((), device=device, dtype=dtype))

        def forward(self, x, h):
            return torch.tanh(x @ self.U.T + self.w * h)

`Recurrent(Echo, 3, 8, num_layers=2, bidirectional=True, cut=50)` gives it the loop, layers, directions, every layout,
truncation, clipping, resets, recomputation and the norms of its gradient; `longreach.testing.check_cell(Echo)` tells
whether it is one. What is worth adding, each when it is needed:

    start     when the state is more than one tensor of `hidden_size` numbers: a NamedTuple, entries [B, ...], whose
              `names` are then given too
    output    when the layer above shall see something other than the first entry of the state
    project   what does not depend on the state, for all steps at once: here x @ self.U.T, in one product instead of T
    begin     when something is drawn once for a whole sequence
    scan      when there is a faster way through all steps than one after the other; `fuses`, if not in all cases

A cell does not know the time. Whoever needs the number of steps since the start keeps it in the state (batchnorm.py),
where chunks and resets treat it rightly; so it is with states of long ago (delayed.py).
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar, Unpack, cast

from jaxtyping import Shaped
from torch import Tensor, nn

from longreach.kernels.walk import Steps

# a tensor [B, ...], or a tuple of states, best a NamedTuple
State: TypeAlias = Any
Step: TypeAlias = Callable[[Tensor, State], State]
S = TypeVar("S")


class Cell(nn.Module):
    """One step of a recurrent network: sₜ = f(xₜ, sₜ₋₁).

    hidden_size        numbers in the first entry of the state
    output_size        numbers in what `output` gives; hidden_size, if a cell does not say otherwise
    names              of the first entries of the state: those of which longreach.observe tells the gradients' norms
    independent_rows   no sequence of a batch sees another one, in training too. False is for batch normalisation

    Built as Cell(input_size, hidden_size, *, options, device=None, dtype=None). In training, a step may draw from
    torch's generators; in evaluation it draws nothing.
    """

    names: tuple[str, ...] = ("h",)
    independent_rows: bool = True

    def __init__(self, hidden_size: int, output_size: int | None = None):
        super().__init__()
        self.hidden_size = hidden_size
        self.output_size = hidden_size if output_size is None else output_size

    def forward(self, x: Shaped[Tensor, "batch projected"], state: State) -> State:
        """The state after a step, of the same shape as the one before it."""
        raise NotImplementedError(f"{type(self).__name__}.forward: expected a step, (x, state) -> state")

    def output(self, state: State) -> Shaped[Tensor, "batch output"]:
        """What the layer above sees of a state: its first entry."""
        return next(_flat(state))

    def start(self, batch: int, *, like: Tensor) -> State:
        """Zeros in the shape of a state, in dtype and on device of `like`. Another start is passed to the layer."""
        return like.new_zeros(batch, self.hidden_size)

    def project(self, x: Shaped[Tensor, "row input"]) -> Shaped[Tensor, "row projected"]:
        """Of all steps at once, what a step needs of its input: the input itself."""
        return x

    def begin(self, steps: int, batch: int, *, like: Tensor) -> Step:
        """Called once for a pass over sequences: the step to take through all of them.

        A cell that draws once for a sequence draws here, [B, ...], and gives a step that knows what was drawn. At a
        step of b rows, the sequences that are still running are the first b: `drawn[: len(x)]`. Do not store it in the
        cell: a step that is computed again, for its gradient, has to see the same.

        steps   of the longest sequence: how often the step is taken, not counting what is computed again
        batch   sequences
        like    of the dtype and on the device of the rows
        """
        return self

    def fuses(self, **steps: Unpack[Steps]) -> bool:
        """Whether `scan` is to be used, with these keywords; else the loop is."""
        return type(self).scan is not Cell.scan

    def scan(
        self, x: Shaped[Tensor, "row input"], state: State, **steps: Unpack[Steps]
    ) -> tuple[Shaped[Tensor, "row output"], State]:
        """All steps by a faster way than the loop: outputs, and the state after the last step.

        x is what the layer is given, not projected; the keywords are those of longreach.kernels.walk.walk.
        """
        raise NotImplementedError(f"{type(self).__name__}.scan: expected a loop; this cell has only its step")


class Wrapper(Cell):
    """A cell around another one: shows its state, its output and its rows as they are. For `around` to change.

    inner   what is wrapped: called as a cell's class is, with the options that the wrapper does not know
    """

    def __init__(self, inner: Callable[..., Cell], input_size: int, hidden_size: int, **options: Any):
        cell = inner(input_size, hidden_size, **options)
        super().__init__(cell.hidden_size, cell.output_size)
        self.inner = cell
        self.names, self.independent_rows = cell.names, cell.independent_rows

    def around(self, step: Step, x: Tensor, state: State) -> State:
        """A step of the wrapper, by one of what is inside."""
        raise NotImplementedError(f"{type(self).__name__}.around: expected a step, (step, x, state) -> state")

    def forward(self, x: Tensor, state: State) -> State:
        """One step."""
        return self.around(self.inner, x, state)

    def output(self, state: State) -> Tensor:
        """What the inner cell shows."""
        return self.inner.output(state)

    def start(self, batch: int, *, like: Tensor) -> State:
        """The inner cell's zeros."""
        return self.inner.start(batch, like=like)

    def project(self, x: Tensor) -> Tensor:
        """The inner cell's rows."""
        return self.inner.project(x)

    def begin(self, steps: int, batch: int, *, like: Tensor) -> Step:
        """A step around the inner cell's."""
        step = self.inner.begin(steps, batch, like=like)
        return lambda x, state: self.around(step, x, state)


def entries(state: State) -> tuple[Tensor, ...]:
    """The tensors of a state, from the first to the last."""
    return tuple(_flat(state))


def rebuilt(like: S, tensors: tuple[Tensor, ...]) -> S:
    """A state of the structure of `like`, made of these entries; the inverse of `entries`."""
    remaining = iter(tensors)
    return cast(S, _filled(like, remaining))


def each(function: Callable[..., Tensor], *states: S) -> S:
    """The function of every entry, or of the entries that correspond: a state again."""
    found = [function(*parts) for parts in zip(*map(entries, states), strict=True)]
    return rebuilt(states[0], tuple(found))


def _flat(state: State) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
        return
    for part in state:
        yield from _flat(part)


def _filled(like: State, remaining: Iterator[Tensor]) -> State:
    if isinstance(like, Tensor):
        return next(remaining)
    parts = [_filled(part, remaining) for part in like]
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)
