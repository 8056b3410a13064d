"""What a network scores on data that it never learned from."""

from collections.abc import Iterable

import torch
from torch import Tensor

from longreach.batch import Batch
from longreach.training.network import Network
from longreach.training.problem import Problem

WRONG = "wrong sequences"


class Means:
    """Sums of numbers, and of how many."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, values: Tensor) -> None:
        """One number each."""
        self._sums[name] = self._sums.get(name, 0.0) + values.double().sum().item()
        self._counts[name] = self._counts.get(name, 0) + values.numel()

    def taken(self) -> dict[str, float]:
        """The mean under each name, over all processes."""
        names = list(self._sums)
        table = torch.tensor([[self._sums[name], float(self._counts[name])] for name in names], dtype=torch.float64)
        if torch.distributed.is_available() and torch.distributed.is_initialized() and names:
            torch.distributed.all_reduce(table)
        return {name: (total / max(count, 1)).item() for name, (total, count) in zip(names, table, strict=True)}


@torch.no_grad()
def judged(network: Network, problem: Problem, batches: Iterable[Batch]) -> dict[str, float]:
    """Means over all answers: "loss", what the problem scores, and the share of wrong sequences where it tells.

    Leaves  the network in the mode it was in; draws no random number
    """
    was_training, means, state = network.training, Means(), None
    place = next(network.parameters()).device
    network.eval()
    for batch in batches:
        x, y, asked = batch.x.to(place), batch.y.to(place), batch.asked.to(place)
        resets = None if batch.resets is None else batch.resets.to(place)
        answers, carried = network(x, asked, state, resets)
        state = carried if problem.carries else None
        means.add("loss", problem.loss(answers, y).expand(len(y)))
        for name, values in problem.scores(answers, y).items():
            means.add(name, values)
        right = problem.solved(answers, Batch(x, y, asked, resets))
        if right is not None:
            means.add(WRONG, ~right)
    network.train(was_training)
    return means.taken()
