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
        """The mean under each name, over all processes, some of which may have been shown nothing."""
        everybody = [(self._sums, self._counts)]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            everybody *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(everybody, (self._sums, self._counts))
        names = dict.fromkeys(name for sums, _ in everybody for name in sums)
        return {
            name: sum(sums.get(name, 0.0) for sums, _ in everybody)
            / max(sum(counts.get(name, 0) for _, counts in everybody), 1)
            for name in names
        }


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
