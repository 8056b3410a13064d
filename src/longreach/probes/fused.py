"""Reach of nn.RNN, nn.GRU and nn.LSTM: gain and signal of every layer and direction at one sampled step."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from longreach.probes.channel import Travel, sphere, travel
from longreach.probes.lags import lag_grid, split
from longreach.probes.replay import LONGEST_CHUNK, State, Strand, chunks, strands, turn_around
from longreach.probes.samples import Curve, LayerKey

# An error this much smaller than the row's largest is rounding, not a loss at that step.
NO_ERROR = 1e-6


@dataclass(frozen=True)
class FusedCall:
    """A few rows of one call of a fused layer, and the errors that arrived at it from above.

    start       the user's own hx, (h,) or (h, c) as (place, row, unit), or None
    error       ∂L/∂output, the direct part alone: exactly what a hook on the output sees
    last_error  ∂L/∂h_n and, for an LSTM, ∂L/∂c_n, as far as the loss reads them
    """

    module: nn.RNNBase
    inputs: Float[Tensor, "time row feature"]
    lengths: Int[Tensor, " row"]
    start: State | None
    error: Float[Tensor, "time row output"] | None
    last_error: State


def measure(call: FusedCall, name: str, step: int, generator: torch.Generator) -> list[tuple[LayerKey, Curve]]:
    """Curves of all layers and directions of the call's module.

    Cost: about two forward and two backward passes of the layer over these rows, in float64.
    """
    with torch.autocast(call.inputs.device.type, enabled=False):
        laid_out = list(strands(call.module, call.inputs, call.lengths, call.start, generator))
        errors = _direct_errors(call, [output for *_, output in laid_out])
        found = []
        for place, (layer, reverse, strand, _) in enumerate(laid_out):
            error = turn_around(errors[place], call.lengths) if reverse else errors[place]
            cell_error = call.last_error[1][place] if len(call.last_error) > 1 else None
            curve = _curve(strand, error.detach(), cell_error, call, step, generator)
            direction = "reverse" if reverse else "forward"
            key = LayerKey(name, kind_of(call.module.mode), layer, direction, call.module.hidden_size)
            found.append((key, curve))
    return found


def kind_of(mode: str) -> str:
    """The mode of a layer, as people write it: LSTM, RNN tanh, RNN leaky relu."""
    family, _, activation = mode.partition("_")
    return f"{family} {activation.lower().replace('_', ' ')}".rstrip()


def _direct_errors(call: FusedCall, outputs: list[Tensor]) -> list[Tensor]:
    """What arrives at each layer's output from above, in the module's time: ∂L/∂h_t through step t's own output."""
    directions = 2 if call.module.bidirectional else 1
    own = [torch.zeros_like(output) for output in outputs]
    if call.error is not None:
        for side, part in enumerate(call.error.to(own[0]).chunk(directions, dim=-1)):
            own[side - directions] += part
    for place, ended in enumerate(call.last_error[0] if call.last_error else ()):
        rows = torch.arange(ended.shape[0], device=ended.device)
        last = (call.lengths - 1).to(ended.device) if place % directions == 0 else torch.zeros_like(rows)
        own[place][last, rows] += ended.to(own[place])
    sent_down = []
    for place, output in enumerate(outputs):
        above = (place // directions + 1) * directions
        if above < len(outputs):
            (arrived,) = torch.autograd.grad(outputs[above:], output, own[above:], retain_graph=True)
            sent_down.append(own[place] + arrived)
        else:
            sent_down.append(own[place])
    return sent_down


def _curve(
    strand: Strand,
    error: Float[Tensor, "time row unit"],
    cell_error: Float[Tensor, "row unit"] | None,
    call: FusedCall,
    step: int,
    generator: torch.Generator,
) -> Curve:
    size = error.norm(dim=2)
    anchors = last_error_step(size, call.lengths)
    lags = lag_grid(int(anchors.max()))
    gain = np.full((len(lags), len(anchors)), np.nan)
    signal, subnormal = gain.copy(), gain.copy()
    for anchor in anchors.unique().tolist():
        rows = (anchors == anchor).nonzero()[:, 0]
        reached = lags[: sum(lag <= anchor for lag in lags)]
        borders = split(reached if reached[-1] == anchor else (*reached, anchor), LONGEST_CHUNK)
        read = [borders.index(lag) for lag in reached]
        stretches = chunks(strand.rows(rows), anchor, borders)
        where = np.ix_(range(len(reached)), rows.tolist())
        state = tuple(part[rows] for part in strand.start)
        gain[where] = travel(stretches, sphere(state, generator)).log_norm[read].cpu().numpy()
        seed = [error[anchor, rows], *(torch.zeros_like(part) for part in state[1:])]
        if cell_error is not None:
            ended = (call.lengths[rows.cpu()] - 1 == anchor).to(seed[1])
            seed[1] = cell_error[rows].to(seed[1]) * ended[:, None]
        sent = travel(stretches, tuple(seed))
        signal[where] = sent.log_norm[read].cpu().numpy()
        start = torch.cat(seed, dim=1).norm(dim=1).log()
        subnormal[where] = subnormal_share(sent, start, call.inputs.dtype)[read].cpu().numpy()
    return summarised(step, lags, gain, signal, subnormal)


def last_error_step(size: Float[Tensor, "time row"], lengths: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
    """Each row's last step at which an error arrives; its last step where none does."""
    steps = torch.arange(size.shape[0], device=size.device)[:, None]
    valid = steps < lengths.to(size.device)[None]
    size = torch.where(valid & size.isfinite(), size, 0.0)
    hit = size > NO_ERROR * size.amax(dim=0)
    last = torch.where(hit, steps, -1).amax(dim=0).cpu()
    return torch.where(last >= 0, last, lengths.cpu() - 1)


def subnormal_share(sent: Travel, start: Float[Tensor, " row"], dtype: torch.dtype) -> Float[Tensor, "border row"]:
    """Share of the entries of ∂L_t/∂s_{t-k} that `dtype` holds as subnormal numbers.

    NaN where no error was sent, and on devices other than the CPU, where subnormal numbers cost nothing.
    """
    limits = torch.finfo(dtype)
    entries = torch.stack(sent.unit).abs().double().log() + (sent.log_norm + start)[:, :, None]
    smallest = torch.tensor(limits.smallest_normal * limits.eps, dtype=torch.float64).log()
    below = entries < torch.tensor(limits.smallest_normal, dtype=torch.float64).log()
    share = (below & (entries >= smallest)).double().mean(dim=2)
    slow = share.device.type == "cpu"
    return torch.where(sent.log_norm[:1].isnan(), torch.nan, share) if slow else torch.full_like(share, torch.nan)


def summarised(step: int, lags: tuple[int, ...], gain: np.ndarray, signal: np.ndarray, subnormal: np.ndarray) -> Curve:
    """Medians over the anchors of one step; anchors at which nothing could be sent are left out."""
    sent = np.isfinite(signal[0])
    return Curve(
        step=step,
        lags=lags,
        log_gain=_medians(gain),
        log_signal=_medians(signal[:, sent]) if sent.any() else None,
        subnormal=_medians(subnormal[:, sent]) if sent.any() else None,
        flushed=flushes_subnormals(),
    )


def _medians(values: np.ndarray) -> tuple[float, ...]:
    rows = (row[~np.isnan(row)] for row in values)
    return tuple(float(np.median(row)) if row.size else float("nan") for row in rows)


def flushes_subnormals() -> bool:
    """Whether this thread's processor treats subnormal numbers as 0 (torch.set_flush_denormal)."""
    tiny = torch.tensor(torch.finfo(torch.float32).smallest_normal)
    return bool((tiny / 2).item() == 0.0)
