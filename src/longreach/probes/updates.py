"""How far an optimizer step moves each matrix of weights, against its size.

Biases and gains are left out: many start at zero, where there is no size to compare with.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from longreach.probes.names import Names
from longreach.probes.probe import Look, Probe
from longreach.quantities.updates import Update

# Entries of one matrix that are looked at, evenly spaced: ratios of norms are then known to some 2 %.
MOST_ENTRIES = 2048


@dataclass(frozen=True)
class Matrix:
    """One parameter that the optimizer is about to update."""

    name: str
    module: str
    tensor: Tensor
    lr: float


class Updates(Probe):
    """‖Δw‖ / ‖w‖ of sampled steps, the way w has come since the first of them, and what rounding has kept in place.

    Cost   three strided copies of at most 2048 entries a matrix
    Blind  to parameters with fewer than two axes, and to those that a training loop updates by hand
    """

    def __init__(self):
        self._start: dict[str, np.ndarray] = {}
        self._about: list[Matrix] = []
        self._before: list[np.ndarray] = []

    def before_step(self, look: Look, optimizer: Optimizer) -> None:
        """Keep the weights as they are."""
        self._about = list(_matrices(optimizer, look.names))
        self._before = _entries([matrix.tensor for matrix in self._about])

    def after_step(self, look: Look, optimizer: Optimizer | None) -> None:
        """Compare."""
        about, before = self._about, self._before
        self._about, self._before = [], []
        if not about:
            return
        after = _entries([matrix.tensor for matrix in about])
        grads = {matrix.name: matrix.tensor.grad for matrix in about}
        dense = {name: grad for name, grad in grads.items() if grad is not None and grad.layout == torch.strided}
        known = dict(zip(dense, _entries(list(dense.values())), strict=True))
        for matrix, old, new in zip(about, before, after, strict=True):
            look.store.add(self._sample(look.step, type(optimizer).__name__, matrix, old, new, known.get(matrix.name)))

    def closed(self, look: Look) -> None:
        """A step that never came is over as well."""
        self._about, self._before = [], []

    def _sample(
        self, step: int, optimizer: str, matrix: Matrix, old: np.ndarray, new: np.ndarray, gradient: np.ndarray | None
    ) -> Update:
        name = matrix.name
        start = self._start.get(name)
        if start is None or start.shape != old.shape:
            start = self._start[name] = old
        unmoved = math.nan
        if gradient is not None and (given := gradient != 0).any():
            unmoved = float((new == old)[given].mean())
        return Update(
            place=name,
            step=step,
            module=matrix.module,
            size=matrix.tensor.numel(),
            dtype=str(matrix.tensor.dtype).removeprefix("torch."),
            optimizer=optimizer,
            lr=matrix.lr,
            ratio=_relative(new - old, old),
            moved=_relative(new - start, start),
            unmoved=unmoved,
        )


def _matrices(optimizer: Optimizer, names: Names) -> Iterator[Matrix]:
    owners = names.owners()
    count = 0
    for group in optimizer.param_groups:
        lr = group.get("lr", math.nan)
        for parameter in group["params"]:
            module, name = owners.get(parameter, ("", f"parameter {count}"))
            count += 1
            # of tensors spread over several processes, only the pieces could be seen
            if parameter.grad is None or parameter.dim() < 2 or type(parameter.detach()) is not Tensor:
                continue
            if parameter.layout == torch.strided and (parameter.is_floating_point() or parameter.is_complex()):
                yield Matrix(f"{module}.{name}" if module else name, module, parameter, float(lr))


def _entries(tensors: list[Tensor]) -> list[np.ndarray]:
    """Some entries of each tensor, copied in one go; a complex number counts as two."""
    if not tensors:
        return []
    picked = [_evenly(tensor.detach()) for tensor in tensors]
    together = torch.cat([part.to(picked[0].device) for part in picked]).cpu().double().numpy()
    return np.split(together, np.cumsum([len(part) for part in picked])[:-1])


def _evenly(tensor: Tensor) -> Tensor:
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)
    stride = -(-len(flat) // MOST_ENTRIES)
    # a stride that has a factor in common with the width would meet the same few columns again and again
    while math.gcd(stride, tensor.shape[-1]) > 1 and stride > 1:
        stride += 1
    return flat[::stride]


def _relative(change: np.ndarray, whole: np.ndarray) -> float:
    size = float(np.linalg.norm(whole))
    return float(np.linalg.norm(change)) / size if size > 0 else math.nan
