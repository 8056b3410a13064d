"""Temporal order: symbols where the sources put them, classes that a naive reader finds, lengths drawn a batch."""

import math

import pytest
import torch

from longreach.tasks import TemporalOrder, TemporalOrder3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


BOTH = pytest.mark.parametrize(("kind", "starts"), [(TemporalOrder, (1, 5)), (TemporalOrder3, (1, 3, 6))])


@BOTH
@pytest.mark.parametrize("length", [10, 47, 100])
def test_pascanus_places_and_classes(kind, starts, length):
    x, y, asked, _ = kind(length).draw(3000, generator())
    assert x.shape == (3000, length, 6)
    assert (x.sum(dim=2) == 1).all()
    assert (asked.nonzero()[:, 1] == length - 1).all()
    found = [[] for _ in starts]
    for row, label in zip(x.argmax(dim=2), y, strict=True):
        places = (row < 2).nonzero()[:, 0].tolist()
        assert label == sum(row[place] * 2**k for k, place in enumerate(places))
        assert len(places) == len(starts)
        for k, place in enumerate(places):
            found[k].append(place)
    for start, places in zip(starts, found, strict=True):  # as int(l * .5), int(l * .1) of the code
        low = int(length * (start / 10))
        assert sorted(set(places)) == list(range(low, low + int(length * 0.1)))
    assert sorted(set(x.argmax(dim=2).flatten().tolist())) == list(range(6))


@BOTH
def test_hochreiters_places_and_classes(kind, starts):
    starts = {2: (10, 50), 3: (10, 33, 66)}[len(starts)]
    x, y, asked, _ = kind(100, "hochreiter").draw(3000, generator())
    lengths, found = set(), [[] for _ in starts]
    for row, seen, label, at_end in zip(x.argmax(dim=2), x.any(dim=2), y, asked, strict=True):
        steps = int(at_end.nonzero()) + 1
        lengths.add(steps)
        assert seen[:steps].all()
        assert not seen[steps:].any()
        assert row[0] == 6
        assert row[steps - 1] == 7
        places = (row[:steps] < 2).nonzero()[:, 0].tolist()
        assert label == sum(row[place] * 2**k for k, place in enumerate(places))
        assert len(places) == len(starts)
        for k, place in enumerate(places):
            found[k].append(place)
        assert (row[1 : steps - 1] < 6).all()
    assert lengths == set(range(100, 111))
    for start, places in zip(starts, found, strict=True):
        assert sorted(set(places)) == list(range(start, start + 11))


@BOTH
def test_classes_are_equally_likely_and_chance_is_a_uniform_answer(kind, starts):
    for variant in ("pascanu", "hochreiter"):
        task = kind(20, variant)
        classes, n = 2 ** len(starts), 80_000
        y = task.draw(n, generator()).y
        assert ((torch.bincount(y) - n / classes).abs() < 5 * (n / classes) ** 0.5).all()
        assert task.outputs == classes
        assert task.chance == math.log(classes)
        assert task.loss(torch.zeros(n, classes, dtype=torch.float64), y).item() == pytest.approx(
            task.chance, abs=1e-12
        )


def test_longest_gives_each_batch_a_length_of_its_own():
    source = generator()
    task = TemporalOrder(50, longest=60)
    lengths = {task.draw(3, source).x.shape[1] for _ in range(200)}
    assert lengths == set(range(50, 61))


def test_hochreiter_wants_all_outputs_near_their_targets():
    task = TemporalOrder(20, "hochreiter")
    batch = task.draw(1, generator())
    for highest, wrong in ((0.69, True), (0.71, False)):
        rest = (1 - highest) / 3
        p = torch.full((1, 4), rest).scatter(1, batch.y[:, None], highest)
        assert task.wrong(p.log(), batch).item() == wrong
    assert not TemporalOrder(20).wrong(torch.full((1, 4), 0.2).scatter(1, batch.y[:, None], 0.4).log(), batch)
