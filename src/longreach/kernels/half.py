"""Sixteen bits hold too little of a state that is updated a thousand times: such scans are computed in 32."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)

P = ParamSpec("P")
R = TypeVar("R", bound=tuple[Tensor, ...])


def widened(scan: Callable[P, R]) -> Callable[P, R]:
    """The scan, computed in float32 where its rows x are narrower; what it gives is rounded once, at the end."""

    @wraps(scan)
    def call(*args: P.args, **options: P.kwargs) -> R:
        dtype = args[0].dtype  # type: ignore[attr-defined]  # x comes first
        if dtype not in HALVES:
            return scan(*args, **options)
        wide: Any = scan(*map(_wide, args), **{name: _wide(value) for name, value in options.items()})  # type: ignore[arg-type]
        return tuple(result.to(dtype) for result in wide)  # type: ignore[return-value]

    return call


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in HALVES else value
