"""Recurrent batch normalisation (Cooijmans et al. 2016, arXiv 1603.09025)."""

from itertools import count
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longreach.errors import ArgumentError
from longreach.nn.cell import State, Step
from longreach.nn.cells.lstm import LSTM
from longreach.nn.gates import GateWrapper

GAIN = 0.1  # section 4: with 1, tanh and sigmoid saturate, and gradients vanish
MOMENTUM = 0.1
EPSILON = 1e-5


class Aged(NamedTuple):
    """A state, and for every sequence the number of steps since its start, [B, 1]."""

    state: State
    age: Tensor


class BatchNorm(GateWrapper):
    """Gates see norm(W_ih xₜ) + norm'(W_hh hₜ₋₁) + b for their sum; an LSTM shows o tanh(norm''(cₜ)).

    norm(a) = g (a - mean) / deviation over the sequences of the batch, apart for every step since their start; g starts
    at 0.1. In evaluation means and deviations are those of training, running averages.

    Jacobian   the inner cell's, its W_hh times g / deviation
    Carries    as the inner cell, at any size of its weights
    Equals     the paper's equations 6-8 around an LSTM
    Is not     for single sequences: a step of one alone takes the running statistics, in training too
    Cost       the norms at every step, and a loop: no fused form. Statistics are 2 · max_length · (2G + 1) · H numbers

    max_length       steps that have their own statistics; later ones have those of the last
    inner, options   the cell, one with gates, and what else it is built with
    """

    independent_rows = False

    def __init__(self, input_size: int, hidden_size: int, *, max_length: int, **options: Any):
        if max_length < 1:
            raise ArgumentError(f"max_length: expected a number of steps, 1 or more, got {max_length}")
        super().__init__(input_size, hidden_size, bias=False, **options)
        self.independent_rows = False
        weight = self.inner.weight_ih
        width, place = len(weight), {"device": weight.device, "dtype": weight.dtype}
        self.norm_x = StepNorm(max_length, width, **place)
        self.norm_h = StepNorm(max_length, width, **place)
        self.norm_c = StepNorm(max_length, hidden_size, **place) if isinstance(self.inner, LSTM) else None
        self.bias = nn.Parameter(torch.zeros(width, **place))
        self.bias_c = nn.Parameter(torch.zeros(hidden_size, **place)) if self.norm_c is not None else None

    def start(self, batch: int, *, like: Tensor) -> Aged:
        """Zeros, of age 0."""
        return Aged(self.inner.start(batch, like=like), like.new_zeros(batch, 1, dtype=torch.float32))

    def output(self, state: Aged) -> Tensor:
        """What the inner cell shows."""
        return self.inner.output(state.state)

    def begin(self, steps: int, batch: int, *, like: Tensor) -> Step:
        """A step that counts: one that is computed again, for its gradient, is not averaged again."""
        taken = count(1)
        return lambda x, state: self.step(x, state, average=next(taken) <= steps)

    def step(self, x: Tensor, state: Aged, *, average: bool = True) -> Aged:
        """The inner cell's step, with norms before its gates."""
        inner, norm_h, norm_c, (old, age) = self.inner, self.norm_h, self.norm_c, state
        x = self.norm_x(x, age, average) + self.bias
        if norm_c is None:
            new = inner.step(x, old, lambda h: norm_h(inner.recur(h), age, average))
        else:
            assert isinstance(inner, LSTM)
            new = inner.step(
                x,
                old,
                lambda h: norm_h(inner.recur(h), age, average),
                lambda c: torch.tanh(norm_c(c, age, average) + self.bias_c),
            )
        return Aged(new, age + 1)


class StepNorm(nn.Module):
    """Batch normalisation with statistics for each of the first `steps` steps; a gain, no bias."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, steps: int, width: int, **place: Any):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), GAIN, **place))
        self.register_buffer("running_mean", torch.zeros(steps, width, **place))
        self.register_buffer("running_var", torch.ones(steps, width, **place))

    def forward(
        self, a: Float[Tensor, "batch width"], age: Float[Tensor, "batch 1"], average: bool
    ) -> Float[Tensor, "batch width"]:
        """The rows, normalised; in training also averaged into the statistics of their steps."""
        step = age[:, 0].long().clamp(max=len(self.running_mean) - 1)
        if self.training and len(a) > 1:
            mean, var = a.mean(0), a.var(0, correction=0)
            if average:
                unbiased = var.detach() * len(a) / (len(a) - 1)
                self.running_mean[step] = self.running_mean[step].lerp(mean.detach(), MOMENTUM)
                self.running_var[step] = self.running_var[step].lerp(unbiased, MOMENTUM)
        else:
            mean, var = self.running_mean[step], self.running_var[step]
        return self.weight * (a - mean) * torch.rsqrt(var + EPSILON)
