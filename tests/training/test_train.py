"""Whole runs: killed and resumed in processes of their own, and what one gets who resumes what cannot be resumed."""

import json
import multiprocessing
import os
import shutil
import signal

import pytest
from tests.training.small import WORDS, begun, go_on
from typer.testing import CliRunner

from longreach.cli import app
from longreach.errors import ArgumentError, LongreachError, RunFolderError, RunReadError
from longreach.folder import Claim
from longreach.training import train as training
from longreach.training.checkpoint import found
from longreach.training.plan import Settings
from longreach.training.train import resume, train

ADDING = {"name": "adding", "length": 10}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(" ".join(WORDS[number * number % 97 % len(WORDS)] for number in range(400)))
    return {"files": [str(path)]}


@pytest.fixture(scope="module")
def processes():
    """Forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.small"])
    return context


def left(folder):
    """What a run leaves, by name; not what tells the time."""
    names = ["model.safetensors", "metrics.csv", "validation.csv"]
    files = {name: (folder / name).read_bytes() for name in names}
    files |= {str(path.relative_to(folder)): path.read_bytes() for path in found(folder)[-1].iterdir()}
    return files | {"scores": json.loads((folder / "outcome.json").read_text())["test"]}


DEATHS = [
    ("longreach.training.loop.length_of", 5, signal.SIGKILL),  # between backward and update
    ("os.fsync", 10, signal.SIGKILL),  # in the middle of a checkpoint
    ("longreach.training.checkpoint.flush", 2, signal.SIGKILL),
    ("longreach.training.loop.checkpointed", 2, signal.SIGINT),
    ("longreach.training.loop.judged", 1, signal.SIGTERM),
    ("longreach.training.outcome.judged", 1, signal.SIGKILL),  # when all was learned
]


@pytest.mark.parametrize("kind", ["text", "task"])
def test_a_run_that_dies_again_and_again_ends_as_the_one_that_was_left_alone(tmp_path, text, processes, kind):
    planned = begun(tmp_path / "planned", kind, text if kind == "text" else ADDING, checkpoint_every=0.0, updates=20)
    clean, killed = (shutil.copytree(planned, tmp_path / name) for name in ("clean", "killed"))
    resume(clean, quiet=True, budget=0)
    for death in DEATHS:
        process = processes.Process(target=go_on, args=(killed, death))
        process.start()
        process.join()
        number = death[-1]
        assert process.exitcode == (-number if number == signal.SIGKILL else 128 + number), death
    resume(killed, quiet=True, budget=0)
    assert left(killed) == left(clean)


def test_watching_changes_no_bit(tmp_path, text):
    planned = begun(tmp_path / "planned", "text", text)
    clean, watched = (shutil.copytree(planned, tmp_path / name) for name in ("clean", "watched"))
    resume(clean, quiet=True, budget=0)
    assert resume(watched, quiet=True, budget=1.0).verdict
    assert left(watched) == left(clean)


# What cannot be resumed


def refused(folder, expected, kind=LongreachError):
    before = sorted(folder.rglob("*")) if folder.exists() else None
    with pytest.raises(kind, match=expected):
        resume(folder, quiet=True, budget=0)
    assert before == (sorted(folder.rglob("*")) if folder.exists() else None)


def test_a_run_that_has_ended(tmp_path):
    folder = begun(tmp_path / "run", "task", ADDING, updates=2)
    resume(folder, quiet=True, budget=0)
    refused(folder, "it has come to its end; see outcome.json in it, or train anew with more --steps", ArgumentError)


def test_a_folder_that_holds_no_run(tmp_path):
    refused(tmp_path, "expected the run folder of a `longreach train`, found no train.json in it", RunReadError)
    refused(tmp_path / "nowhere", "found no train.json in it", RunReadError)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "longreach.training/1"}', "\0"])
def test_a_plan_that_was_changed_by_hand(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    refused(tmp_path, "expected the plan of a training run", RunReadError)


def test_a_run_that_another_process_is_writing(tmp_path):
    folder = begun(tmp_path / "run", "task", ADDING)
    claim = Claim.again(folder)
    refused(folder, "another run is writing there right now", RunFolderError)
    claim.release()


def test_data_that_have_changed(tmp_path, text):
    folder = begun(tmp_path / "run", "text", text)
    with open(text["files"][0], "a") as file:
        file.write("more")
    refused(folder, "expected the data that the run began with, got others", ArgumentError)


def test_a_run_none_of_whose_checkpoints_is_whole(tmp_path):
    folder = begun(tmp_path / "run", "task", ADDING, updates=2)
    resume(folder, quiet=True, budget=0)
    (folder / "outcome.json").unlink()
    (found(folder)[0] / "facts.json").write_text("")
    refused(folder, "expected a whole checkpoint.*no checkpoint before it can be read either: delete", RunReadError)


# What the command leaves


def test_the_command_leaves_a_page_and_names_it(tmp_path):
    folder = tmp_path / "run"
    told = CliRunner().invoke(app, ["train", "task", "adding", "--length=8", "--steps=2", f"--run-dir={folder}"])
    assert told.exit_code == 0
    assert told.output.endswith(f"page: {folder}/report.html\nrun folder: {folder}\n")
    assert "still going on" not in (folder / "report.html").read_text()


# A full disk


@pytest.mark.parametrize("budget", [0, 0.02])
def test_a_disk_that_stays_full_is_told_and_the_run_can_go_on_when_there_is_space(tmp_path, monkeypatch, text, budget):
    planned = begun(tmp_path / "planned", "text", text, checkpoint_every=0.0)
    clean, full = (shutil.copytree(planned, tmp_path / name) for name in ("clean", "full"))
    resume(clean, quiet=True, budget=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        if budget:
            patch.setattr(training.Store, "create", raising(RunFolderError("expected a disk with space on it")))
        told = CliRunner().invoke(app, ["train", "--resume", str(full), "--budget", str(budget)])
    assert told.exit_code == 1
    assert "bits per character" in told.output
    assert told.output.count("model.safetensors could not be written: No space left on device") == 1
    assert told.output.rstrip().endswith(f"then `longreach train --resume {full}`")
    assert "report.html" not in told.output, "one complaint is enough"
    resume(full, quiet=True, budget=0)
    assert left(full) == left(clean)


def raising(error):
    def raises(*_, **__):
        raise error

    return raises


# What is said before any work


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"strategy": "fsdp"}, "--strategy: expected auto or ddp, got 'fsdp'.*use ddp"),
        ({"devices": "none"}, "--devices: expected a number above 0, or auto, got 'none'"),
        ({"precision": "16-mixed"}, "--precision: expected 32-true, bf16-mixed, got '16-mixed'"),
        ({"checkpoint_every": -1.0}, "--checkpoint-every: expected seconds, 0 or above, got -1.0"),
        ({"remedies": ("guard",)}, "--remedies guard: training does that by itself"),
    ],
)
def test_settings_that_do_not_fit(settings, expected):
    with pytest.raises(ArgumentError, match=expected):
        Settings(**settings)


def test_devices_that_are_not_there(tmp_path):
    with pytest.raises(ArgumentError, match="--accelerator tpu, --devices 1: expected devices of this machine"):
        train("task", ADDING, Settings(accelerator="tpu"), folder=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_planned_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "prescribe", raising(ArgumentError("expected another cell")))
    with pytest.raises(ArgumentError, match="expected another cell"):
        train("task", ADDING, quiet=True)
    assert not list((tmp_path / "longreach-runs").iterdir())


def test_workers_that_may_be_started_again_need_a_folder(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(ArgumentError, match="--run-dir: expected a folder, got none; workers that torchrun starts"):
        train("task", ADDING)
