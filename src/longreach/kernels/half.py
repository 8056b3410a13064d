"""Sixteen bits hold too little of a state that is updated a thousand times: such scans are computed in 32."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)

Scan = TypeVar("Scan", bound=Callable[..., tuple[Tensor, ...]])


def widened(scan: Scan) -> Scan:
    """The scan, computed in float32 where its rows x are narrower; what it gives is rounded once, at the end."""

    @wraps(scan)
    def call(x: Tensor, *args: Any, **options: Any) -> tuple[Tensor, ...]:
        if x.dtype not in HALVES:
            return scan(x, *args, **options)
        wide = scan(_wide(x), *map(_wide, args), **{name: _wide(value) for name, value in options.items()})
        return tuple(result.to(x.dtype) for result in wide)

    return cast(Scan, call)


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in HALVES else value
