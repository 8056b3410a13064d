"""Every sequence once an epoch, on one process or several, and no two epochs alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import DataError
from longreach.training.problem import Sizes
from longreach.training.side_by_side import MIXED, batches, drawn, in_order, padded

lengths_of_sequences = st.lists(st.integers(1, 500), min_size=4, max_size=60).map(np.array)


def sizes(batch: int, *, rank: int = 0, world: int = 1, seed: int = 0) -> Sizes:
    return Sizes(batch, window=1, hop=1, seed=seed, rank=rank, world=world)


@given(lengths_of_sequences, st.integers(1, 70), st.integers(0, 3))
def test_an_epoch_shows_every_sequence_once(lengths, batch, epoch):
    count, places = batches(len(lengths), sizes(batch)), drawn(lengths, sizes(batch))
    shown = [places(number) for number in range(epoch * count, (epoch + 1) * count)]
    assert sorted(np.concatenate(shown)) == list(range(len(lengths)))
    assert max(map(len, shown)) <= batch
    assert max(map(len, shown)) - min(map(len, shown)) <= 1


@given(lengths_of_sequences, st.integers(4, 70), st.integers(0, 20))
def test_processes_share_each_batch_and_a_batch_depends_on_its_number_alone(lengths, batch, number):
    whole = drawn(lengths, sizes(batch))
    for earlier in range(number):
        whole(earlier)
    parts = [drawn(lengths, sizes(batch, rank=rank, world=2))(number) for rank in (0, 1)]
    assert sorted(np.concatenate(parts)) == sorted(whole(number))
    assert all(len(part) for part in parts)


def test_batches_hold_sequences_of_about_one_length_but_not_the_same_ones_in_every_epoch():
    lengths = np.geomspace(10, 10_000, 400).astype(int)
    places = drawn(lengths, sizes(4))
    first, second = ([places(number) for number in range(100 * epoch, 100 * epoch + 100)] for epoch in (0, 1))
    # neighbours of the jittered order lie a factor of 1000^(1/400) apart; the jitter adds up to MIXED
    assert all(lengths[batch].max() / lengths[batch].min() < MIXED * 1.1 for batch in first)
    assert {frozenset(batch) for batch in first}.isdisjoint(map(frozenset, second)) or first != second
    assert [lengths[batch].mean() for batch in first] != sorted(lengths[batch].mean() for batch in first)


def test_another_seed_is_another_order():
    lengths = np.full(50, 7)
    assert any(set(drawn(lengths, sizes(10))(0)) != set(drawn(lengths, sizes(10, seed=seed))(0)) for seed in (1, 2))


@given(lengths_of_sequences, st.integers(1, 70), st.integers(1, 4))
def test_what_is_held_out_comes_once_in_a_fixed_order(lengths, batch, world):
    shown = [list(in_order(lengths, sizes(batch, rank=rank, world=world))) for rank in range(world)]
    places = np.concatenate([mine for rank in shown for mine in rank])
    assert sorted(places) == list(range(len(lengths)))
    assert list(map(list, in_order(lengths, sizes(batch)))) == list(map(list, in_order(lengths, sizes(batch))))


@given(st.integers(1, 40), st.integers(1, 10), st.integers(1, 6))
def test_every_process_has_a_sequence_of_every_batch(count, batch, world):
    lengths = np.full(count, 9)
    if count < world:
        for read in (drawn, in_order):
            with pytest.raises(DataError, match=f"for each of {world} processes, got {count}"):
                read(lengths, sizes(batch, world=world))
        return
    for rank in range(world):
        own = sizes(batch, rank=rank, world=world)
        assert all(len(mine) for mine in in_order(lengths, own))
        assert all(len(drawn(lengths, own)(number)) for number in range(batches(count, own)))


def test_zeros_follow_a_sequence_and_its_own_steps_are_marked():
    x, own = padded([torch.ones(2, 1), torch.full((3, 1), 2.0)])
    assert x.squeeze(2).tolist() == [[1, 1, 0], [2, 2, 2]]
    assert own.tolist() == [[True, True, False], [True, True, True]]
