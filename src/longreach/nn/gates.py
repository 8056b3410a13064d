"""The weights that Elman's network, the GRU and the LSTM have in common, under torch's names."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from longreach.errors import ArgumentError
from longreach.nn.cell import Cell, State, Step, Wrapper

STARTS = ("uniform", "identity", "orthogonal")
Recur = Callable[[Tensor], Tensor]


class GateCell(Cell):
    """G gates, each of W_ih xₜ + b_ih, known for all steps at once, and W_hh hₜ₋₁ + b_hh, which is not.

    weight_ih [G·H, I], weight_hh [G·H, H], biases [G·H] or None: as in torch.nn.RNNCell, GRUCell and LSTMCell.

    start   of each square of weight_hh: "uniform", within ±1/√H as torch starts all weights; "identity" (Le, Jaitly &
            Hinton 2015, arXiv 1504.00941); "orthogonal" (Saxe, McClelland & Ganguli 2014, arXiv 1312.6120). The latter
            two also start all biases at zero
    gain    the last two times this number

    A kind of cell adds `step`; what comes between h and the gates (a mask, a norm) is put round `recur`.
    """

    gates: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        start: str = "uniform",
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(hidden_size)
        if start not in STARTS:
            raise ArgumentError(f"start: expected one of {', '.join(STARTS)}, got {start!r}")
        self.input_size, self.bias, self.initial, self.gain = input_size, bias, start, gain
        rows, place = self.gates * hidden_size, {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, **place))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size, **place))
        self.bias_ih = nn.Parameter(torch.empty(rows, **place)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(rows, **place)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every weight as it starts."""
        bound = self.hidden_size**-0.5 if self.hidden_size else 0.0
        for weight in self.weights():
            if weight is not None:
                nn.init.uniform_(weight, -bound, bound)
        if self.initial == "uniform":
            return
        begin = nn.init.eye_ if self.initial == "identity" else nn.init.orthogonal_
        for square in self.weight_hh.detach().split(self.hidden_size):
            begin(square).mul_(self.gain)
        for bias in (self.bias_ih, self.bias_hh):
            if bias is not None:
                nn.init.zeros_(bias)

    def project(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row gates"]:
        """W_ih xₜ + b_ih."""
        return linear(x, self.weight_ih, self.bias_ih)

    def recur(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch gates"]:
        """W_hh hₜ₋₁ + b_hh."""
        return linear(h, self.weight_hh, self.bias_hh)

    def step(self, x: Float[Tensor, "batch gates"], state: State, recur: Recur) -> State:
        """The state after a step, with `recur` for all that the gates see of h."""
        raise NotImplementedError(f"{type(self).__name__}.step: expected (x, state, recur) -> state")

    def forward(self, x: Float[Tensor, "batch gates"], state: State) -> State:
        """One step."""
        return self.step(x, state, self.recur)

    def weights(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """weight_ih, weight_hh, bias_ih, bias_hh: in the order of torch and of our kernels."""
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        """The arguments."""
        options = "" if self.bias else ", bias=False"
        if self.initial != "uniform":
            options += f", start={self.initial!r}" + (f", gain={self.gain}" if self.gain != 1 else "")
        return f"{self.input_size}, {self.hidden_size}{options}"


class GateWrapper(Wrapper):
    """A cell around one with gates: `step` for it to say, by the inner cell's step, what comes between state and gates.

    inner   one of GateCell: called as its class is, with the options that the wrapper does not know
    """

    inner: GateCell

    def __init__(self, input_size: int, hidden_size: int, *, inner: Callable[..., Cell], **options: Any):
        kind = getattr(inner, "func", inner)  # of a functools.partial
        if isinstance(kind, type) and not issubclass(kind, GateCell):
            raise ArgumentError(
                f"inner: expected a cell with gates, as Elman, GRU and LSTM, got {kind.__name__}; "
                f"{type(self).__name__} acts between its state and its gates"
            )
        super().__init__(inner, input_size, hidden_size, **options)

    def step(self, x: Tensor, state: State) -> State:
        """The state after a step."""
        raise NotImplementedError(f"{type(self).__name__}.step: expected (x, state) -> state")

    def forward(self, x: Tensor, state: State) -> State:
        """One step."""
        return self.step(x, state)

    def begin(self, steps: int, batch: int, *, like: Tensor) -> Step:
        """The step."""
        return self
