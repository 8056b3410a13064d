"""The network that `longreach train` trains: symbols or numbers in, a recurrent stack, answers out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

    start  lag -> options of the cell
    gated  its gates start open for up to `lag` steps: the chrono start
    is_linear  linear in its state: nothing of what it remembers is lost to what it does with it
    automatic  taken without being asked for, in the order of CELLS
    lr         step size that it learns with
    """

    name: str
    cell: Callable[..., Cell]
    start: Callable[[int], dict[str, Any]] = lambda lag: {}
    gated: bool = False
    is_linear: bool = False
    automatic: bool = False
    lr: float = 2e-3


def _radius(lag: int) -> dict[str, Any]:
    """|λ| so that the slowest units keep 1/e over 4 lags, the fastest over a tenth of the lag."""
    return {"r_min": 0.9 ** (10 / max(lag, 10)), "r_max": 0.25 ** (1 / (4 * max(lag, 10)))}


def _lasting(lag: int) -> dict[str, Any]:
    return {"chrono": max(lag, SHORTEST)}


CELLS = (
    Choice("lstm", cells.LSTM, gated=True, automatic=True),
    Choice("gru", cells.GRU, gated=True),
    Choice("min-gru", cells.MinGRU, _lasting, is_linear=True, automatic=True, lr=1e-2),
    Choice("linear-recurrent", BetweenActivations, _radius, is_linear=True, automatic=True),
    Choice("rnn", cells.Elman),
    Choice("lem", cells.LEM),
    Choice("orthogonal", cells.Orthogonal),
)


def choice(name: str) -> Choice:
    """The cell of this name.

    Raises  ArgumentError if there is none
    """
    for one in CELLS:
        if one.name == name:
            return one
    raise ArgumentError(f"cell {name!r}: expected one of {', '.join(one.name for one in CELLS)}")


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network again.

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
        shape, one = architecture.shape, choice(architecture.cell)
        self.embedding = nn.Embedding(shape.inputs, min(EMBEDDING, architecture.hidden)) if shape.symbols else None
        self.recurrent = Recurrent(
            one.cell,
            self.embedding.embedding_dim if self.embedding else shape.inputs,
            architecture.hidden,
            architecture.layers,
            batch_first=True,
            dropout=architecture.dropout if architecture.layers > 1 else 0.0,
            **one.start(architecture.lag),
        )
        if one.gated:
            forget_bias(self.recurrent, horizon=max(architecture.lag, SHORTEST))
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(self.recurrent.cells[-1].output_size, shape.outputs)

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
            shown, carried = self.recurrent(rows, state, resets=resets)
        else:
            parts = (None, None) if resets is None else (resets[:, :hop], resets[:, hop:])
            first, carried = self.recurrent(rows[:, :hop], state, resets=parts[0])
            rest, _ = self.recurrent(rows[:, hop:], carried, resets=parts[1])
            shown = torch.cat([first, rest], dim=1)
        return self.head(self.dropout(shown[asked])), carried


def detached(state: State | None) -> State | None:
    """The state's values, without the way they were made: where truncated backpropagation stops."""
    return None if state is None else each(lambda entry: entry.detach(), state)
