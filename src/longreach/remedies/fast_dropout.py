"""Fast dropout (Wang & Manning 2013, ICML; in recurrent layers Bayer et al. 2013, arXiv 1311.0701).

A sum of many units, each dropped by itself, is about Gaussian. So the mask is not drawn: mean and variance of the sum
are computed, and of what an activation makes of it. What is drawn is one number for each sum, not for each unit.
"""

from collections.abc import Callable
from functools import partial
from math import pi, sqrt
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent
from longreach.nn.cell import Step
from longreach.nn.gates import GateWrapper
from longreach.remedies.anatomy import activation_of, kind_of
from longreach.remedies.apart import generator_apart
from longreach.remedies.kept import put_around
from longreach.remedies.remedy import Remedy, applied, remember_hooks, wholly

M = TypeVar("M", bound=nn.Module)

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.RNNBase, nn.RNNCellBase, Recurrent)
POINTS, WEIGHTS = (part.tolist() for part in np.polynomial.hermite_e.hermegauss(15))
WEIGHTS = [weight / sum(WEIGHTS) for weight in WEIGHTS]
LEAST = 1e-12  # of a variance, whose root has no slope at 0


class Moments(NamedTuple):
    """Mean and variance of independent units."""

    mean: Tensor
    variance: Tensor


def dropped(x: Moments, weight: Tensor, p: float) -> Moments:
    """Of W(d·x) / q, d of each unit 1 with probability q = 1 - p, else 0: E = W m,  V = W² (p/q (m² + s²) + s²).

    The literature's form, without the division, has q E and q² V.
    """
    noise = p / (1 - p) * (x.mean.square() + x.variance) + x.variance
    return Moments(linear(x.mean, weight), linear(noise, weight.square()))


def relu_moments(a: Moments) -> Moments:
    """Of max(a, 0), a Gaussian: exact."""
    s = a.variance.clamp(min=LEAST).sqrt()
    z = a.mean / s
    below, density = torch.special.ndtr(z), torch.exp(-z.square() / 2) / sqrt(2 * pi)
    mean = below * a.mean + density * s
    return Moments(mean, (a.mean * s * density + (a.mean.square() + s.square()) * below - mean.square()).clamp(min=0))


def smooth_moments(activation: Callable[[Tensor], Tensor], a: Moments) -> Moments:
    """Of an activation of a Gaussian, at the points of Gauss and Hermite.

    Error      of mean and deviation: where that of a is at most 1, below 1e-6 for σ and below 4e-4 for tanh; where it
               is 3, 0.003 and 0.05
    Is not     the closed form of the paper, whose deviation is wrong by up to 0.16 for σ and 0.33 for tanh: of a unit
               that is certain, it would make noise
    """
    points = a.mean.new_tensor(POINTS)
    values = activation(a.mean[..., None] + a.variance.clamp(min=LEAST).sqrt()[..., None] * points)
    weights = a.mean.new_tensor(WEIGHTS)
    mean = values @ weights
    return Moments(mean, (values - mean[..., None]).square() @ weights)


MOMENTS: dict[str, Callable[[Moments], Moments]] = {
    "relu": relu_moments,
    "sigmoid": partial(smooth_moments, torch.sigmoid),
    "tanh": partial(smooth_moments, torch.tanh),
}


class Noise:
    """Standard normal numbers, drawn apart from the script's."""

    def __init__(self):
        self._generator = generator_apart("fast-dropout")

    def sample(self, of: Moments) -> Tensor:
        """One number of each."""
        drawn = torch.randn(of.mean.shape, generator=self._generator, dtype=of.mean.dtype)
        return of.mean + of.variance.clamp(min=LEAST).sqrt() * drawn.to(of.mean.device)


@wholly
def fast_dropout(module: M, *, p: float = 0.2) -> M:
    """In training, drop a share p of hidden units, by the mean and the variance that this gives to the next sums.

    Plain layers: each linear map but what comes first in the model gives a sample of W(d·x)/(1 - p) + b. Recurrent
    layers without gates, of tanh, sigmoid or relu: mean and variance of h go from step to step, its mask drawn anew at
    each; what the layer gives is a sample of every h.

    Promises   mean and variance of sums are those of dropout; in evaluation the model is what it was
    Changes    nothing but training. A recurrent layer keeps its weights, under the names cells.0.inner.weight_ih and so
               on, so make the optimizer after it
    Twice      is the same as once; the first p holds
    Undo       the noise leaves; a recurrent layer is back as it was before, with the weights from before
    Price      a second product for each of these layers; recurrent layers run as a loop, many times as slow
    Is not     for an LSTM or GRU, nor for convolutions: they are left alone. The units of a step are taken for
               independent of each other
    Raises     NotApplicable where there is no such layer; ArgumentError unless 0 < p < 1
    """
    if not 0 < p < 1:
        raise ArgumentError(f"p: expected a share, 0 < p < 1, got {p}")
    noise = Noise()
    treated = put_around(module, Dropped, "fast-dropout", fits=_fits, p=p, noise=noise)
    for layer in _later_maps(module):
        if "fast-dropout" not in applied(layer):
            hook = layer.register_forward_hook(_Sampled(p, noise).give)
            remember_hooks(layer, "fast-dropout", hook)
            treated += 1
    if not treated and "fast-dropout" not in applied(module):
        raise NotApplicable(
            "fast-dropout: expected a linear map behind another layer, or an RNN of tanh, sigmoid or relu, got "
            "neither; for an LSTM or GRU take variational-dropout"
        )
    return module


def _fits(layer: Any) -> bool:
    return kind_of(layer) == "rnn" and activation_of(layer) in MOMENTS


def _later_maps(module: nn.Module) -> list[nn.Linear]:
    """Linear maps, but not what a model begins with: inputs are not dropped."""
    closed = [part for part in module.modules() if isinstance(part, nn.MultiheadAttention)]
    within = {id(part) for whole in closed for part in whole.modules()}
    layers = [part for part in module.modules() if isinstance(part, LAYERS) and id(part) not in within]
    return [layer for layer in layers[1:] if isinstance(layer, nn.Linear)]


class _Sampled:
    """What a linear map gives in training."""

    def __init__(self, p: float, noise: Noise):
        self._p, self._noise = p, noise

    def give(self, layer: Any, given: tuple[Tensor], output: Tensor) -> Tensor | None:
        """As torch calls a forward hook."""
        if not layer.training:
            return None
        x = given[0].to(layer.weight.dtype)
        _, variance = dropped(Moments(x, torch.zeros_like(x)), layer.weight, self._p)
        return self._noise.sample(Moments(output, variance.to(output.dtype)))


class Dropped(GateWrapper):
    """Elman's network, in training by mean and variance of its h: what it shows is a sample of them.

    p, noise         share that is dropped of h on its way to the next step; what is drawn from
    inner, options   the cell, one without gates, of tanh, sigmoid or relu, and what else it is built with
    """

    names = ("mean",)

    def __init__(self, input_size: int, hidden_size: int, *, p: float, noise: Noise, **options: Any):
        super().__init__(input_size, hidden_size, **options)
        self.names = ("mean",)
        self.p, self.noise = p, noise

    def start(self, batch: int, *, like: Tensor) -> Moments:
        """Zeros, which are certain."""
        return Moments(self.inner.start(batch, like=like), self.inner.start(batch, like=like))

    def output(self, state: Moments) -> Tensor:
        """A sample; in evaluation the mean, whose variance is 0."""
        return self.noise.sample(state) if self.training else state.mean

    def begin(self, steps: int, batch: int, *, like: Tensor) -> Step:
        """The step."""
        return self

    def step(self, x: Tensor, state: Moments) -> Moments:
        """Moments of h after a step; in evaluation the inner cell's h."""
        inner: Any = self.inner
        if not self.training:
            return Moments(inner.step(x, state.mean, inner.recur), torch.zeros_like(state.variance))
        mean, variance = dropped(state, inner.weight_hh, self.p)
        bias = 0 if inner.bias_hh is None else inner.bias_hh
        return MOMENTS[inner.activation](Moments(x + mean + bias, variance))


REMEDY = Remedy(
    "fast-dropout",
    fast_dropout,
    "module",
    preserves=False,
    answers=(),
    cost="a second product for each linear map; a recurrent layer runs as a loop, many times as slow",
    source="Wang & Manning 2013, ICML; Bayer et al. 2013, arXiv 1311.0701",
)
