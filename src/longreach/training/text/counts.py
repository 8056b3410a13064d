"""What counting alone predicts of a text: the next symbol by the one or two before it, or by none."""

from math import log

import numpy as np
from jaxtyping import Float, Int64

CELLS = 1 << 23  # counts that are kept, at most: 64 MB
DELTA = 0.05  # added to each of them: what was never seen may come all the same


class Counts:
    """p(c | context) = (n(context, c) + δ) / (n(context) + δ V), the context being the last `order` symbols.

    symbols  V
    order    2, or fewer where V^(order + 1) counts would be more than CELLS
    Is not   a serious model of a language: a floor that a network has to get through
    """

    def __init__(self, symbols: int, order: int):
        while order and symbols ** (order + 1) > CELLS:
            order -= 1
        self.symbols, self.order = symbols, order
        self._counts = np.zeros((symbols**order, symbols), dtype=np.int64)

    @property
    def rule(self) -> str:
        """The context, in words."""
        return ("how often each comes", "the one before", "the two before")[self.order]

    def learn(self, before: Int64[np.ndarray, "answer 2"], then: Int64[np.ndarray, " answer"]) -> None:
        """Count what came after which two symbols."""
        np.add.at(self._counts, (self._context(before), then), 1)

    def bits(self, before: Int64[np.ndarray, "answer 2"], then: Int64[np.ndarray, " answer"]) -> Float[np.ndarray, "_"]:
        """-log₂ p of what came after which two symbols."""
        context = self._context(before)
        seen = self._counts.sum(axis=1)[context]
        return -np.log((self._counts[context, then] + DELTA) / (seen + DELTA * self.symbols)) / log(2)

    def _context(self, before: Int64[np.ndarray, "answer 2"]) -> Int64[np.ndarray, " answer"]:
        context = np.zeros(len(before), dtype=np.int64)
        for place in range(2 - self.order, 2):
            context = context * self.symbols + before[:, place]
        return context
