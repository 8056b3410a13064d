"""Copies of the working folder."""

import os

import pytest

from longreach.errors import ArgumentError
from longreach.trial import copies


def test_copies_what_a_script_may_read_and_no_more(tmp_path):
    home = tmp_path / "home"
    for name in (
        "train.py",
        "data/a.csv",
        ".git/HEAD",
        "longreach-runs/x",
        "mine/treat.lock",
        "run/record.sqlite",
        "env/pyvenv.cfg",
        "env/bin/python",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    os.mkfifo(home / "pipe")
    (home / "dangling").symlink_to("nowhere")
    copies.check(home)
    copies.copy(home, tmp_path / "copy")
    found = sorted(
        str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()
    )
    assert found == ["data/a.csv", "train.py"]
    (tmp_path / "copy" / "train.py").write_text("changed")
    assert (home / "train.py").read_text() == "train.py"


def test_large_files_are_linked_to(tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "LARGE", 10)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "big").write_text("0123456789")
    copies.copy(tmp_path / "home", tmp_path / "copy")
    assert (tmp_path / "copy" / "big").resolve() == (tmp_path / "home" / "big").resolve()


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 2), ("MOST_BYTES", 2)])
def test_too_much_is_refused_before_anything_is_run(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(copies, limit, value)
    for name in "abc":
        (tmp_path / name).write_text(name)
    with pytest.raises(ArgumentError, match="--in-place"):
        copies.check(tmp_path)
