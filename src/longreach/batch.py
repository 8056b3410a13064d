"""What a network is shown and asked in one step of training."""

from typing import NamedTuple

from jaxtyping import Bool, Shaped
from torch import Tensor


class Batch(NamedTuple):
    """Some sequences, the steps at which they are asked for an answer, and the right answers.

    x       inputs: numbers, or whole symbols with an input axis of length 1. What follows a sequence's own end is 0
    y       the right answers of all asked steps, sequence after sequence, each in the order of time
    asked   where an answer is wanted
    resets  where a sequence of its own begins, inside a stream; None: nowhere
    """

    x: Shaped[Tensor, "sequence time input"]
    y: Shaped[Tensor, "answer ..."]
    asked: Bool[Tensor, "sequence time"]
    resets: Bool[Tensor, "sequence time"] | None = None
