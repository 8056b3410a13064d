"""The network that `longreach train` trains: symbols or numbers in, a recurrent stack, answers out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from longreach.errors import ArgumentError
from longreach.nn import Recurrent, cells
from longreach.nn.cell import Cell, State, each
from longreach.remedies.forget_bias import forget_bias
from longreach.remedies.linear_recurrent import BetweenActivations
from longreach.training.problem import Shape

EMBEDDING = 128  # numbers that a symbol becomes, at most
SHORTEST = 3  # steps that gates can start open for; below, all start alike


@dataclass(frozen=True)
class Choice:
    """A cell that can be trained, and how it starts when it is to remember `lag` steps.

    start      lag -> options of the cell
    gated      its gates start open for up to `lag` steps: the chrono start
    lr         step size that it learns with
    hidden     units that it does with, where data are drawn anew
    """

    name: str
    cell: Callable[..., Cell]
    start: Callable[[int], dict[str, Any]] = lambda lag: {}
    gated: bool = False
    lr: float = 2e-3
    hidden: int = 128


def _radius(lag: int) -> dict[str, Any]:
    """|λ| so that the slowest units keep 0.7 over a lag, the fastest 0.9 over a tenth of it."""
    return {"r_min": 0.9 ** (10 / max(lag, 10)), "r_max": 0.25 ** (1 / (4 * max(lag, 10)))}


CELLS = (
    Choice("lstm", cells.LSTM, gated=True),
    Choice("gru", cells.GRU, gated=True),
    Choice("min-gru", cells.MinGRU, lambda lag: {"chrono": max(lag, SHORTEST)}, lr=1e-2, hidden=32),
    Choice("phases", cells.Phases, lambda lag: {"lag": lag}, lr=1e-2),
    Choice("linear-recurrent", BetweenActivations, _radius),
    Choice("rnn", cells.Elman),
    Choice("lem", cells.LEM),
    Choice("orthogonal", cells.Orthogonal),
)


def choices(name: str) -> tuple[Choice, ...]:
    """The cells of a name: one, or several side by side, as in "min-gru+phases".

    Raises  ArgumentError if there is one that does not exist
    """
    known = {one.name: one for one in CELLS}
    parts = name.split("+")
    for part in parts:
        if part not in known:
            raise ArgumentError(
                f"cell {part!r}: expected one of {', '.join(known)}, or several side by side: min-gru+phases"
            )
    return tuple(known[part] for part in parts)


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network again.

    cell     a name, or several joined by "+": stacks side by side over the same input, which share the units
    hidden   units of a layer, all stacks together
    lag      steps that the cell starts to remember
    dropout  share of the outputs dropped between layers and before the answer, in training
    """

    shape: Shape
    cell: str
    hidden: int
    layers: int = 1
    lag: int = 32
    dropout: float = 0.0


class Network(nn.Module):
    """x -> embedding, for symbols -> recurrent stack -> linear answer at the steps that are asked.

    Call     network(x, asked, state=None, resets=None, *, hop=None) -> (answers, state)
    x        (B, T, I) numbers, or (B, T, 1) symbols; asked and resets (B, T)
    answers  (N, O), in the order of `asked`: sequence after sequence
    state    after the last step; with `hop` after so many steps, where the next window of a stream begins
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        shape, parts = architecture.shape, choices(architecture.cell)
        width = min(EMBEDDING, architecture.hidden) if shape.symbols else shape.inputs
        self.embedding = nn.Embedding(shape.inputs, width) if shape.symbols else None
        self.stacks = nn.ModuleList(_stack(one, width, len(parts), architecture) for one in parts)
        self.dropout = nn.Dropout(architecture.dropout)
        shown = sum(stack.cells[-1].output_size for stack in self.stacks)  # type: ignore[union-attr,index]
        self.head = nn.Linear(shown, shape.outputs)

    def zeros(self, batch: int, *, like: Tensor) -> State:
        """The state that a call without one starts from: a tuple, one state a stack."""
        return tuple(cast(Recurrent, stack).zeros(batch, like=like) for stack in self.stacks)

    def forward(
        self,
        x: Shaped[Tensor, "batch time input"],
        asked: Bool[Tensor, "batch time"],
        state: State | None = None,
        resets: Bool[Tensor, "batch time"] | None = None,
        *,
        hop: int | None = None,
    ) -> tuple[Float[Tensor, "answer output"], State]:
        """Answers, and the state to carry on."""
        rows = self.embedding(x.squeeze(2)) if self.embedding else x
        if hop is None or hop >= rows.shape[1]:
            shown, carried = self._through(rows, state, resets)
        else:
            parts = (None, None) if resets is None else (resets[:, :hop], resets[:, hop:])
            first, carried = self._through(rows[:, :hop], state, parts[0])
            rest, _ = self._through(rows[:, hop:], carried, parts[1])
            shown = torch.cat([first, rest], dim=1)
        return self.head(self.dropout(shown[asked])), carried

    def _through(self, rows: Tensor, state: State | None, resets: Tensor | None) -> tuple[Tensor, State]:
        states = (None,) * len(self.stacks) if state is None else state
        passed = [stack(rows, own, resets=resets) for stack, own in zip(self.stacks, states, strict=True)]
        shown = passed[0][0] if len(passed) == 1 else torch.cat([output for output, _ in passed], dim=2)
        return shown, tuple(ended for _, ended in passed)


def _stack(one: Choice, width: int, parts: int, architecture: Architecture) -> Recurrent:
    layers, lag = architecture.layers, architecture.lag
    stack = Recurrent(
        one.cell,
        width,
        max(1, architecture.hidden // parts),
        layers,
        batch_first=True,
        dropout=architecture.dropout if layers > 1 else 0.0,
        **one.start(lag),
    )
    if one.gated and lag > SHORTEST:
        forget_bias(stack, horizon=lag)
    return stack


def detached(state: State | None) -> State | None:
    """The state's values, without the way they were made: where truncated backpropagation stops."""
    return None if state is None else each(lambda entry: entry.detach(), state)
