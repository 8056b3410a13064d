"""Adam for what a remedy learns by itself (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1).

Not torch.optim's: a watch counts every step of an optimizer of torch's for one of the script's, and `--steps` ends the
script by that count.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Moves tensors down a loss; their `.grad` is left alone."""

    def __init__(self, parameters: Iterable[Tensor], rate: float):
        self._parameters, self._rate, self._steps = list(parameters), rate, 0
        self._moments = [(torch.zeros_like(own), torch.zeros_like(own)) for own in self._parameters]

    def step(self, loss: Tensor) -> None:
        """One step down this loss."""
        gradients = torch.autograd.grad(loss, self._parameters)
        self._steps += 1
        with torch.no_grad():
            for own, gradient, (first, second) in zip(self._parameters, gradients, self._moments, strict=True):
                first.lerp_(gradient, 1 - FIRST)
                second.lerp_(gradient.square(), 1 - SECOND)
                deviation = (second / (1 - SECOND**self._steps)).sqrt_() + EPSILON
                own -= self._rate / (1 - FIRST**self._steps) * first / deviation
