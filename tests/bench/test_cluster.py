"""Cases on a cluster: against a stand-in for ray that runs them at once, and where ray is installed against ray."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from longreach.bench import cluster
from longreach.bench.cases import Asked
from longreach.bench.cluster import on_cluster, run_there
from longreach.bench.cores import on_cores
from longreach.errors import ArgumentError

CASES = list(Asked("adding", "10", "lstm", "none", seeds=4, steps=3, guess=0.0).cases())


def stub(folder, **behaviour):
    log = folder / "log.txt"
    log.write_text("")
    return str(Path(__file__).with_name("stub.py")), str(log), json.dumps(behaviour)


class RayError(Exception):
    pass


class Ray(SimpleNamespace):
    """As much of ray as is used: a task runs when its result is asked for."""

    def __init__(self, cores):
        super().__init__(exceptions=SimpleNamespace(RayError=RayError), cores=cores, in_flight=0, most=0, over=False)

    def init(self, address, **_):
        if address == "nowhere:1":
            raise ConnectionError("no such cluster\nand much more")

    def shutdown(self):
        self.over = True

    def cluster_resources(self):
        return {"CPU": float(self.cores)}

    def remote(self, num_cpus, max_retries):
        self.threads = num_cpus

        def wrapped(function):
            def begin(*arguments):
                self.in_flight += 1
                self.most = max(self.most, self.in_flight)
                return lambda: function(*arguments)

            return SimpleNamespace(remote=begin)

        return wrapped

    def wait(self, references, num_returns):
        return references[:num_returns], references[num_returns:]

    def get(self, reference):
        self.in_flight -= 1
        try:
            return reference()
        except ArgumentError as error:
            raise RayError(f"task failed\n{error}") from None


@pytest.fixture
def ray(monkeypatch):
    stand_in = Ray(cores=6)
    monkeypatch.setattr(cluster, "_ray", lambda: stand_in)
    return stand_in


def test_rows_are_those_of_this_machine(ray, tmp_path):
    work = stub(tmp_path, **{"2": "die"})
    there = dict(on_cluster(CASES, "auto", jobs=3, work=work))
    here = dict(on_cores(CASES, tmp_path, jobs=1, work=work))
    assert there == here
    assert (ray.most, ray.threads, ray.over) == (3, 2, True)


def test_a_machine_with_another_version_is_a_reason_and_not_the_end(ray, tmp_path, monkeypatch):
    there = cluster.run_there

    def lag(case, threads, work, version):
        return there(case, threads, work, "0.0.1" if case.seed == 1 else version)

    monkeypatch.setattr(cluster, "run_there", lag)
    rows = {row.seed: row for _, row in on_cluster(CASES, "auto", work=stub(tmp_path))}
    assert [rows[seed].outcome for seed in range(4)] == ["ended", "crashed", "ended", "ended"]
    assert (rows[1].failed or "").startswith("on the cluster: expected longreach 0.0.1 on every machine")


def test_nothing_is_left_on_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.tempfile, "mkdtemp", lambda prefix: str(tmp_path / f"{prefix}x"))
    row = run_there(CASES[0], 1, stub(tmp_path), cluster.__version__)
    assert row.solved
    assert not (tmp_path / "longreach-bench-x").exists()


def test_without_an_answer_it_is_said_what_to_do(ray, tmp_path):
    with pytest.raises(
        ArgumentError, match=r"--ray nowhere:1: expected a Ray cluster, got: no such cluster; start one"
    ):
        next(on_cluster(CASES, "nowhere:1"))


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ArgumentError, match=r'pip install "longreach\[cluster\]"'):
        next(on_cluster(CASES, "auto"))


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason='needs ray: pip install "longreach[cluster]"')
@pytest.mark.filterwarnings("ignore")  # of ray's own
def test_a_real_cluster_gives_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # where ray keeps the token of a cluster
    work = stub(tmp_path, **{"2": "die"})
    assert dict(on_cluster(CASES, "local", work=work)) == dict(on_cores(CASES, tmp_path / "here", jobs=1, work=work))
