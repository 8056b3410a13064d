"""Checkpoints: what was written comes back bit for bit, and what was not written is never taken for it."""

import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from tests.training.small import adding, loop_of

from longreach.errors import ArgumentError, RunReadError
from longreach.training import checkpoint
from longreach.training.checkpoint import FACTS, WEIGHTS, Snapshot, found, newest, read, write
from longreach.training.snapshot import resume
from longreach.whole import write_whole

RANK = "rank-0.safetensors"


def at(step: int, processes: int = 1) -> Snapshot:
    own = tuple({"random": torch.arange(rank, rank + 5, dtype=torch.uint8)} for rank in range(processes))
    return Snapshot({"w": torch.randn(3, 2) * step, "empty": torch.zeros(0)}, own, {"step": step, "lr": 0.1 + 0.2})


def assert_equal(one: Snapshot, other: Snapshot) -> None:
    assert one.facts == other.facts
    for mine, others in zip((one.shared, *one.own), (other.shared, *other.own), strict=True):
        assert mine.keys() == others.keys()
        assert all(torch.equal(mine[name], others[name]) for name in mine)


def test_what_was_written_comes_back(tmp_path):
    snapshot = at(7, processes=3)
    assert_equal(read(write(tmp_path, snapshot)), snapshot)


def test_the_last_three_are_kept(tmp_path):
    for step in (1, 2, 30, 400, 5):
        write(tmp_path, at(step))
    assert [int(place.name) for place in found(tmp_path)] == [5, 30, 400]


def test_the_newest_is_read_and_there_may_be_none(tmp_path):
    assert newest(tmp_path) == (None, [])
    for step in (9, 10):
        write(tmp_path, at(step))
    kept, complaints = newest(tmp_path)
    assert kept.facts["step"] == 10
    assert not complaints


class Runs:
    """What a pickle can do."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def pickled(path):
    path.write_bytes(pickle.dumps(Runs()))


def missing(path):
    path.unlink()


@pytest.mark.parametrize("damage", [cut, flip, pickled, missing])
@pytest.mark.parametrize("name", [WEIGHTS, RANK, FACTS])
def test_a_damaged_one_is_passed_over_with_a_sentence(tmp_path, monkeypatch, damage, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, at(1))
    damage(write(tmp_path, at(2)) / name)
    kept, complaints = newest(tmp_path)
    assert kept.facts["step"] == 1
    assert len(complaints) == 1
    assert "000000002: expected a " in complaints[0]
    assert not (tmp_path / "executed").exists()
    assert_equal(read(write(tmp_path, two := at(2))), two)  # a run that goes on writes it anew


def test_tensors_in_a_pickle_are_not_read_even_if_the_sums_agree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda tensors: pickle.dumps(Runs()) if "w" in tensors else real(tensors))
    write(tmp_path, at(1))
    with pytest.raises(RunReadError, match=r"expected a whole checkpoint, got SafetensorError.*no checkpoint before"):
        newest(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_another_schema_is_named(tmp_path):
    place = write(tmp_path, at(1))
    facts = json.loads((place / FACTS).read_text())
    (place / FACTS).write_text(json.dumps(facts | {"schema": "longreach.checkpoint/99"}))
    with pytest.raises(RunReadError, match=r"expected a checkpoint of schema .*/2, got '.*/99'; resume"):
        newest(tmp_path)


@pytest.mark.parametrize("text", ["[]", "null", '"a"', '{"schema": "longreach.checkpoint/2", "sums": 3}'])
def test_facts_that_are_none_are_a_damaged_checkpoint(tmp_path, text):
    place = write(tmp_path, at(1))
    (place / FACTS).write_text(text)
    with pytest.raises(RunReadError, match="expected a whole checkpoint"):
        read(place)


@pytest.mark.parametrize("call", range(6))
def test_a_disk_that_fills_up_at_any_moment_leaves_what_was_there(tmp_path, monkeypatch, call):
    write(tmp_path, one := at(1))
    left, real = [call], os.fsync

    def fsync(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        if call < 4:
            with pytest.raises(OSError, match="No space left"):
                write(tmp_path, at(2))
        else:
            write(tmp_path, at(2))
    assert_equal(read(found(tmp_path)[0]), one)
    kept, complaints = newest(tmp_path)
    assert not complaints
    assert kept.facts["step"] in (1, 2)
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_what_a_killed_process_left_goes_with_the_next(tmp_path):
    draft = tmp_path / "checkpoints" / ".000000001.draft"
    draft.mkdir(parents=True)
    (draft / WEIGHTS).write_bytes(b"half")
    assert newest(tmp_path) == (None, [])
    write(tmp_path, at(2))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000000002"]


@given(st.binary(max_size=50), st.binary(max_size=50))
@settings(max_examples=10)
def test_a_file_holds_the_old_or_the_new(tmp_path_factory, old, new):
    path = tmp_path_factory.mktemp("whole") / "file"
    write_whole(path, old)
    assert path.read_bytes() == old
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            write_whole(path, new)
    assert path.read_bytes() == old
    write_whole(path, new)
    assert path.read_bytes() == new
    assert len(list(path.parent.iterdir())) == 1


# In a run


@pytest.fixture
def kept(tmp_path):
    loop = loop_of(adding(), tmp_path / "run", updates=2)
    loop.run()
    return newest(loop.folder)[0]


def test_another_number_of_processes_is_refused(tmp_path, kept):
    loop = loop_of(adding(), tmp_path / "run", updates=2)
    with pytest.raises(ArgumentError, match="expected 2 processes, as the run began with, got 1; resume with as many"):
        resume(loop, replace(kept, own=kept.own * 2))


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_a_checkpoint_of_another_network_is_refused(tmp_path, kept, cell):
    loop = loop_of(adding(), tmp_path / "run", updates=2, cell=cell)
    with pytest.raises(RunReadError, match=r"expected checkpoints of the network in train.json, got others"):
        resume(loop, kept)


def test_a_checkpoint_without_its_facts_is_refused(tmp_path, kept):
    loop = loop_of(adding(), tmp_path / "run", updates=2)
    with pytest.raises(RunReadError, match="KeyError: 'taken'"):
        resume(loop, replace(kept, facts={name: value for name, value in kept.facts.items() if name != "taken"}))


def test_nothing_in_a_checkpoint_but_tensors_and_json(tmp_path, kept):
    (place,) = found(tmp_path / "run")
    assert sorted(path.name for path in place.iterdir()) == sorted([FACTS, RANK, WEIGHTS])
    assert (place / WEIGHTS).read_bytes() == save(kept.shared)
