import os
from pathlib import Path

import pytest
from tests.view.serving import begin, make

from longreach.bench import place as bench
from longreach.errors import RunFolderError
from longreach.view import found
from longreach.view.found import find, state_of


def touch(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    return file


def names(root: Path) -> set[str]:
    return {run.name for run in find(root).runs}


def test_runs_are_found_some_levels_down_and_told_apart(tmp_path):
    for name in (
        "a",
        "longreach-runs/b",
        "project/longreach-runs/c",
        "one/two/three/four/d",
        "one/two/three/four/five/e",
    ):
        touch(tmp_path / name / "record.sqlite")
    touch(tmp_path / "training" / "train.json")
    touch(tmp_path / "begun" / "run.lock")
    touch(tmp_path / "judged" / "diagnosis.json")
    touch(tmp_path / "nothing" / "notes.txt")
    shelf = find(tmp_path)
    assert {run.name: run.kind for run in shelf.runs} == {
        "a": "run",
        "longreach-runs/b": "run",
        "project/longreach-runs/c": "run",
        "one/two/three/four/d": "run",
        "training": "training",
        "begun": "run",
        "judged": "run",
    }
    assert len({run.id for run in shelf.runs}) == len(shelf.runs)
    assert find(tmp_path) == shelf  # the same ids again
    assert all(shelf.get(run.id) == run for run in shelf.runs)
    assert shelf.get("../a") is None


def test_the_newest_comes_first(tmp_path):
    for age, name in enumerate(("new", "old", "oldest")):
        touch(tmp_path / name / "record.sqlite")
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert [run.name for run in find(tmp_path).runs] == ["new", "old", "oldest"]


def test_a_folder_that_is_a_run_is_the_only_one(tmp_path):
    touch(tmp_path / "record.sqlite")
    touch(tmp_path / "inside" / "record.sqlite")
    (run,) = find(tmp_path).runs
    assert (run.path, run.name) == (tmp_path, tmp_path.name)


def test_a_trial_and_a_bench_are_one_with_their_runs_inside(tmp_path):
    for arm in ("control", "lstm+skip"):
        for seed in range(3):
            touch(tmp_path / "treat-x" / "runs" / arm / f"seed-{seed}" / "record.sqlite")
            touch(tmp_path / "treat-x" / "runs" / arm / f"seed-{seed}" / "longreach-runs" / "own" / "record.sqlite")
    touch(tmp_path / "bench-x" / "bench.json")
    touch(tmp_path / "bench-x" / "runs" / "case" / "training" / "train.json")
    touch(tmp_path / "just-begun" / "treat.lock")
    shelf = find(tmp_path)
    assert {run.name: (run.kind, len(run.inner)) for run in shelf.runs} == {
        "treat-x": ("trial", 6),
        "bench-x": ("bench", 1),
        "just-begun": ("trial", 0),
    }
    for run in shelf.runs:
        for inner in run.inner:
            assert shelf.get(inner.id) == inner


def test_the_names_that_tell_a_bench_are_those_of_a_bench():
    assert (found.BENCH_PLAN, found.BENCH_LOCK) == (bench.PLAN, bench.LOCK)


def test_what_holds_no_runs_is_not_looked_into(tmp_path):
    touch(tmp_path / "venv" / "pyvenv.cfg")
    for name in (".hidden", "venv", "venv/lib", "node_modules", "a/__pycache__"):
        touch(tmp_path / name / "run" / "record.sqlite")
    assert names(tmp_path) == set()


def test_links_to_folders_are_not_followed(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    touch(outside / "run" / "record.sqlite")
    touch(root / "own" / "record.sqlite")
    (root / "out").symlink_to(outside)
    (root / "up").symlink_to("..")
    (root / "again").symlink_to(root)
    (root / "run").symlink_to(outside / "run")
    assert names(root) == {"own"}


def test_a_file_that_leads_out_of_the_folder_is_not_read(tmp_path):
    make(tmp_path / "outside")
    for link in ("record.sqlite", "diagnosis.json"):
        root = tmp_path / f"root-{link}"
        run = touch(root / "run" / "train.json").parent
        (tmp_path / "outside" / "diagnosis.json").write_text("{}")
        (run / link).symlink_to(tmp_path / "outside" / link)
        (found_run,) = find(root).runs
        with pytest.raises(RunFolderError, match=f"{link}: expected a file of the run, got a link out of the folder"):
            state_of(found_run, root)
    inside = tmp_path / "inside"
    make(inside / "real")
    (touch(inside / "run" / "train.json").parent / "record.sqlite").symlink_to(inside / "real" / "record.sqlite")
    assert all(state_of(run, inside) for run in find(inside).runs)


def test_the_state_changes_with_the_files_and_with_who_writes(tmp_path):
    store = begin(tmp_path / "RUN")
    (run,) = find(tmp_path).runs
    states = [state_of(run, tmp_path)]

    def changed() -> bool:
        states.append(state_of(run, tmp_path))
        return states[-1] != states[-2]

    assert not changed()
    store.add_losses([(31, 0.5)])
    assert not changed()  # nothing that others could read yet
    store.commit()
    assert changed()
    store.close()
    assert changed()
    (tmp_path / "RUN" / "diagnosis.json").write_text("{}")
    assert changed()


def test_the_end_of_a_killed_process_is_a_change(tmp_path):
    store = begin(tmp_path / "RUN")
    (run,) = find(tmp_path).runs
    before = state_of(run, tmp_path)
    os.close(store._claim._lock)  # as the kernel does: the file stays, its lock goes
    assert state_of(run, tmp_path) != before


def test_hostile_names(tmp_path):
    for name in ("<script>alert(1)<", "a\nb", "é" * 100, "a..", "%2e%2e", b"\xff".decode(errors="surrogateescape")):
        touch(tmp_path / name / "record.sqlite")
    shelf = find(tmp_path)
    assert len({run.id for run in shelf.runs}) == 6
    assert all(run.id.isalnum() for run in shelf.runs)


def test_too_many_folders_are_not_all_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(found, "MOST_FOLDERS", 10)
    for number in range(20):
        touch(tmp_path / f"{number:02}" / "record.sqlite")
    shelf = find(tmp_path)
    assert len(shelf.runs) == 9
    assert not shelf.whole


def test_what_cannot_be_read_is_left_out(tmp_path):
    touch(tmp_path / "own" / "record.sqlite")
    assert names(tmp_path) == {"own"}
    assert find(tmp_path / "none").runs == ()
    assert find(tmp_path / "own" / "record.sqlite").runs == ()
