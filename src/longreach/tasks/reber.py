"""The embedded Reber grammar: strings whose last symbol but one is their second."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.tasks.adding import HS97
from longreach.tasks.drawing import before
from longreach.tasks.task import Choosing, Published, somewhere

SYMBOLS = "BTPSXVE"
INNER = [  # where a symbol leads: state 0 to 7 of the plain grammar
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
]


def embedded() -> Int[Tensor, "state symbol"]:
    """Where each symbol leads from each state of the embedded grammar; -1: it must not come.

    0 the start, 1 behind B, 2 to 9 the plain grammar behind T and 10 to 17 behind P, 18 before the last E, 19 the end.
    """
    arrows = [{"B": 1}, {"T": 2, "P": 10}]
    for outer, offset in (("T", 2), ("P", 10)):
        arrows += [{symbol: state + offset for symbol, state in step.items()} for step in INNER]
        arrows += [{outer: 18}]
    arrows += [{"E": 19}, {}]
    return torch.tensor([[step.get(symbol, -1) for symbol in SYMBOLS] for step in arrows])


@dataclass(frozen=True)
class Reber(Choosing):
    """B z R z E: z is T or P, R a string of the plain Reber grammar; at every step the next symbol is asked for.

    grammar     INNER is the plain one: BTXSE, BPVVE, BTSSXXTVPSE, ...; where two symbols may come, each has the same
                chance
    x           one-hot over B, T, P, S, X, V, E, without the last E; y the symbols from the second on
    length      symbols of the longest string, 9 or more: longer ones (1 of 1000 at the default, 40) are not drawn, all
                others as often as they would be. The paper has no bound
    lag         the second symbol decides the last but one, 6 to length - 3 symbols later
    chance      entropy of how often each symbol is the answer, by adding up the Markov chain
    wrong       where, at one step or more, a symbol that must not come scores as high as one that may
    solved      in the paper: no such step in 256 strings trained on and 256 others. Here all strings are drawn anew
    Is not      a long lag: networks of 1990 solve it some of the time, though Elman's do not
    Source      Hochreiter & Schmidhuber 1997, experiment 1, after Cleeremans, Servan-Schreiber & McClelland 1989
    """

    length: int = 40

    name: ClassVar[str] = "reber"
    source: ClassVar[str] = "Hochreiter & Schmidhuber 1997, Neural Computation 9(8):1735-1780, experiment 1"
    criterion: ClassVar[str] = "the allowed successors score highest at every step of 512 of 512 strings"
    published: ClassVar[tuple[Published, ...]] = (
        Published(HS97, "LSTM 4x1, lr 0.1", 40, "100 %, 39,740 strings", settings="264 weights"),
        Published(HS97, "LSTM 4x1, lr 0.5", 40, "97 %, 9,500 strings", settings="264 weights"),
        Published(HS97, "LSTM 3x2, lr 0.5", 40, "100 %, 8,440 strings", settings="276 weights"),
        Published(HS97, "RTRL, 12 hidden", 40, "some fraction, 25,000 strings"),
        Published(HS97, "Elman", 40, "0 % after 200,000 strings"),
        Published(HS97, "recurrent cascade correlation", 40, "50 %, 182,000 strings"),
    )

    def __post_init__(self):
        self._expect("length", self.length >= 9, "at least the 9 symbols of the shortest string")

    @property
    def inputs(self) -> int:
        """One line a symbol."""
        return 7

    @property
    def outputs(self) -> int:
        """One score a symbol."""
        return 7

    @property
    def allowed(self) -> float:
        """None of 512."""
        return 1 / 512

    @property
    def chance(self) -> float:
        """Entropy of the answers, all steps taken together."""
        there = torch.zeros(20, dtype=torch.float64)
        there[0] = 1
        often = torch.zeros(7, dtype=torch.float64)
        for step, chosen in enumerate(self._choices):
            moved = there[:, None] * chosen  # (state, symbol)
            often += moved.sum(dim=0) if step else 0
            there = torch.zeros(20, dtype=torch.float64).index_put((self._leads,), moved, accumulate=True)
        share = often / often.sum()
        return torch.special.entr(share).sum().item()

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Strings one-hot, and their next symbols."""
        state = torch.zeros(count, dtype=torch.int64)
        string, length = [], torch.zeros(count, dtype=torch.int64)
        for chosen in self._choices:
            going = state != 19
            if not going.any():
                break
            length += going
            # at the end of a string nothing is chosen any more: any symbol stands for it
            symbol = torch.multinomial(chosen[state] + (~going)[:, None], 1, generator=generator)[:, 0]
            state = torch.where(going, self._leads[state, symbol], state)
            string.append(symbol)
        symbols = torch.stack(string, dim=1)
        asked = before(length - 1, symbols.shape[1] - 1)
        x = F.one_hot(symbols[:, :-1], 7).float() * asked[..., None]
        return Batch(x, symbols[:, 1:][asked], asked)

    def wrong(self, answer: Float[Tensor, "answer 7"], batch: Batch) -> Bool[Tensor, " sequence"]:
        """Strings at one step of which, or more, a symbol that must not come scores as high as one that may."""
        state = torch.zeros(len(batch.x), dtype=torch.int64)
        may = []
        for symbol in batch.x.argmax(dim=2).T:
            state = self._leads[state, symbol]
            may.append(embedded()[state] >= 0)
        allowed = torch.stack(may, dim=1)[batch.asked]
        lowest = answer.masked_fill(~allowed, torch.inf).amin(dim=1)
        highest = answer.masked_fill(allowed, -torch.inf).amax(dim=1)
        return somewhere(~(lowest > highest), batch.asked)

    @cached_property
    def _leads(self) -> Int[Tensor, "state symbol"]:
        """As embedded(), with the end, 19, in the place of nowhere: what is padded leads there."""
        arrows = embedded()
        return torch.where(arrows < 0, 19, arrows)

    @cached_property
    def _choices(self) -> Float[Tensor, "step state symbol"]:
        """Chance of each symbol in each state, with so many symbols left, of a string that ends in time.

        What a symbol promises is the share of strings that end within the steps left after it; all symbols that may
        come share the chance as they promise.
        """
        may = (embedded() >= 0).double()
        ends = torch.zeros(20, dtype=torch.float64)
        ends[19] = 1
        choices = []
        for _ in range(self.length):
            promise = may * ends[self._leads]
            total = promise.sum(dim=1, keepdim=True)
            choices.append(torch.where(total > 0, promise / total, 0))
            ends = (promise.sum(dim=1) / may.sum(dim=1).clamp(min=1)).index_fill(0, torch.tensor([19]), 1)
        return torch.stack(choices[::-1])
