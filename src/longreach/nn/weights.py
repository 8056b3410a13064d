"""How weights start."""

import torch
from torch import nn


def uniform(
    *shape: int, within: float, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> nn.Parameter:
    """A weight of this shape, drawn uniformly from ±within: torch's layers take 1/√H."""
    return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype).uniform_(-within, within))
