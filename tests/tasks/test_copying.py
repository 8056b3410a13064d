"""Copying, memorisation, permutation: what is held is what comes back; chance of whoever knows only when."""

import math

import pytest
import torch

from longreach.tasks import Copying, Memorisation, Permutation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_copying_is_laid_out_as_in_the_source():
    T = 7
    x, y, asked, _ = Copying(T).draw(30, generator())
    assert asked.all()
    assert asked.shape == (30, T + 20)
    for symbols, answer in zip(x.argmax(dim=2).tolist(), y.view(30, -1).tolist(), strict=True):
        words = symbols[:10]
        assert symbols == words + [0] * (T - 1) + [9] + [0] * 10
        assert answer == [0] * (T + 10) + words
        assert all(1 <= word <= 8 for word in words)
    assert set(y.tolist()) == set(range(9))


@pytest.mark.parametrize(
    ("T", "published"),
    [(100, 0.17329), (200, 0.09452), (500, 0.03999), (1000, 0.020387), (2000, 0.010294), (10000, 0.0020753)],
)
def test_chance_of_copying_as_the_literature_has_it(T, published):
    assert Copying(T).chance == pytest.approx(published, rel=5e-4)


def when_but_not_what(task, batch, silence, spoken, due):
    """Scores of whoever says silence until `due` steps before the end, then every symbol alike; float64."""
    score = torch.full((*batch.asked.shape, task.outputs), -torch.inf, dtype=torch.float64)
    score[:, :-due, silence] = 0
    score[:, -due:, spoken] = 0
    return score.flatten(0, 1)


def test_chance_is_the_loss_of_whoever_knows_when():
    task = Copying(20)
    batch = task.draw(50, generator())
    answer = when_but_not_what(task, batch, 0, slice(1, 9), 10)
    assert task.loss(answer, batch.y).item() == pytest.approx(task.chance, rel=1e-12)
    assert task.chance == 10 * math.log(8) / 40

    task = Memorisation(20, positions=6, values=3)
    batch = task.draw(50, generator())
    answer = when_but_not_what(task, batch, 3, slice(0, 3), 6)
    assert task.loss(answer, batch.y).item() == pytest.approx(task.chance, rel=1e-12)


@pytest.mark.parametrize("length", [0, 1, 13])
def test_memorisation_is_laid_out_as_in_the_source(length):
    task = Memorisation(length)
    x, y, asked, _ = task.draw(30, generator())
    assert asked.all()
    assert asked.shape == (30, length + 20)
    for symbols, answer in zip(x.argmax(dim=2).tolist(), y.view(30, -1).tolist(), strict=True):
        pattern = symbols[:10]
        assert symbols == pattern + [5] * length + [6] + [5] * 9
        assert answer == [5] * (length + 10) + pattern
    assert set(y.tolist()) == set(range(6))


def test_symbols_are_equally_likely():
    for y, values in (
        (Copying(1).draw(8000, generator()).y, range(1, 9)),
        (Memorisation(0).draw(5000, generator()).y, range(5)),
    ):
        often = torch.bincount(y)[list(values)]
        assert (often - 10_000).abs().max() < 5 * 100


def test_permutation_ends_as_it_began():
    task = Permutation(40)
    x, y, asked, _ = task.draw(4000, generator())
    symbols = x.argmax(dim=2)
    assert torch.equal(symbols[:, 0], y)
    assert set(y.tolist()) == {0, 1}
    assert sorted(set(symbols[:, 1:].flatten().tolist())) == list(range(2, 100))
    assert (asked.nonzero()[:, 1] == 39).all()
    even = torch.full((4000, 100), -torch.inf, dtype=torch.float64).index_fill(1, torch.tensor([0, 1]), 0)
    assert task.loss(even, y).item() == pytest.approx(task.chance, rel=1e-12)
    assert task.chance == math.log(2)


def test_one_wrong_symbol_spoils_a_sequence():
    task = Copying(5)
    batch = task.draw(3, generator())
    answer = torch.nn.functional.one_hot(batch.y, 9).float()
    answer[25 + 3] = answer[25 + 3].roll(1)  # a blank of the second sequence
    assert task.wrong(answer, batch).tolist() == [False, True, False]
