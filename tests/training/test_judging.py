"""Scores: means over all answers, of all processes."""

import multiprocessing
import time

import pytest
import torch

from longreach.training.judging import Means


def as_process(rank, world, place, answers):
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=world)
    means = Means()
    for number in range(rank, 2, world):  # two batches: the third process is shown none
        means.add("loss", torch.full((number + 1,), float(number)))
    answers.put(means.taken())


def test_a_process_that_is_shown_nothing_has_the_mean_of_the_others(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.test_judging"])
    answers = context.Queue()
    workers = [context.Process(target=as_process, args=(rank, 3, tmp_path / "meet", answers)) for rank in range(3)]
    for worker in workers:
        worker.start()
    end = time.monotonic() + 60
    for worker in workers:
        worker.join(max(end - time.monotonic(), 0))
        worker.kill()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert [answers.get() for _ in workers] == [{"loss": pytest.approx(2 / 3)}] * 3
