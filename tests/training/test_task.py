"""Tasks as problems to train on: fresh sequences for everybody, and other lengths tried afterwards."""

import csv

import pytest
import torch

from longreach.errors import ArgumentError
from longreach.tasks import make
from longreach.training.problem import Sizes
from longreach.training.task import TaskProblem


def drawn(batches):
    return torch.cat([batch.x for batch in batches])


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_what_judges_and_learn_from_sequences_of_their_own(world):
    problem = TaskProblem(make("adding", length=10))
    shares = [Sizes(20, 10, 10, seed=3, rank=rank, world=world) for rank in range(world)]
    alone = drawn(problem.held_out("validation", Sizes(20, 10, 10, seed=3)))
    together = torch.cat([drawn([*problem.held_out("validation", own)][:1]) for own in shares[:2]])
    assert torch.equal(together, alone)
    learned = [problem.training(own)(0).x for own in shares]
    assert sum(map(len, learned)) == 20
    assert len(torch.cat(learned).flatten(1).unique(dim=0)) == 20


def test_no_part_shows_what_another_does():
    problem, sizes = TaskProblem(make("adding", length=10)), Sizes(500, 10, 10)
    parts = [problem.training(sizes)(0).x, drawn(problem.held_out("validation", sizes))]
    parts += [drawn(problem.held_out("test", sizes))]
    whole = torch.cat(parts).flatten(1)
    assert len(whole.unique(dim=0)) == len(whole) == 500 + 500 + 10_000


def test_other_lengths_are_tried_with_the_share_of_wrong_sequences(tmp_path):
    problem = TaskProblem(make("temporal-order", length=10, longest=20), beyond=[12, 30])

    def answer(batch):  # right, but for sequences that begin with one symbol of four
        right = torch.nn.functional.one_hot(batch.y, 4).float()
        return torch.where(batch.x[:, 0, 2:3] == 1, -right, right)

    told = problem.leave(tmp_path, answer)
    rows = [*csv.reader((tmp_path / "beyond.csv").read_text().splitlines())][1:]
    assert [(int(length), int(count)) for length, _, count in rows] == [(12, 10_000), (30, 10_000)]
    assert all(abs(float(share) - 1 / 4) < 5 * (3 / 16 / 10_000) ** 0.5 for _, share, _ in rows)
    assert [line.split(":")[0] for line in told] == ["at length 12", "at length 30"]


def test_a_length_that_the_task_cannot_have_is_refused_before_training():
    with pytest.raises(
        ArgumentError, match="--beyond 1: adding: length: expected at least 2 steps in variant le, got 1"
    ):
        TaskProblem.read("adding", length=10, beyond=[100, 1])
