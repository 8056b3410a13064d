"""`longreach bench` on the command line, with a stub instead of trainings."""

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longreach.bench import run
from longreach.cli import app
from longreach.errors import ArgumentError

STUB = str(Path(__file__).with_name("stub.py"))


@pytest.fixture
def call(tmp_path, monkeypatch):
    """The command in a folder of its own; each stub does what is said of its seed."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words, **behaviour):
        work = (STUB, str(tmp_path / "log.txt"), json.dumps(behaviour))
        with monkeypatch.context() as patch:
            patch.setattr(run, "bench", partial(run.bench, work=work))
            return CliRunner().invoke(app, ["bench", "--lengths", "10,20", "--cells", "lstm", "--seeds", "2", *words])

    return invoke


def test_the_same_command_finds_its_folder_again(call, tmp_path):
    first, again = call(), call()
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "2 of 2" in first.stdout
    assert again.stdout == first.stdout
    assert "4 of 4 are done already" in again.stderr
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 4
    (folder,) = (tmp_path / "longreach-runs").iterdir()
    assert {"results.parquet", "success.svg"} <= {one.name for one in folder.iterdir()}


def test_a_training_that_failed_shows_in_the_exit_code(call):
    found = call(**{"1": "die"})
    assert found.exit_code == 1
    assert "lstm, crashed: it was killed by signal 9" in found.stdout
    assert call().exit_code == 0


def test_quiet_says_nothing_but_the_table(call):
    found = call("--quiet")
    assert found.stderr == ""
    assert found.stdout.startswith("adding (le)")


def test_what_is_wrong_is_said_before_anything_runs(call, tmp_path):
    assert isinstance(call("--remedies", "nonsense").exception, ArgumentError)
    assert not (tmp_path / "longreach-runs").exists()
