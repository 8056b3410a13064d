"""Variational dropout (Gal & Ghahramani 2016, arXiv 1512.05287)."""

from typing import Any

import torch
from torch import Tensor

from longreach.errors import ArgumentError
from longreach.nn.cell import State, Step
from longreach.nn.gates import GateWrapper


class Variational(GateWrapper):
    """Gates see dₓ xₜ and dₕ hₜ₋₁ for xₜ and hₜ₋₁; dₓ, dₕ are drawn once for a sequence, the same at every step.

    d = Bernoulli(1 - p) / (1 - p) for every unit; 1 in evaluation.

    Jacobian   the inner cell's, its W_hh times diag(dₕ)
    Carries    what the inner cell carries: what passes by the gates, an LSTM's c or z·h in a GRU, is not dropped
    Equals     the inner cell with p = 0; the paper's "tied" form: all gates share a mask
    Is not     dropout at every step, which wears down what a network remembers; nor of the embedding
    Cost       one product with W_ih more at each step, and a loop: no fused form

    p_input, p_state   shares that are dropped
    generator          what masks are drawn from; None: torch's own
    inner, options     the cell, one with gates, and what else it is built with
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        p_input: float = 0.25,
        p_state: float = 0.25,
        generator: torch.Generator | None = None,
        **options: Any,
    ):
        for name, p in (("p_input", p_input), ("p_state", p_state)):
            if not 0 <= p < 1:
                raise ArgumentError(f"{name}: expected a share, 0 <= {name} < 1, got {p}")
        super().__init__(input_size, hidden_size, **options)
        self.p_input, self.p_state, self.generator = p_input, p_state, generator

    def step(self, x: Tensor, state: State) -> State:
        """The inner cell's; one step that is taken alone, without `begin`, knows of no masks."""
        return self.inner(self.inner.project(x) if self.training else x, state)

    def project(self, x: Tensor) -> Tensor:
        """In training the input itself, since every sequence has its own mask."""
        return x if self.training else self.inner.project(x)

    def begin(self, steps: int, batch: int, *, like: Tensor) -> Step:
        """Draw the masks of all sequences."""
        if not self.training:
            return self
        inner = self.inner
        of_input = self._mask(like.new_empty(batch, inner.input_size), self.p_input)
        of_state = self._mask(like.new_empty(batch, self.hidden_size), self.p_state)

        def step(x: Tensor, state: State) -> State:
            from_x = inner.project(x * of_input[: len(x)])
            return inner.step(from_x, state, lambda h: inner.recur(h * of_state[: len(h)]))

        return step

    def _mask(self, like: Tensor, p: float) -> Tensor:
        own = like if self.generator is None else like.to(self.generator.device)
        return own.bernoulli_(1 - p, generator=self.generator).to(like.device) / (1 - p)

    def extra_repr(self) -> str:
        """The shares."""
        return f"p_input={self.p_input}, p_state={self.p_state}"
