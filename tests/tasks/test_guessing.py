"""Random weight guessing: the two-sequence problem falls to it, temporal order does not; same seed, same guess."""

import pytest
import torch

from longreach.errors import ArgumentError
from longreach.tasks import TASKS, Guess, TemporalOrder, TwoSequence, guess, make
from longreach.tasks.guessing import _answers, _drawn


def test_the_two_sequence_problem_is_guessed_and_temporal_order_is_not():
    latch = guess(TwoSequence(100), trials=300_000, seconds=600.0)  # 15,000 on average
    assert latch.solved
    assert latch.best < 1 / 256
    order = guess(TemporalOrder(20), trials=20_000, seconds=600.0)  # though a fifth as long
    assert not order.solved
    assert order.trials == 20_000
    assert order.best > 0.1


def test_the_same_seed_guesses_the_same():
    task = TwoSequence(20, informative=1)
    first, again, other = (guess(task, trials=300, seed=seed, seconds=600.0) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_trials_and_seconds_end_it():
    task = TemporalOrder(20)
    assert guess(task, trials=70, seconds=600.0).trials == 70
    assert guess(task, trials=10**9, seconds=1e-9) == Guess(0, False, 1.0)


def test_networks_side_by_side_are_each_what_the_equation_says():
    task = TemporalOrder(12, "hochreiter")
    source = torch.Generator().manual_seed(0)
    batch = task.draw(5, source)
    net = _drawn(task, 3, 4, source)
    assert all(weight.abs().max() <= 100 and weight.abs().max() > 60 for weight in net)
    small = tuple(weight / 100 for weight in net)  # where the logistic function is not 0 or 1
    answers = _answers(small, batch)
    for place in range(3):
        W, U, b, V, c = (weight[place].double() for weight in small)
        for sequence in range(5):
            h = torch.zeros(4, 1, dtype=torch.float64)
            for x in batch.x[sequence, : int(batch.asked[sequence].nonzero()) + 1].double():
                h = torch.sigmoid(W @ h + U @ x[:, None] + b)
            expected = (V @ h + c)[:, 0].float()
            torch.testing.assert_close(answers[place, sequence], expected)


@pytest.mark.parametrize(("field", "value"), [("hidden", 0), ("trials", -1), ("seconds", 0.0)])
def test_nothing_to_guess_with(field, value):
    with pytest.raises(ArgumentError, match=f"guess: {field}: expected a number above 0, got {value}"):
        guess(TwoSequence(20), **{field: value})


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.name)
def test_every_task_can_be_guessed_at(kind, mnist):
    shorter = {"digits": {"folder": mnist}, "narma10": {"length": 10}, "mackey-glass": {"length": 10}}
    task = make(kind.name, **shorter.get(kind.name, {"length": 22}))
    tried = guess(task, trials=3, hidden=2, seconds=600.0)
    assert tried.trials == 3 or tried.solved
    assert 0 <= tried.best <= 1
