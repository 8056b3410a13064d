"""Reach of nn.RNN, nn.GRU, nn.LSTM and longreach.nn.Recurrent: gain and signal of all their layers at a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from longreach.probes.channel import Travel, side_by_side, sphere, travel
from longreach.probes.lags import lag_grid, split
from longreach.probes.replay import LONGEST_CHUNK, AnyStrand, Place, State, chunks, strands, turn_around
from longreach.probes.samples import Curve, LayerKey

# An error this much smaller than the row's largest is rounding, not a loss at that step.
NO_ERROR = 1e-6


@dataclass(frozen=True)
class FusedCall:
    """A few rows of one call of a fused layer, and the errors that arrived at it from above.

    module      one of torch's or ours, or a longreach.nn.Recurrent
    start       the user's own state, (h,), (h, c) or as the cells have it, as (place, row, ...), or None
    error       ∂L/∂output, the direct part alone: exactly what a hook on the output sees
    last_error  ∂L/∂ of the entries of the last state, if the loss reads any of it, else empty
    """

    module: Any
    inputs: Float[Tensor, "time row feature"]
    lengths: Int[Tensor, " row"]
    start: State | None
    error: Float[Tensor, "time row output"] | None
    last_error: State


def measure(call: FusedCall, name: str, step: int, generator: torch.Generator) -> list[tuple[LayerKey, Curve]]:
    """Curves of all layers and directions of the call's module.

    Cost: about two forward and two backward passes of the layer over these rows, in float64.
    """
    with _laid_out(call, generator) as places:
        found = []
        for number, (errors, place) in enumerate(zip(_direct_errors(call, places), places, strict=True)):
            errors = turn_around(errors, call.lengths) if place.reverse else errors
            last = _last(call, place, number)
            curve = _curve(place.strand, errors.detach(), last, call, step, generator)
            direction = "reverse" if place.reverse else "forward"
            found.append((LayerKey(name, _kind(call, number), place.layer, direction, call.module.hidden_size), curve))
        return found


@contextmanager
def _laid_out(call: FusedCall, generator: torch.Generator) -> Iterator[list[Place]]:
    """All layers and directions, run over all steps."""
    given = (call.module, call.inputs, call.lengths, call.start, generator)
    with torch.autocast(call.inputs.device.type, enabled=False):
        if isinstance(call.module, nn.RNNBase):
            yield list(strands(*given))
            return
        from longreach.probes import cells  # which loads longreach.nn: here it is there already

        with cells.unnoticed(call.inputs.device):
            yield list(cells.strands(*given))


def _kind(call: FusedCall, place: int) -> str:
    if isinstance(call.module, nn.RNNBase):
        return kind_of(call.module.mode)
    from longreach.probes import cells

    return cells.kind_of(call.module.cells[place])


def kind_of(mode: str) -> str:
    """The mode of a layer, as people write it: LSTM, RNN tanh, RNN leaky relu."""
    family, _, activation = mode.partition("_")
    return f"{family} {activation.lower().replace('_', ' ')}".rstrip()


def _direct_errors(call: FusedCall, places: list[Place]) -> list[Tensor]:
    """What arrives at each layer's output from above, in the module's time: ∂L/∂h_t through step t's own output."""
    directions = 2 if call.module.bidirectional else 1
    own = [torch.zeros_like(place.output) for place in places]
    if call.error is not None:
        # a residual network's output is the sum of those of all its layers
        shown = own if getattr(call.module, "residual", False) else own[-directions:]
        for number, error in enumerate(shown):
            error += call.error.to(error).chunk(directions, dim=-1)[number % directions]
    sent_down = []
    for number, place in enumerate(places):
        above = (number // directions + 1) * directions
        sources, errors = [other.output for other in places[above:]], own[above:]
        for higher, other in enumerate(places[above:], above) if call.last_error else ():
            sources += other.ended
            errors += [e.to(s) for e, s in zip(_last(call, other, higher), other.ended, strict=True)]
        if sources:
            (arrived,) = torch.autograd.grad(sources, place.output, errors, retain_graph=True)
            sent_down.append(own[number] + arrived)
        else:
            sent_down.append(own[number])
    return sent_down


def _last(call: FusedCall, place: Place, number: int) -> State:
    """∂L/∂ of the state that a place ends in."""
    return place.strand.passing(tuple(part[number] for part in call.last_error)) if call.last_error else ()


def _curve(
    strand: AnyStrand,
    error: Float[Tensor, "time row unit"],
    last_error: State,
    call: FusedCall,
    step: int,
    generator: torch.Generator,
) -> Curve:
    ends = (call.lengths - 1).to(error.device)
    size = error.norm(dim=2)
    if last_error:
        size[ends, torch.arange(len(ends), device=ends.device)] += side_by_side(last_error, 0).to(size).norm(dim=1)
    anchors = last_error_step(size, call.lengths)
    lags = lag_grid(int(anchors.max()))
    gain = np.full((len(lags), len(anchors)), np.nan)
    signal, subnormal = gain.copy(), gain.copy()
    for anchor in anchors.unique().tolist():
        rows = (anchors == anchor).nonzero()[:, 0].to(error.device)
        reached = lags[: sum(lag <= anchor for lag in lags)]
        borders = split(reached if reached[-1] == anchor else (*reached, anchor), LONGEST_CHUNK)
        read = [borders.index(lag) for lag in reached]
        some = strand.rows(rows)
        stretches, state = chunks(some, anchor, borders)
        where = np.ix_(range(len(reached)), rows.tolist())
        passing = some.passing(state)
        gain[where] = travel(stretches, sphere(passing, generator)).log_norm[read].cpu().numpy()
        seed = some.arriving(state, error[anchor, rows])
        if last_error:
            ended = (ends[rows] == anchor).to(error)
            more = (torch.einsum("r...,r->r...", part[rows].to(error), ended) for part in last_error)
            seed = tuple(one + other for one, other in zip(seed, more, strict=True))
        sent = travel(stretches, seed)
        signal[where] = sent.log_norm[read].cpu().numpy()
        start = side_by_side(seed, 0).norm(dim=1).log()
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
