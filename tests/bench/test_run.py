"""The runner, with a stub instead of trainings; and one training that is real."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars
import pytest

from longreach.bench import run
from longreach.bench.cases import Asked, Case, Challenge, Course
from longreach.bench.cores import on_cores
from longreach.bench.run import bench
from longreach.bench.work import Orders, _trained
from longreach.errors import ArgumentError, RunFolderError

STUB = Path(__file__).with_name("stub.py")


def asked(seeds=3, **options):
    usual = {"tasks": "adding", "lengths": "10", "cells": "lstm", "remedies": "none", "steps": 3, "guess": 0.0}
    return Asked(**usual | options, seeds=seeds)


class Stub:
    """A worker for `bench`, and what it was asked to do."""

    def __init__(self, folder, **behaviour):
        self.log = folder / "log.txt"
        self.log.write_text("")
        self.work = (str(STUB), str(self.log), json.dumps({name.lstrip("_"): what for name, what in behaviour.items()}))

    def lines(self):
        return [tuple(map(int, line.split())) for line in self.log.read_text().splitlines()]

    def seeds(self):
        return sorted(seed for seed, *_ in self.lines())


def test_one_that_breaks_is_a_row_with_its_reason_and_the_others_go_on(tmp_path):
    stub = Stub(tmp_path, _1="die", _2="raise", _3="full")
    benched = bench(asked(5), jobs=2, folder=tmp_path / "bench", quiet=True, work=stub.work)
    assert benched.complete
    rows = {row.seed: row for row in benched.rows}
    assert [rows[seed].outcome for seed in range(5)] == ["ended", "crashed", "crashed", "crashed", "ended"]
    assert rows[1].failed == "it was killed by signal 9"
    assert rows[2].failed == "RuntimeError: the network burst"
    assert rows[3].failed == "OSError: [Errno 28] No space left on device"
    table = polars.read_parquet(tmp_path / "bench" / "results.parquet")
    assert table["failed"].null_count() == 2
    assert (tmp_path / "bench" / "success.svg").read_text().startswith("<svg")


def test_the_same_command_runs_only_what_did_not_end(tmp_path):
    first, second = Stub(tmp_path, _1="die"), None
    bench(asked(), jobs=1, folder=tmp_path / "bench", quiet=True, work=first.work)
    assert first.seeds() == [0, 1, 2]
    second = Stub(tmp_path)
    benched = bench(asked(), jobs=1, folder=tmp_path / "bench", quiet=True, work=second.work)
    assert second.seeds() == [1]
    assert all(row.solved for row in benched.rows)
    third = Stub(tmp_path)
    bench(asked(), jobs=1, folder=tmp_path / "bench", quiet=True, work=third.work)
    assert third.seeds() == []


def test_a_kill_of_the_bench_ends_its_processes_and_loses_nothing_that_had_ended(tmp_path):
    stub, folder = Stub(tmp_path, _2="sleep"), tmp_path / "bench"
    program = f"""
from pathlib import Path
from longreach.bench.cases import Asked
from longreach.bench.run import bench
bench({asked()!r}, jobs=1, folder=Path({str(folder)!r}), quiet=True, work={stub.work!r})
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        _wait(lambda: len(stub.lines()) == 3 and _count(folder) == 2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _wait(lambda: not _is_alive(stub.lines()[-1][1]))
    assert _count(folder) == 2
    again = Stub(tmp_path)
    benched = bench(asked(), jobs=1, folder=folder, quiet=True, work=again.work)
    assert again.seeds() == [2]
    assert (len(benched.rows), benched.wanted) == (3, 3)


def test_an_interrupt_ends_what_runs_and_tells_what_is_known(tmp_path, monkeypatch):
    stub, begun = Stub(tmp_path, _1="sleep", _2="sleep"), []

    def rows(cases, folder, jobs, ray, progress, work):
        for case, row in on_cores(cases, folder, jobs=1, begun=begun.append, work=work):
            yield case, row
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "_rows", rows)
    benched = bench(asked(), folder=tmp_path / "bench", quiet=True, work=stub.work)
    assert not benched.complete
    assert [row.seed for row in benched.rows] == [0]
    assert all(not _is_alive(pid) for _, pid, _ in stub.lines())


def test_cores_are_shared_out_among_the_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr("longreach.bench.cores.cores", lambda: 8)
    for jobs, threads in ((2, 4), (3, 2), (4, 2), (50, 2), (None, 2)):  # four cases: never more jobs than that
        stub = Stub(tmp_path)
        list(on_cores(list(asked(4).cases()), tmp_path / f"jobs-{jobs}", jobs=jobs, work=stub.work))
        assert {count for _, _, count in stub.lines()} == {threads}


def test_a_folder_of_another_command_is_refused_and_says_what_differs(tmp_path):
    folder = tmp_path / "bench"
    bench(asked(1), folder=folder, quiet=True, work=Stub(tmp_path).work)
    with pytest.raises(RunFolderError, match=r"differs in --lengths: there '10', here '20'; --seeds: there 1, here 2;"):
        bench(asked(2, lengths="20"), folder=folder, quiet=True, work=Stub(tmp_path).work)
    (folder / "bench.json").write_text("{")
    with pytest.raises(RunFolderError, match="expected the options of a bench, got JSONDecodeError"):
        bench(asked(1), folder=folder, quiet=True, work=Stub(tmp_path).work)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("\\title{}")
    with pytest.raises(RunFolderError, match=r"found thesis.tex in it"):
        bench(asked(1), folder=tmp_path, quiet=True)
    with pytest.raises(RunFolderError, match="expected a folder that can be written"):
        bench(asked(1), folder=tmp_path / "thesis.tex", quiet=True)
    with pytest.raises(ArgumentError, match="--jobs: expected 1 or more, got 0"):
        bench(asked(1), folder=tmp_path / "new", jobs=0)


def test_a_full_disk_is_said_and_what_was_finished_is_kept(tmp_path, monkeypatch):
    stub, kept = Stub(tmp_path), run.Results.add

    def add(self, case, row):
        if case.seed == 1:
            raise OSError(28, "No space left on device")
        kept(self, case, row)

    monkeypatch.setattr(run.Results, "add", add)
    with pytest.raises(RunFolderError, match="No space left on device"):
        bench(asked(), jobs=1, folder=tmp_path / "bench", quiet=True, work=stub.work)
    monkeypatch.undo()
    again = Stub(tmp_path)
    bench(asked(), jobs=1, folder=tmp_path / "bench", quiet=True, work=again.work)
    assert again.seeds() == [1, 2]


def test_a_training_gives_its_row(tmp_path):
    case = Case(Challenge.read("adding"), 10, Course("lstm", ("clip-norm",)), 0, 3)
    row = _trained(Orders.of(case, tmp_path))
    assert (row["outcome"], row["updates"], row["solved"]) == ("ended", 3, False)
    assert 0.5 < row["wrong"] <= 1
    assert math.isclose(row["chance"], 1 / 6)
    assert (row["skipped"], row["returns"]) == (0, 0)
    assert 0 < row["reach"] <= 9


def test_a_remedy_that_does_not_fit_is_no_failure_of_the_cell(tmp_path):
    case = Case(Challenge.read("copying"), 10, Course("rnn", ("forget-bias",)), 0, 3)
    row = _trained(Orders.of(case, tmp_path))
    assert row["outcome"] == "refused"
    assert row["failed"].startswith("forget-bias: expected")


def _wait(until, seconds=60.0):
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


def _count(folder):
    table = folder / "results.parquet"
    return len(polars.read_parquet(table)) if table.exists() else 0


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
