"""Several processes: they learn as one would from the whole batch, stop together, and are started again."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tests.training.small import WORDS, begun, go_on

from longreach.training.checkpoint import found
from longreach.training.train import resume

DYING = """
import os, signal, sys
from longreach.training import loop
from longreach.training.devices import is_restarted

real, left = loop.length_of, [8]

def dying(parameters):
    left[0] -= 1
    if left[0] == 0 and os.environ["RANK"] == "1" and not is_restarted():
        os.kill(os.getpid(), signal.SIGKILL)
    return real(parameters)

loop.length_of = dying
from longreach.cli import main
main()
"""


@pytest.fixture(scope="module")
def processes():
    """Forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.small"])
    return context


@pytest.fixture
def planned(tmp_path):
    """A stream of one part for each process, without dropout: each would drop others."""
    text = tmp_path / "words.txt"
    text.write_text(" ".join(WORDS[number * number % 97 % len(WORDS)] for number in range(400)))
    folder = begun(tmp_path / "planned", "text", {"files": [str(text)]}, checkpoint_every=0.0)
    plan = json.loads((folder / "train.json").read_text())
    plan["plan"]["architecture"]["dropout"] = 0.0
    (folder / "train.json").write_text(json.dumps(plan))
    return folder


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def as_worker(rank, port, folder, death):
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_WORLD_SIZE": 2, "WORLD_SIZE": 2}
    own = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "none"}
    os.environ.update({name: str(value) for name, value in (place | own).items()})
    go_on(folder, death if rank == 1 else None)


def both(processes, folder, death=None):
    """Exit codes of two workers, started as torchrun does."""
    port = free_port()
    workers = [processes.Process(target=as_worker, args=(rank, port, folder, death)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        worker.kill()
    return [worker.exitcode for worker in workers]


def left(folder):
    names = ["model.safetensors", "metrics.csv", "validation.csv"]
    files = {name: (folder / name).read_bytes() for name in names}
    files |= {str(path.relative_to(folder)): path.read_bytes() for path in found(folder)[-1].iterdir()}
    return files | {"scores": json.loads((folder / "outcome.json").read_text())["test"]}


@pytest.fixture
def clean(tmp_path, planned, processes):
    """What two processes come to that nobody disturbs."""
    folder = shutil.copytree(planned, tmp_path / "clean")
    assert both(processes, folder) == [0, 0]
    return folder


def test_two_learn_as_one_does(tmp_path, planned, clean):
    """The gradient is the mean of those of the parts; both runs judge by the same characters."""
    alone = shutil.copytree(planned, tmp_path / "alone")
    resume(alone, quiet=True, budget=0)
    one, two = (load_file(folder / "model.safetensors") for folder in (alone, clean))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-4)


def test_a_signal_to_one_stops_both_and_both_go_on(tmp_path, planned, clean, processes):
    stopped = shutil.copytree(planned, tmp_path / "stopped")
    assert both(processes, stopped, ("longreach.training.loop.length_of", 4, signal.SIGTERM)) == [143, 143]
    assert int(found(stopped)[-1].name) == 4
    assert both(processes, stopped) == [0, 0]
    assert left(stopped) == left(clean)


def test_a_worker_that_dies_is_started_again_by_torchrun(tmp_path, planned, clean):
    killed, script = shutil.copytree(planned, tmp_path / "killed"), tmp_path / "dying.py"
    script.write_text(DYING)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    command += ["--master-port", str(free_port()), "--monitor-interval", "0.05", str(script)]
    command += ["train", "--resume", str(killed), "--budget", "0"]
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, env=paths, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr
    assert "going on from step 7" in told.stderr
    assert told.stdout.count("run folder:") == 1
    assert left(killed) == left(clean)
