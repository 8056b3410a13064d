"""Layers upon layers, one or two directions each: written here once, for every recurrent network.

A *place* is one direction of one layer; place l·D + d is direction d of layer l, as in torch's h_0 and h_n.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]

# scan(x, state, *, reverse, probe, batch_sizes, resets) -> (rows, state after the last step)
Scan = Callable[..., tuple[Tensor, State]]


def apply_stack(
    layers: Sequence[Sequence[Scan]],
    x: Shaped[Tensor, "row feature"],
    state: State,
    *,
    dropout: float = 0.0,
    residual: bool = False,
    probes: Sequence[Tensor | None] | None = None,
    **steps: Tensor | None,
) -> tuple[Shaped[Tensor, "row unit"], State]:
    """Rows through every layer and direction: what the last layer gives, and the state that every place ends in.

    layers    for every layer its scans, one or two: scan(x, state, reverse=, probe=, **steps) -> (rows, state_n), where
              x is [N, P], state a tuple of [B, ...], one for each entry, and the second scan is given reverse=True
    state     one tensor [places, B, ...] for each entry
    dropout   share of the entries set to zero between two layers; 0 in evaluation. The numbers are drawn as torch's
              layers draw them on the CPU: the same seed drops the same entries
    residual  from the second layer on, a layer's input is added to its output (Wu et al. 2016, arXiv 1609.08144, 3.1)
    probes    for every place the probe of its scan; None: none
    steps     batch_sizes, resets: handed to every scan as they are
    """
    parts = [entry.unbind(0) for entry in state]
    ended: list[State] = []
    for number, scans in enumerate(layers):
        if number > 0 and dropout > 0:
            x = functional.dropout(x, dropout)
        outputs = []
        for reverse, scan in enumerate(scans):
            place = len(ended)
            start = tuple(part[place] for part in parts)
            probe = None if probes is None else probes[place]
            output, end = scan(x, start, reverse=bool(reverse), probe=probe, **steps)
            outputs.append(output)
            ended.append(end)
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        x = x + y if residual and number > 0 else y
    if len(ended) == 1:
        return x, tuple(entry.unsqueeze(0) for entry in ended[0])
    return x, tuple(torch.stack(entries) for entries in zip(*ended, strict=True))
