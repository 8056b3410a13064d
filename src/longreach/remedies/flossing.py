"""Gradient flossing (Engelken 2023, arXiv 2312.17306)."""

import itertools
import math
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent, cells
from longreach.nn.gates import GateCell
from longreach.remedies.adam import Adam
from longreach.remedies.anatomy import unshared
from longreach.remedies.first_forward import at_first_forward
from longreach.remedies.remedy import Remedy, remember_weights, wholly
from longreach.spectrum.lyapunov import frame
from longreach.spectrum.orbit import Orbit, orbits

M = TypeVar("M", bound=nn.Module)
Reader = nn.RNNBase | Recurrent

STEPS, ROWS = 50, 4  # of the inputs, at most; the paper has 55 steps and 16 sequences
SHARE = 0.06  # Adam's rate by the root of the mean square of W_hh: where weights are large, small steps change nothing
GROWN = 0.3  # ln of how much a gradient may have grown where it is cut, in chaos
CLOSE = 0.2  # λ · steps at which it stops: a gradient changes by a fifth on the way


@wholly
def flossing(module: M, *, count: int = 16, updates: int = 50) -> M:
    """Before training, move the `count` largest Lyapunov exponents λᵢ of every recurrent layer to 0.

    Adam on mean λᵢ², λᵢ those of longreach.lyapunov, differentiated through their QR decompositions. The layer is
    driven by its own inputs: 4 sequences, at most 50 steps, of its first forward pass in training. From the bottom up.

    Promises   mean λᵢ² is not larger than before, along these inputs: in `count` directions a gradient neither fades
               nor grows. From 0.43 to below 0.001 at torch's start (16 exponents of 64 units), a fifth in chaos
    Changes    W_hh and b_hh, in that first pass
    Twice      is the same as once
    Undo       the weights from before it
    Price      once, `updates` times or fewer: 50 steps forward and back with `count` vectors, in float64; some 2 s for
               a layer of 64 units on one core. Then nothing
    Leaves     a layer as it is whose states are not finite, or whose every direction is wiped out
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
    if len(unshared(found)) < len(found):
        raise NotApplicable(
            f"{verb}: expected recurrent layers with weights of their own, got some that two layers share; what suits "
            "the one does not suit the other"
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
        try:
            orbit = next(itertools.islice(orbits(reader, inputs), place, None))
        except ArgumentError:  # inputs or states that are not finite: the script's own trouble, told of by others
            return
        parts = {name: own for name in names if (own := getattr(orbit.cell, name)) is not None}
        with warnings.catch_warnings():  # torch's forward mode calls what torch says is deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            best = _flossed(orbit, list(parts.values()), count, updates)
        with torch.no_grad():
            for (name, _), value in zip(parts.items(), best, strict=True):
                getattr(owner, names[name]).copy_(value)


def _flossed(orbit: Orbit, weights: list[Tensor], count: int, updates: int) -> list[Tensor]:
    """Values of these weights of the orbit's cell at which mean λᵢ² was smallest."""
    best, least = [own.detach().clone() for own in weights], math.inf
    found = _exponents(orbit, min(count, orbit.states.shape[2]))
    lasting = int(found.isfinite().long().cumprod(0).sum())  # of rectifiers, those that are off wipe directions out
    rate = SHARE * weights[0].detach().square().mean().sqrt().item()
    for own in weights:
        own.requires_grad_()
    adam = Adam(weights, rate)
    for _ in range(updates if lasting else 0):
        # where orbits part, gradients through many steps are noise: they go back until they have grown by so much
        cut = math.ceil(GROWN / found[0].item()) if found[0] > 0 else 0
        with torch.enable_grad():
            found = _exponents(orbit, lasting, cut)
            loss = found.square().mean()
        if not loss.isfinite():
            break
        if loss.item() < least:
            best, least = [own.detach().clone() for own in weights], loss.item()
        if least <= (CLOSE / len(orbit.inputs)) ** 2:
            break
        adam.step(loss)
    return best


def _exponents(orbit: Orbit, count: int, cut: int = 0) -> Float[Tensor, " count"]:
    """The largest exponents under the weights that the orbit's cell has now, about in order.

    As longreach.lyapunov has them, but for directions that all but vanish, and differentiable; no gradient passes
    between steps t - 1 and t where t is a multiple of `cut`.
    """
    step = STEPS_OF.get(type(orbit.cell))
    state, q, logs = orbit.states[0], frame(orbit, count), []
    for t, x in enumerate(orbit.inputs):
        if cut and t % cut == 0:
            state, q = state.detach(), q.detach()
        state, q = step(orbit.cell, x, state, q) if step else orbit.step(t, state, q)
        q, r = torch.linalg.qr(q)
        logs.append(r.diagonal(dim1=1, dim2=2).abs().log())
    return torch.stack(logs[len(logs) // 5 :]).mean((0, 1))


# One step and the product J V of its Jacobian with vectors, written out: ten times sooner than forward mode.


def _elman(cell: Any, x: Tensor, h: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """J V = f' · (W V)."""
    with torch.enable_grad():
        sums = x + cell.recur(h)
        sums = sums if sums.requires_grad else sums.requires_grad_()
        after = cell.activated(sums)
        (slope,) = torch.autograd.grad(after.sum(), sums, create_graph=True)
    return after, slope[:, :, None] * (cell.weight_hh @ v)


def _gru(cell: Any, x: Tensor, h: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """J V = z V + (h - n) z' W_z V + (1 - z) n' (r W_n V + r' (W_n h + b_n) W_r V)."""
    (r, z, n), (r_h, z_h, n_h) = x.chunk(3, 1), cell.recur(h).chunk(3, 1)
    r, z = torch.sigmoid(r + r_h), torch.sigmoid(z + z_h)
    n = torch.tanh(n + r * n_h)
    factors = (1 - z) * (1 - n * n) * n_h * r * (1 - r), (h - n) * z * (1 - z), (1 - z) * (1 - n * n) * r
    pushed = torch.cat(factors, 1)[:, :, None] * (cell.weight_hh @ v)
    return (1 - z) * n + z * h, z[:, :, None] * v + sum(pushed.chunk(3, 1))


def _lstm(cell: Any, x: Tensor, state: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Of V_c: f V_c + c f' W_f V_h + g i' W_i V_h + i g' W_g V_h; of V_h: tanh(c) o' W_o V_h + o tanh'(c) that."""
    h, c = state.chunk(2, 1)
    of_h, of_c = v.chunk(2, 1)
    i, f, g, o = (x + cell.recur(h)).chunk(4, 1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    after = f * c + i * g
    shown = torch.tanh(after)
    factors = g * i * (1 - i), c * f * (1 - f), i * (1 - g * g), shown * o * (1 - o)
    *to_c, to_h = (torch.cat(factors, 1)[:, :, None] * (cell.weight_hh @ of_h)).chunk(4, 1)
    of_c = f[:, :, None] * of_c + sum(to_c)
    of_h = to_h + (o * (1 - shown * shown))[:, :, None] * of_c
    return torch.cat((o * shown, after), 1), torch.cat((of_h, of_c), 1)


STEPS_OF = {cells.Elman: _elman, cells.GRU: _gru, cells.LSTM: _lstm}


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
