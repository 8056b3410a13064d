"""Gradient flossing (Engelken 2023, arXiv 2312.17306)."""

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent
from longreach.nn.gates import GateCell
from longreach.remedies.first_forward import at_first_forward
from longreach.remedies.remedy import Remedy, remember_weights
from longreach.spectrum.lyapunov import frame
from longreach.spectrum.orbit import Orbit, orbits

M = TypeVar("M", bound=nn.Module)
Reader = nn.RNNBase | Recurrent

STEPS, ROWS = 50, 4  # of the inputs, at most; the paper has 55 steps and 16 sequences
RATE = 0.01  # Adam's
CLOSE = 0.2  # λ · steps at which it stops: a gradient changes by a fifth on the way


def flossing(module: M, *, count: int = 16, updates: int = 50) -> M:
    """Before training, move the `count` largest Lyapunov exponents λᵢ of every recurrent layer to 0.

    Adam on mean λᵢ², λᵢ those of longreach.lyapunov, differentiated through their QR decompositions. The layer is
    driven by its own inputs: 4 sequences, at most 50 steps, of its first forward pass in training. From the bottom up.

    Promises   mean λᵢ² is not larger than before, along these inputs: in `count` directions a gradient neither fades
               nor grows
    Changes    W_hh and b_hh, in that first pass
    Twice      is the same as once
    Undo       the weights from before it
    Price      once, `updates` times or fewer: 50 steps forward and back with `count` vectors, in float64; some 3 s for
               a layer of 64 units on one core. Then nothing
    Is not     kept during training; the paper flosses again later, from the script call it again
    Raises     NotApplicable where no layer reads whole sequences, as a bare cell; ArgumentError for a count below 1
    """
    if count < 1 or updates < 1:
        raise ArgumentError(f"count, updates: expected whole numbers above 0, got {count} and {updates}")
    for reader in readers(module, "flossing"):
        for owner in {id(owner): owner for owner, *_ in _places(reader)}.values():
            remember_weights(owner, "flossing")
        at_first_forward(reader, "flossing", partial(_floss, count=count, updates=updates))
    return module


def readers(module: nn.Module, verb: str) -> list[Reader]:
    """All modules within that read whole sequences with gates, or with W_hh alone."""
    found = [part for part in module.modules() if isinstance(part, nn.RNNBase) or _has_gates(part)]
    if not found:
        raise NotApplicable(
            f"{verb}: expected an RNN, GRU or LSTM that reads whole sequences, or a model that holds one, got "
            f"{type(module).__name__}, which has none; of a cell that is called step by step the inputs are not known"
        )
    for part in found:
        if any(parametrize.is_parametrized(inner) for inner in part.modules()):
            raise NotApplicable(
                f"{verb}: expected recurrent weights that are parameters, got a {type(part).__name__} that computes "
                "them from others, as after orthogonal, whose exponents are 0 up to f' already"
            )
    return found  # type: ignore[return-value]


def _has_gates(part: nn.Module) -> bool:
    return isinstance(part, Recurrent) and all(isinstance(cell, GateCell) for cell in part.cells)


def _places(reader: Reader) -> Iterator[tuple[nn.Module, dict[str, str]]]:
    """Of every layer and direction: who holds its weights, and their names there by those in a cell."""
    learned = ("weight_hh", "bias_hh")
    if isinstance(reader, Recurrent):
        yield from ((cell, {name: name for name in learned}) for cell in reader.cells)
        return
    for names in reader._all_weights:
        yield reader, {start: name for start in learned for name in names if name.startswith(start)}


def _floss(reader: Any, input: Tensor | PackedSequence, *, count: int, updates: int) -> None:
    inputs = _excerpt(reader, input)
    for place, (owner, names) in enumerate(_places(reader)):
        orbit = next(itertools.islice(orbits(reader, inputs), place, None))
        parts = {name: own for name in names if (own := getattr(orbit.cell, name)) is not None}
        best = _flossed(orbit, list(parts.values()), count, updates)
        with torch.no_grad():
            for (name, _), value in zip(parts.items(), best, strict=True):
                getattr(owner, names[name]).copy_(value)


def _flossed(orbit: Orbit, weights: list[Tensor], count: int, updates: int) -> list[Tensor]:
    """Values of these weights of the orbit's cell at which mean λᵢ² was smallest."""
    best, least = [own.detach().clone() for own in weights], math.inf
    found = _exponents(orbit, min(count, orbit.states.shape[2]))
    lasting = int(found.isfinite().long().cumprod(0).sum())  # of rectifiers, those that are off wipe directions out
    adam = torch.optim.Adam([own.requires_grad_() for own in weights], lr=RATE)
    for _ in range(updates if lasting else 0):
        # where orbits part, so do their gradients with the number of steps: they go back until they have grown by e
        cut = math.ceil(1 / found[0].item()) if found[0] > 0 else 0
        with torch.enable_grad():
            found = _exponents(orbit, lasting, cut)
            loss = found.square().mean()
        if not loss.isfinite():
            break
        if loss.item() < least:
            best, least = [own.detach().clone() for own in weights], loss.item()
        if least <= (CLOSE / len(orbit.inputs)) ** 2:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
    return best


def _exponents(orbit: Orbit, count: int, cut: int = 0) -> Float[Tensor, " count"]:
    """The largest exponents under the weights that the orbit's cell has now, about in order.

    As longreach.lyapunov has them, but for directions that all but vanish, and differentiable; no gradient passes
    between steps t - 1 and t where t is a multiple of `cut`.
    """
    state, q, logs = orbit.states[0], frame(orbit, count), []
    for t in range(len(orbit.inputs)):
        if cut and t % cut == 0:
            state, q = state.detach(), q.detach()
        state, q = orbit.step(t, state, q)
        q, r = torch.linalg.qr(q)
        logs.append(r.diagonal(dim1=1, dim2=2).abs().log())
    return torch.stack(logs[len(logs) // 5 :]).mean((0, 1))


def _excerpt(reader: Reader, input: Tensor | PackedSequence) -> Tensor:
    """A few sequences of what the reader is given, in its own layout, without padding."""
    if isinstance(input, PackedSequence):
        rows, lengths = pad_packed_sequence(input, batch_first=reader.batch_first)
        longest = lengths.argsort(descending=True)[:ROWS]
        steps = min(STEPS, int(lengths[longest].min()))
        return rows[longest, :steps] if reader.batch_first else rows[:steps, longest]
    if input.dim() == 2:
        return input[:STEPS].detach()
    return (input[:ROWS, :STEPS] if reader.batch_first else input[:STEPS, :ROWS]).detach()


REMEDY = Remedy(
    "flossing",
    flossing,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "exploding-in-time"),
    cost="a few seconds once, then nothing",
    source="Engelken 2023, arXiv 2312.17306",
)
