"""Guessing weights at random: what a task must resist before it says anything about a method."""

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from longreach.batch import Batch
from longreach.errors import ArgumentError
from longreach.tasks.task import Task

TOGETHER = 64  # networks run side by side
SCREENED, TESTED = 16, 512  # sequences: the few that hardly any network passes, and the many for those that do
LARGEST = 100.0  # weights are drawn from U[-100, 100]


@dataclass(frozen=True)
class Guess:
    """What guessing came to.

    trials  networks drawn, up to the one that solved the task
    solved  whether one did
    best    the lowest share of wrong sequences of any network: of 512 where it passed the first 16, else of 16
    """

    trials: int
    solved: bool
    best: float


@torch.no_grad()
def guess(task: Task, *, hidden: int = 5, trials: int = 10_000, seed: int = 0, seconds: float = 60.0) -> Guess:
    """Draw networks until one solves the task, or trials or seconds are over.

    hₜ = σ(W hₜ₋₁ + U xₜ + b),  h₋₁ = 0;  answer = V hₜ + c;  all weights of U[-100, 100], σ logistic

    Numbers    where an answer is one number: low + (high - low) σ(V hₜ + c), low and high those of y among 16 sequences
    Solved     no sequence of 16 wrong, then a share below task.allowed of 512 others
    Same       with the same seed, unless seconds end it
    Cost       10,000 networks in a second, on one core, for 100 steps and one input line
    Measured   two-sequence 3a, T = 100: solved by every seed, after 15,000 trials in the mean of 24 (450 to 65,000);
               temporal order, T = 20: not in 220,000 trials, 5 of 16 wrong at best
    Certain    from the source: all weights of [-100, 100], units at 0 before the start, biases, drawn again until all
               training sequences are right (100 of them, 500 to 600 steps, within 0.1), then tested on others.
               Not from it: σ, 16 and 512 sequences, the task's own length and tolerance, and that the output is not
               fed back into the network
    Is not     a method of training. A task that it solves says little about any
    Raises     ArgumentError unless hidden, trials and seconds are above 0
    Source     Schmidhuber, Hochreiter & Bengio 2001, Evaluating benchmark problems by random guessing, in: A Field
               Guide to Dynamical Recurrent Networks; Hochreiter & Schmidhuber 1997, section 5: report it, always
    """
    for field, value in (("hidden", hidden), ("trials", trials), ("seconds", seconds)):
        if not value > 0:
            raise ArgumentError(f"guess: {field}: expected a number above 0, got {value}")
    generator = torch.Generator().manual_seed(seed)
    screened, tested = task.draw(SCREENED, generator), task.draw(TESTED, generator)
    end = time.monotonic() + seconds
    best, drawn = 1.0, 0
    while drawn < trials and time.monotonic() < end:
        together = min(TOGETHER, trials - drawn)
        net = _drawn(task, together, hidden, generator)
        for place, share in enumerate(_wrong(task, net, screened, screened)):
            if share == 0:
                one = tuple(weight[place : place + 1] for weight in net)
                share = _wrong(task, one, tested, screened)[0]
                if share < task.allowed:
                    return Guess(drawn + place + 1, True, share)
            best = min(best, share)
        drawn += together
    return Guess(drawn, False, best)


Weights = tuple[Tensor, ...]


def _drawn(task: Task, nets: int, hidden: int, generator: torch.Generator) -> Weights:
    """W, U, b, V, c of so many networks; the axes are (net, to, from)."""
    shapes = [(hidden, hidden), (hidden, task.inputs), (hidden, 1), (task.outputs, hidden), (task.outputs, 1)]
    return tuple(LARGEST * (2 * torch.rand(nets, *shape, generator=generator) - 1) for shape in shapes)


def _wrong(task: Task, net: Weights, batch: Batch, screened: Batch) -> list[float]:
    """The share of wrong sequences of each network."""
    answers = _answers(net, batch)
    if batch.y.is_floating_point():
        low, high = screened.y.amin(), screened.y.amax()
        answers = low + (high - low) * answers.sigmoid()
    return [task.wrong(answer, batch).float().mean().item() for answer in answers]


def _answers(net: Weights, batch: Batch) -> Float[Tensor, "net answer output"]:
    """What every network answers at asked steps."""
    W, U, b, V, c = net
    h = torch.zeros(len(W), W.shape[1], len(batch.x))  # (net, unit, sequence)
    answers = torch.zeros(len(W), V.shape[1], *batch.asked.shape)
    asked = batch.asked.any(dim=0).tolist()
    for t, x in enumerate(batch.x.unbind(dim=1)):
        h = torch.sigmoid(W @ h + U @ x.T + b)
        if asked[t]:
            answers[..., t] = V @ h + c
    return answers.movedim(1, -1)[:, batch.asked]
