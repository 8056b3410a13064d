"""Reach of a model on one batch, without a training run."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from longreach.record import Record
from longreach.watching import Watch


def measure(model: nn.Module, batch: Any, loss: Callable[[Any, Any], Tensor]) -> Record:
    """One forward and one backward pass of `loss(model(x), y)` under watch; the record of what was seen.

    batch   (x, y); x a tensor, or a tuple of arguments for the model
    Leaves  parameters and their .grad as they were
    Is not  a diagnosis of a training run: one batch tells reach, but seldom has enough sequences to tell need
    """
    x, y = batch
    arguments = x if isinstance(x, tuple) else (x,)
    parameters = list(model.parameters())
    kept = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        with Watch(model) as watch, torch.enable_grad():
            value = loss(model(*arguments), y)
            value.backward()
            watch.step(value)
    finally:
        for parameter, grad in zip(parameters, kept, strict=True):
            parameter.grad = grad
    return watch.record()
