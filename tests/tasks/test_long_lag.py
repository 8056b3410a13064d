"""Long lags without noise: what began the sequence ends it, and what is between is as the variant has it."""

import math

import pytest
import torch

from longreach.tasks import LongLag


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("variant", ["2a", "2b"])
def test_sequences_of_2a_and_2b(variant):
    p = 7
    x, y, asked, _ = LongLag(p, variant).draw(2000, generator())
    assert asked.all()
    assert x.shape == (2000, p, p + 1)
    assert (x.sum(dim=2) == 1).all()
    symbols, y = x.argmax(dim=2), y.view(-1, p)
    assert torch.equal(symbols[:, 1:], y[:, :-1])  # the next one, at every step
    assert torch.equal(symbols[:, 0], y[:, -1])
    assert set(symbols[:, 0].tolist()) == {p - 1, p}
    between = symbols[:, 1:]
    if variant == "2a":
        assert torch.equal(between, torch.arange(p - 1).expand_as(between))
    else:
        assert set(between.flatten().tolist()) == set(range(p - 1))


@pytest.mark.parametrize(("distractors", "p"), [(None, 9), (4, 4)])
def test_sequences_of_2c(distractors, p):
    q, n = 9, 20_000
    task = LongLag(q, "2c", distractors)
    x, y, asked, _ = task.draw(n, generator())
    assert task.inputs == p + 4
    symbols, steps = x.argmax(dim=2), asked.long().argmax(dim=1) + 1
    assert torch.equal(x.any(dim=2).sum(dim=1), steps)
    assert (symbols[:, 0] == p + 2).all()
    assert torch.equal(symbols[:, 1], p + y)
    assert (symbols[torch.arange(n), steps - 1] == p + 3).all()
    inside = torch.arange(x.shape[1]) < (steps - 1)[:, None]
    inside[:, :2] = False
    assert set(symbols[inside].tolist()) == set(range(p))
    k = (steps - q - 3).double()  # q + k distractors, b, z, e: with the target behind them q + k + 4
    assert k.min() == 0
    assert abs(k.mean().item() - 9) < 5 * (90 / n) ** 0.5  # 0.1 * 0.9^k: mean 9, variance 90
    assert abs((k == 0).double().mean().item() - 0.1) < 5 * (0.09 / n) ** 0.5


def test_chance_is_the_loss_of_whoever_knows_all_but_what_is_random():
    p, n = 7, 400
    at_end = torch.full((p, p + 1), -torch.inf, dtype=torch.float64)
    at_end[-1, p - 1 :] = 0
    known = at_end.clone()
    known[range(p - 1), range(p - 1)] = 0
    spread = at_end.clone()
    spread[:-1, : p - 1] = 0
    for variant, score in (("2a", known), ("2b", spread)):
        task = LongLag(p, variant)
        batch = task.draw(n, generator())
        assert task.loss(score.repeat(n, 1), batch.y).item() == pytest.approx(task.chance, rel=1e-12)
    assert LongLag(p, "2a").chance == math.log(2) / p
    assert LongLag(p, "2c").chance == math.log(2)


def test_where_an_output_may_be_how_far_off():
    for variant, tolerance in (("2a", 0.25), ("2b", 0.25), ("2c", 0.2)):
        task = LongLag(5, variant)
        batch = task.draw(2, generator())
        right = torch.nn.functional.one_hot(batch.y, task.outputs).double()
        last = batch.asked.sum(dim=1).cumsum(dim=0) - 1
        for off, wrong in ((tolerance - 0.01, False), (tolerance + 0.01, True)):
            p = right.clone()
            p[last[1]] = right[last[1]] * (1 - off) + (1 - right[last[1]]) * off / (task.outputs - 1)
            assert task.wrong(p.log(), batch).tolist() == [False, wrong]
        if variant != "2c":  # a slip before the end
            p = right.clone()
            p[0] = p[0].roll(1)
            assert task.wrong(p.log(), batch).tolist() == [variant == "2a", False]
