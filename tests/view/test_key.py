import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from longreach.view.key import derived, key


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run" / "longreach" / "view.key"


def test_it_is_kept_for_this_user_alone(place):
    first = key()
    assert len(first) == 32
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert key() == first
    assert os.listdir(place.parent) == ["view.key"]


def test_without_a_runtime_folder_it_lies_in_the_cache(place, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    key()
    assert (tmp_path / "cache/longreach/view.key").is_file()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    key()
    assert (tmp_path / "home/.cache/longreach/view.key").is_file()


def test_one_that_others_could_read_is_replaced(place):
    first = key()
    place.chmod(0o644)
    assert key() != first
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


@pytest.mark.parametrize("found", [b"", b"short", bytes(33)])
def test_one_that_is_not_whole_is_replaced(place, found):
    place.parent.mkdir(parents=True)
    place.write_bytes(found)
    place.chmod(0o600)
    drawn = key()
    assert len(drawn) == 32
    assert drawn not in (found, bytes(32))
    assert key() == drawn


def test_a_link_or_a_pipe_in_its_place_is_not_followed(place, tmp_path):
    place.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(bytes(32))
    (tmp_path / "elsewhere").chmod(0o600)
    place.symlink_to(tmp_path / "elsewhere")
    assert key() != bytes(32)
    assert (tmp_path / "elsewhere").read_bytes() == bytes(32)
    place.unlink()
    os.mkfifo(place, 0o600)
    assert len(key()) == 32  # and does not wait for somebody to write


def test_where_it_cannot_be_kept_it_counts_for_this_process(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    assert len(key()) == 32
    assert key() != key()


def test_servers_that_start_at_once_agree(place):
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: key(), range(64)))) == 1


def test_a_word_for_each_purpose():
    words = {derived(bytes(32), *purpose) for purpose in [("name", 1), ("name", 2), ("value", 1), ("name1",)]}
    assert len(words) == 4
    assert derived(bytes(32), "name", 1) == derived(bytes(32), "name", 1)
    assert derived(bytes(32), "a") != derived(bytes(range(32)), "a")
