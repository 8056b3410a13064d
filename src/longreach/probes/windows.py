"""Windows of a stream, put together again: what a layer was driven by across the cuts of truncated backpropagation.

A gradient ends where the state was detached; a need does not. Calls that go on from the very state in which the call
before had ended belong to one stream, and what drove them is recorded in one piece.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from longreach.probes.loop import Chain
from longreach.probes.pairs import Driven
from longreach.probes.trace import FusedVisit
from longreach.quantities.windows import Window

State = tuple[Tensor, ...]

# One piece holds so many windows, and more of short ones, to make so many steps; at most so many steps and numbers.
WINDOWS, FEWEST_STEPS, MOST_STEPS, MOST_NUMBERS = 8, 64, 1024, 8_000_000


@dataclass(frozen=True)
class Cut:
    """One call that a gradient passes through, and the states at its ends.

    entered  the state it was given, if that was not zero and no gradient passes on through it; else empty
    left     the state in which it ended; empty where that is not known
    """

    driven: Driven
    entered: State
    left: State

    @property
    def length(self) -> int:
        """Steps in it."""
        return self.driven.inputs.shape[0]


@dataclass
class Piece:
    """Calls in a row, each of which goes on from the one before; `step` is the training step of the last."""

    cuts: list[Cut]
    step: int

    @property
    def length(self) -> int:
        """Steps in it."""
        return sum(cut.length for cut in self.cuts)

    @property
    def is_full(self) -> bool:
        """Whether it holds as much as it should."""
        return len(self.cuts) >= WINDOWS and self.length >= FEWEST_STEPS

    def has_room(self, cut: Cut) -> bool:
        """Whether one more call fits in."""
        first, last = self.cuts[0].driven, cut.driven
        same = first.inputs.shape[1:] == last.inputs.shape[1:] and first.errors.shape[1:] == last.errors.shape[1:]
        length = self.length + cut.length
        small = length <= MOST_STEPS and length * last.errors[0].numel() <= MOST_NUMBERS
        return same and first.tokens == last.tokens and small and not self.is_full

    def joined(self) -> Driven:
        """What drove all of it, and all its errors."""
        parts = [cut.driven for cut in self.cuts]
        inputs, errors = torch.cat([part.inputs for part in parts]), torch.cat([part.errors for part in parts])
        return Driven(inputs, errors, torch.stack([part.lengths for part in parts]).sum(0), parts[0].tokens)


class Stream:
    """What one module reads, call after call.

    Calls are given back at once where nothing was found to be carried over, and else once their piece is complete.
    """

    def __init__(self) -> None:
        self._piece: Piece | None = None
        self._left: State = ()
        self._step = -2
        self._carries, self._strangers = False, 0

    def take(self, cut: Cut, step: int, place: str) -> tuple[list[tuple[Driven, int]], Window | None]:
        """The pieces that are complete now, each with its training step, and what was learned about this cut."""
        known = step - self._step <= 1 and bool(cut.entered)
        continued = known and same(self._left, cut.entered)
        if known:
            self._carries = self._carries or continued
            self._strangers = 0 if continued else self._strangers + 1
        joins = continued and self._piece is not None and self._piece.has_room(cut)
        window = Window(place, step, cut.length, continued, self._length if joins else 0) if known else None
        complete = [] if joins else self.rest()
        if joins and self._piece is not None:
            self._piece.cuts.append(cut)
            self._piece.step = step
        else:
            self._piece = Piece([cut], step)
        self._left, self._step = cut.left, step
        promising = self._carries or (bool(cut.entered) and self._strangers == 0)
        if self._piece.is_full or not promising or not cut.left:
            complete += self.rest()
        return complete, window

    def wants_company(self, step: int) -> bool:
        """Whether a piece was begun in the step before that this one may go on with."""
        return self._piece is not None and self._step == step - 1 and self._strangers == 0

    def rest(self) -> list[tuple[Driven, int]]:
        """What is still held back."""
        piece, self._piece = self._piece, None
        return [] if piece is None else [(piece.joined(), piece.step)]

    @property
    def _length(self) -> int:
        return 0 if self._piece is None else self._piece.length


def same(one: State, other: State) -> bool:
    """Whether two states are equal, number by number; None is equal to nothing."""
    if not one or [part.shape for part in one] != [part.shape for part in other]:
        return False
    return all(torch.equal(a.float(), b.float().to(a.device)) for a, b in zip(one, other, strict=True))


def of_call(visit: FusedVisit, driven: Driven) -> Cut:
    """One call of a fused layer, with the rows of it that are looked at."""
    whole = visit.packed is None and not visit.module.bidirectional
    entered = visit.start if whole and visit.detached and visit.start is not None else ()
    return Cut(driven, _unless_zero(entered), visit.ended if whole else ())


def of_loop(chain: Chain, driven: Driven) -> Cut:
    """One stretch of a loop between two places where the state was detached."""
    entered = () if any(part.requires_grad for part in chain.entering) else chain.entering
    left = () if chain.final is None else chain.final
    return Cut(driven, _unless_zero(_copied(entered)), _copied(left))


def _copied(state: State) -> State:
    return tuple(part.detach().clone() for part in state)


def _unless_zero(state: State) -> State:
    return state if any(bool(part.any()) for part in state) else ()
