"""What every remedy does to the reach of a recurrent layer at the start of training, and what a step with it costs.

python benchmarks/remedies.py reach    steps back that 1 % of a gradient survives, over 100, 300 and 1000 steps
python benchmarks/remedies.py cost     time and memory of a training step, as multiples of the untreated layer's

The adding problem, batches of 32; one layer of 64 units with torch's own start. One thread.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import longreach
from longreach.errors import NotApplicable
from longreach.remedies import REMEDIES, named, undo

UNITS, BATCH = 64, 32
KINDS: dict[str, Callable[..., nn.RNNBase]] = {"tanh RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
LENGTHS = (100, 300, 1000)
PAIRS, STEPS = 9, 300  # of what cost is measured by
WARM = 2  # steps: what is done once, in the first pass, is done by then
TOGETHER = ("lstm+forget-bias", "gru+forget-bias")
AS_IT_IS = "as it is"


class Net(nn.Module):
    """One recurrent layer, and a linear map of its last output."""

    def __init__(self, kind: Callable[..., nn.RNNBase]):
        super().__init__()
        self.rnn, self.head = kind(2, UNITS, batch_first=True), nn.Linear(UNITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1]).squeeze(1)


def sequences(length: int) -> tuple[Tensor, Tensor]:
    """Numbers in [0, 1] and two marks, one in each half; the target is the sum of the marked numbers."""
    values, marks, rows = torch.rand(BATCH, length), torch.zeros(BATCH, length), torch.arange(BATCH)
    marks[rows, torch.randint(length // 2, (BATCH,))] = 1
    marks[rows, length // 2 + torch.randint(length // 2, (BATCH,))] = 1
    return torch.stack([values, marks], dim=2), (values * marks).sum(1)


class Training:
    """A network, treated as `longreach run --apply` would, and its Adam."""

    def __init__(self, kind: str, course: str):
        torch.manual_seed(0)
        self.net = Net(KINDS[kind])
        self.remedies = [] if course == AS_IT_IS else [named(name) for name in course.split("+")]
        self._apply("module", self.net)
        self.optimizer = torch.optim.Adam(self.net.parameters())
        self._apply("optimizer", self.optimizer)

    def step(self, x: Tensor, y: Tensor) -> float:
        """One training step; its seconds of the processor, which other programs on the machine do not lengthen."""
        self._apply("process", None)
        began = time.process_time()
        self.optimizer.zero_grad()
        mse_loss(self.net(x), y).backward()
        self.optimizer.step()
        seconds = time.process_time() - began
        undo(None)
        return seconds

    def _apply(self, moment: str, target: nn.Module | torch.optim.Optimizer | None) -> None:
        for remedy in self.remedies:
            if remedy.moment == moment:
                remedy.verb(target)


# Reach.


def reach(kind: str, course: str, length: int) -> int:
    """At the start: what a remedy does in the first pass is done, and no step was taken."""
    training = Training(kind, course)
    with torch.no_grad():
        training.net(sequences(length)[0])
    record = longreach.measure(training.net, sequences(length), mse_loss)
    return max(layer.reach.lag for layer in record.layers if layer.reach is not None)


def reaches(kind: str, course: str) -> str:
    """For every length; empty where the remedy does not fit."""
    try:
        return " / ".join(str(reach(kind, course, length)) for length in LENGTHS)
    except NotApplicable:
        return ""


def print_reach() -> None:
    print(f"| steps: {' / '.join(map(str, LENGTHS))} | {' | '.join(KINDS)} |\n|---|{'--:|' * len(KINDS)}")
    courses = [remedy.name for remedy in REMEDIES if not remedy.preserves]  # the others leave it as it is
    for course in (AS_IT_IS, *courses, *TOGETHER):
        row = [reaches(kind, course) for kind in KINDS]
        if any(row):
            print(f"| {course} | {' | '.join(row)} |", flush=True)


# Cost.


def ratio(kind: str, course: str) -> float:
    """Seconds of a step with over those without: the median of pairs, one step of each in turn."""
    untreated, treated, batch = Training(kind, AS_IT_IS), Training(kind, course), sequences(STEPS)
    for _ in range(WARM):
        untreated.step(*batch)
        treated.step(*batch)
    return statistics.median(treated.step(*batch) / untreated.step(*batch) for _ in range(PAIRS))


def held(kind: str, course: str) -> int:
    """Bytes that a step holds at most: weights, gradients, the optimizer's state, and what the backward pass needs."""
    training, batch = Training(kind, course), sequences(STEPS)
    for _ in range(WARM):
        training.step(*batch)
    saved: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(count, lambda kept: kept):
        loss = mse_loss(training.net(batch[0]), batch[1])  # held until all is counted: an address given back is reused
    own = list(tensors(training))
    places = {tensor.untyped_storage().data_ptr() for tensor in own}
    loss.backward()
    return sum(tensor.nbytes for tensor in own) + sum(size for place, size in saved.items() if place not in places)


def tensors(training: Training) -> Iterator[Tensor]:
    """Weights and buffers, gradients, and what the optimizer keeps."""
    weights = list(training.net.parameters())
    yield from (*weights, *training.net.buffers())
    yield from (weight.grad for weight in weights if weight.grad is not None)
    for kept in training.optimizer.state.values():
        yield from (tensor for tensor in kept.values() if isinstance(tensor, Tensor))


def costs(kind: str, course: str) -> tuple[str, str]:
    """Of time and of memory; empty where the remedy does not fit."""
    try:
        return f"{ratio(kind, course):.1f}", f"{held(kind, course) / held(kind, AS_IT_IS):.1f}"
    except NotApplicable:
        return "", ""


def print_cost() -> None:
    heads = [f"{what}, {kind}" for what in ("time", "memory") for kind in KINDS]
    print(f"| {STEPS} steps | {' | '.join(heads)} |\n|---|{'--:|' * len(heads)}")
    for course in (AS_IT_IS, *(remedy.name for remedy in REMEDIES), *TOGETHER):
        times, memories = zip(*(costs(kind, course) for kind in KINDS), strict=True)
        if any(times):
            print(f"| {course} | {' | '.join((*times, *memories))} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["reach", "cost"])
    torch.set_num_threads(1)
    began = time.perf_counter()
    print_reach() if parser.parse_args().what == "reach" else print_cost()
    print(f"\ntorch {torch.__version__}, one thread, {time.perf_counter() - began:.0f} s")
