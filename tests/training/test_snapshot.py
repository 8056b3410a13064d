"""A moment that is kept: nothing that happens later changes it, and it can be gone back to more than once."""

import pytest
import torch
from tests.training.small import adding, loop_of, words

from longreach.nn.cell import entries
from longreach.training.snapshot import BACK, checkpointed, put_back, snapshot


def tensors(kept):
    return kept.shared | kept.own[0]


@pytest.mark.parametrize("cell", ["lstm", "linear-recurrent", "min-gru+phases"])
def test_going_back_gives_what_was_kept_and_keeps_it(tmp_path, cell):
    loop = loop_of(words(tmp_path), tmp_path / "run", cell=cell)
    for _ in range(3):
        loop._update(lambda: 0)
    kept = snapshot(loop)
    copy = {name: value.clone() for name, value in tensors(kept).items()}
    for _ in range(2):
        loop._update(lambda: 0)
        later = snapshot(loop)
        assert any(not torch.equal(copy[name], value) for name, value in tensors(later).items())
        put_back(loop, kept)
        for name, value in tensors(snapshot(loop)).items():
            assert torch.equal(value, copy[name]), name
            assert torch.equal(tensors(kept)[name], copy[name]), name


def test_a_state_of_complex_numbers_comes_back_as_such(tmp_path):
    loop = loop_of(words(tmp_path), tmp_path / "run", cell="linear-recurrent")
    loop._update(lambda: 0)
    before, kept = entries(loop.state), snapshot(loop)
    assert any(entry.is_complex() for entry in before)
    loop._update(lambda: 0)
    put_back(loop, kept)
    assert all(torch.equal(one, other) for one, other in zip(before, entries(loop.state), strict=True))


def test_a_checkpoint_holds_the_moment_and_the_one_to_go_back_to(tmp_path):
    loop = loop_of(adding(), tmp_path / "run")
    for _ in range(3):
        loop._update(lambda: 0)
    held, sound = tensors(checkpointed(loop)), tensors(loop.sound)
    assert all(torch.equal(held[name], value) for name, value in tensors(snapshot(loop)).items())
    assert all(torch.equal(held[BACK + name], value) for name, value in sound.items())
    assert len(held) == len(tensors(snapshot(loop))) + len(sound)
