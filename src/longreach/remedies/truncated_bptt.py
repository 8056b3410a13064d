"""Truncated backpropagation through time (Williams & Peng 1990, Neural Computation 2:490-501).

Their BPTT(h; h'): every h' = k1 new steps, the gradient goes back through the latest h = k2 steps, and the state goes
forward for ever. To cut at fixed borders, as most scripts do, is k1 = k2: a step just behind a border then hears of
nothing before it. With k1 < k2 every step hears of at least k2 - k1 steps.
"""

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.anatomy import recurrent_layers
from longreach.remedies.instead import Instead, below
from longreach.remedies.remedy import Remedy, wholly

M = TypeVar("M", bound=nn.Module)
State = tuple[Tensor, ...]

K2 = 32  # of sequences on their own: a gradient that grows by a fifth at each step grows 300 times
OVERLAP = 4  # k2 / k1, and how many of its own windows a stream goes back through


@wholly
def truncated_bptt(module: M, *, k1: int | None = None, k2: int | None = None) -> M:
    """In training, send the gradient of every k1 steps back through at most k2 steps of a recurrent layer.

    In a call    of more than k2 steps, states come from a pass without gradients; then all windows of k2 steps run as
                 one batch, and of each the last k1 outputs count
    In a stream  where a script hands back the detached state that it got, the latest inputs of earlier calls run once
                 more in front of the new ones, from the state before them: the gradient goes beyond the call
    Defaults     k2 = 32 and k1 = k2/4; in a stream k1 is what the script reads at a call, and k2 = 4·k1
    Promises     the gradient of Williams & Peng's BPTT(k2; k1); exactly, if the weights have not moved in between
    Changes      no value in a call of its own, but for rounding. In a stream, what a step remembers is computed with
                 the weights of now, and not with those of then: values differ by as much as the weights have moved
    Twice        is the same as once; with other numbers, the later ones hold
    Undo         the layer's own forward; the weights stay as they are
    Price        k2/k1 times the steps, and one pass more without gradients; in a stream k2/k1 + 1 times; k2 inputs kept
    Is not       for what lies below the layer: inputs of earlier calls are constants. A stream starts anew where a
                 script changes the state of any of its sequences
    Raises       NotApplicable for cells, two directions, and dropout between layers, which would differ from pass to
                 pass; in the call, for packed sequences of more than k2 steps and for resets
    """
    k1, k2 = _chosen(k1, k2)
    layers = recurrent_layers(module, "truncated-bptt")
    fitting = [layer for layer in layers if isinstance(layer, nn.RNNBase) and _fits(layer)]
    if not fitting:
        raise NotApplicable(
            f"truncated-bptt: expected a torch RNN, GRU or LSTM of one direction, without dropout between its layers, "
            f"got {layers[0]}; a loop over cells can detach its state"
        )
    for layer in fitting:
        present = below(layer, Truncated)
        if present is None:
            Truncated(layer, k1, k2).put_in("truncated-bptt")
        else:
            present.k1, present.k2 = k1, k2
    return module


def _chosen(k1: int | None, k2: int | None) -> tuple[int | None, int | None]:
    for name, steps in (("k1", k1), ("k2", k2)):
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise ArgumentError(f"{name}: expected a number of steps, 1 or more, got {steps!r}")
    if k1 is not None and k2 is None:
        k2 = OVERLAP * k1
    if k1 is not None and k2 is not None and k1 > k2:
        raise ArgumentError(f"k1: expected no more steps than k2, got k1={k1} and k2={k2}: some would have no gradient")
    return k1, k2


def _fits(layer: nn.RNNBase) -> bool:
    return not layer.bidirectional and not (layer.dropout and layer.num_layers > 1)


@dataclass
class _Past:
    """The latest steps of a stream, at most k2, the state before them, and the one behind them, as it was given out."""

    inputs: Tensor
    start: State
    ended: State

    def leads_to(self, state: State) -> bool:
        """Whether a script hands back what it got."""
        pairs = zip(self.ended, state, strict=True)
        return all(own.shape == given.shape and torch.equal(own, given) for own, given in pairs)


class Truncated(Instead):
    """A forward that sends its gradient back by windows."""

    def __init__(self, layer: nn.RNNBase, k1: int | None, k2: int | None):
        super().__init__(layer)
        self.k1, self.k2 = k1, k2
        self._past: _Past | None = None

    def __call__(self, input: Tensor | PackedSequence, hx: Any = None, **options: Any) -> tuple[Any, Any]:
        """Outputs of all steps, and the state after the last."""
        if not (torch.is_grad_enabled() and self._layer.training):
            return self.plain(input, hx, **options)
        if isinstance(input, PackedSequence) or options.get("resets") is not None:
            return self._unbroken(input, hx, **options)
        lone = input.dim() == 2
        x = input[:, None] if lone else input.transpose(0, 1) if self._layer.batch_first else input
        output, state = self._windows(x, self._start(x, hx, lone))
        if lone:
            output, state = output[:, 0], tuple(entry[:, 0] for entry in state)
        elif self._layer.batch_first:
            output = output.transpose(0, 1)
        return output, self._as_given(state)

    def _unbroken(self, input: Tensor | PackedSequence, hx: Any, **options: Any) -> tuple[Any, Any]:
        """What cannot be taken apart, as long as it need not be."""
        sequences = len(input.batch_sizes) if isinstance(input, PackedSequence) else input.shape[0]
        if isinstance(input, PackedSequence) and sequences <= (self.k2 or K2) and options.get("resets") is None:
            self._past = None
            return self.plain(input, hx, **options)
        raise NotApplicable(
            "truncated-bptt: expected a tensor without resets, got "
            + ("resets" if options.get("resets") is not None else f"packed sequences of up to {sequences} steps")
            + "; give sequences of one length as a tensor, or longreach.nn's layers the option cut"
        )

    def _start(self, x: Tensor, hx: Any, lone: bool) -> State:
        if hx is not None:
            given = hx if isinstance(hx, (tuple, list)) else (hx,)
            return tuple(entry[:, None] if lone else entry for entry in given)
        layer = self._layer
        widths = (layer.proj_size or layer.hidden_size, layer.hidden_size)[: 2 if layer.mode == "LSTM" else 1]
        return tuple(x.new_zeros(layer.num_layers, x.shape[1], width) for width in widths)

    def _run(self, x: Tensor, start: State) -> tuple[Tensor, State]:
        """The layer itself: time, batch, feature."""
        steps = x.transpose(0, 1) if self._layer.batch_first else x
        output, state = self.plain(steps, self._as_given(start))
        return output.transpose(0, 1) if self._layer.batch_first else output, state if len(start) > 1 else (state,)

    def _as_given(self, state: State) -> Any:
        """A state as the layer takes and gives it."""
        return state if self._layer.mode == "LSTM" else state[0]

    def _windows(self, new: Tensor, start: State) -> tuple[Tensor, State]:
        past, self._past = self._past, None
        follows = past is not None and not any(entry.requires_grad for entry in start) and past.leads_to(start)
        k1, k2 = self._steps(len(new), follows=follows)
        x, start, old = self._with_past(cast(_Past, past), new, k2 - k1) if follows else (new, start, 0)

        # The first window starts where everything starts, so it may hold more than one block.
        first = len(x) if len(x) <= k2 else old + (k2 - old) // k1 * k1
        ends = [*range(first + k1, len(x) + 1, k1)]
        if (len(x) - first) % k1:
            ends.append(len(x))
        starts = self._states_at([end - k2 for end in ends], x, start)
        output, state = self._run(x[:first], start)
        parts = [output[old:]]
        if ends:
            together = torch.stack([x[end - k2 : end] for end in ends], dim=1)
            states = tuple(torch.stack(entries, dim=1).flatten(1, 2) for entries in zip(*starts, strict=True))
            output, state = self._run(together.flatten(1, 2), states)
            outputs = output.unflatten(1, (len(ends), -1)).unbind(1)
            news = [end - before for before, end in zip([first, *ends], ends, strict=False)]
            parts += [output[-count:] for count, output in zip(news, outputs, strict=True)]
            state = tuple(entry.unflatten(1, (len(ends), -1))[:, -1] for entry in state)

        kept, before = (x[-k2:], starts[-1]) if ends else (x, tuple(entry.detach() for entry in start))
        self._past = _Past(kept.detach().clone(), before, tuple(entry.detach().clone() for entry in state))
        return torch.cat(parts), state

    def _steps(self, length: int, *, follows: bool) -> tuple[int, int]:
        """k1 and k2 of a call of this length."""
        if follows:
            k2 = self.k2 or OVERLAP * length
            return min(self.k1 or length, length, k2), k2
        k2 = self.k2 or K2
        return self.k1 or max(k2 // OVERLAP, 1), k2

    def _with_past(self, past: _Past, new: Tensor, most: int) -> tuple[Tensor, State, int]:
        """What has to run: at most so many earlier steps and the new ones, and the state before them."""
        spare = max(len(past.inputs) - most, 0)
        start = past.start
        if spare:
            with torch.no_grad():
                _, start = self._run(past.inputs[:spare], start)
        return torch.cat((past.inputs[spare:], new)), start, len(past.inputs) - spare

    @torch.no_grad()
    def _states_at(self, places: list[int], x: Tensor, start: State) -> list[State]:
        """The states before these steps, in the order of time."""
        found, here = [], 0
        for place in places:
            if place > here:
                _, start = self._run(x[here:place], start)
            found.append(start)
            here = place
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_past": None}


REMEDY = Remedy(
    "truncated-bptt",
    truncated_bptt,
    "module",
    preserves=True,
    answers=("truncated-too-short", "exploding-in-time"),
    cost="four times the steps, and one pass without gradients more",
    source="Williams & Peng 1990, Neural Computation 2:490-501",
)
