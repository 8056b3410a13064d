"""One training in two processes, started by torchrun: the same verdict, and no rank waits for a dead one."""

import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist

from longreach import ranks
from longreach.probes import together

SCRIPT = Path(__file__).parent / "scripts" / "parallel.py"
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
LONGREACH = ("-m", "longreach", "run", "--run-dir")


def python(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)


def losses(out):
    """What the ranks printed last; two of them may write into one line."""
    return sorted(word for word in out.replace("rank", " ").split() if word.startswith("0."))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = python(*LONGREACH, folder, SCRIPT, "--wrap", "none")
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "diagnosis.json").read_text())


@pytest.mark.parametrize("outside", ["longreach", "torchrun"])
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_two_ranks_get_the_verdict_of_one(tmp_path, alone, wrap, outside):
    folder, training = tmp_path / "run", (SCRIPT, "--wrap", wrap)
    if outside == "longreach":
        done = python(*LONGREACH, folder, *TORCHRUN, *training)
    else:
        done = python(*TORCHRUN, *LONGREACH, folder, *training)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "diagnosis.json").read_text())
    assert found["verdict"] == alone["verdict"] == "vanishing-in-time"
    (layer,), (expected,) = found["layers"], alone["layers"]
    assert (layer["module"], layer["need"]["lag"]) == (expected["module"], expected["need"]["lag"])
    assert abs(layer["reach"]["lag"] - expected["reach"]["lag"]) <= 1  # other batches, the same weights
    assert found["steps"] == alone["steps"]
    assert done.stderr.count("run folder: ") == 1, "one rank speaks"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_the_watch_changes_no_loss(tmp_path, wrap):
    plain = python(*TORCHRUN, SCRIPT, "--wrap", wrap, "--steps", 20)
    watched = python(*LONGREACH, tmp_path / "run", *TORCHRUN, SCRIPT, "--wrap", wrap, "--steps", 20)
    assert len(losses(plain.stdout)) == 2
    assert losses(watched.stdout) == losses(plain.stdout)


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_a_killed_rank_ends_the_run_and_leaves_the_record(tmp_path, wrap):
    training = (SCRIPT, "--wrap", wrap, "--steps", 5000, "--die-at", 60)
    done = python(*LONGREACH, tmp_path / "run", *TORCHRUN, *training)
    assert done.returncode == 1
    assert "ChildFailedError" in done.stderr or "SIGKILL" in done.stderr
    found = json.loads((tmp_path / "run" / "diagnosis.json").read_text())
    assert 0 < found["steps"] <= 61
    assert found["layers"][0]["reach"] is not None
    assert found["run"]["exit"] == 1


@pytest.mark.parametrize(
    ("program", "starts"),
    [
        ("torch.distributed.run", True),
        ("/usr/bin/torchrun", True),
        ("torchrun.py", False),
        ("train.py", False),
        ("torch", False),
    ],
)
def test_what_starts_ranks(program, starts):
    assert ranks.starts_ranks(program) is starts


@pytest.mark.parametrize(
    ("environment", "rank", "world"),
    [({}, 0, 1), ({"RANK": "3", "WORLD_SIZE": "4"}, 3, 4), ({"RANK": "", "WORLD_SIZE": "two"}, 0, 1)],
)
def test_who_this_process_is(monkeypatch, environment, rank, world):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (ranks.rank(), ranks.world()) == (rank, world)


class TestAgreement:
    """Two ranks as two threads with one store."""

    @pytest.fixture(autouse=True)
    def world(self, monkeypatch):
        store = dist.HashStore()
        store.set_timeout(timedelta(seconds=10))
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda: 2)
        monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", lambda: store)

    def agreed(self, *turns):
        answers = {}

        def rank(number, steps):
            this = together.Together()
            answers[number] = [this.agree(step) for step in steps]

        threads = [threading.Thread(target=rank, args=turn) for turn in enumerate(turns)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def test_all_are_there(self):
        assert self.agreed([0, 1, 2], [0, 1, 2]) == {0: [True] * 3, 1: [True] * 3}

    def test_one_that_stays_away_ends_it_for_all(self, monkeypatch):
        monkeypatch.setattr(together, "PATIENCE", 0.2)
        assert self.agreed([0, 1, 2, 3], [0]) == {0: [True, False, False, False], 1: [True]}

    def test_one_that_comes_too_late_hears_the_same(self, monkeypatch):
        monkeypatch.setattr(together, "PATIENCE", 0.2)
        first = together.Together()
        assert not first.agree(5)
        late = together.Together()
        assert not late.agree(5)
