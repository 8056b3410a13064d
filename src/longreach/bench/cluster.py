"""The cases of a bench on a Ray cluster."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from longreach import __version__
from longreach.bench.cases import Case
from longreach.bench.process import WORK, Processes
from longreach.bench.results import Row
from longreach.errors import ArgumentError

RETRIES = 3  # of a case whose machine is lost


def on_cluster(
    cases: Sequence[Case],
    address: str,
    *,
    jobs: int | None = None,
    begun: Callable[[Case], None] = lambda case: None,
    work: Sequence[str] = WORK,
) -> Iterator[tuple[Case, Row]]:
    """Each case with its row, as they end; on the machines of a cluster, which all need this version of longreach.

    address  as in ray.init: "auto" for the cluster that this machine belongs to, HOST:PORT, ray://HOST:PORT, or "local"
             for one that lives on this machine while the bench does
    jobs     cases at a time; None: one a core of the cluster
    Leaves   nothing but the rows: the folders of the trainings are on the machines, and deleted
    Raises   ArgumentError without ray, or where no cluster answers
    """
    ray = _ray()
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ArgumentError(
            f"--ray {address}: expected a Ray cluster, got: {str(error).splitlines()[0]}; start one by `ray start "
            "--head`, set RAY_AUTH_MODE=token where it asks for a token, or leave --ray out to use this machine's cores"
        ) from None
    try:
        yield from _results(ray, cases, jobs, begun, tuple(work))
    finally:
        ray.shutdown()


def _results(
    ray: Any, cases: Sequence[Case], jobs: int | None, begun: Callable[[Case], None], work: tuple[str, ...]
) -> Iterator[tuple[Case, Row]]:
    total = int(ray.cluster_resources().get("CPU", 1))
    jobs = min(jobs or total, max(1, total))
    threads = max(1, total // jobs)
    task = ray.remote(num_cpus=threads, max_retries=RETRIES)(run_there)
    waiting, asked = list(cases)[::-1], {}
    while waiting or asked:
        while waiting and len(asked) < jobs:
            case = waiting.pop()
            begun(case)
            asked[task.remote(case, threads, work, __version__)] = case
        done, _ = ray.wait(list(asked), num_returns=1)
        for reference in done:
            case = asked.pop(reference)
            try:
                row = ray.get(reference)
            except ray.exceptions.RayError as error:
                last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
                row = Row.of(case, failed=f"on the cluster: {last[0].strip()[:300]}")
            yield case, row


def run_there(case: Case, threads: int, work: tuple[str, ...], version: str) -> Row:
    """On a machine of the cluster: a case, in a folder that lives as long as it does."""
    if version != __version__:
        raise ArgumentError(f"expected longreach {version} on every machine of the cluster, got {__version__}")
    folder = Path(tempfile.mkdtemp(prefix="longreach-bench-"))
    try:
        return Processes(threads, work).run(case, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ray() -> Any:
    try:
        import ray  # type: ignore[import-not-found]  # an extra
    except ImportError:
        raise ArgumentError(
            'bench: --ray: expected ray, which is not installed; pip install "longreach[cluster]", on every machine '
            "of the cluster"
        ) from None
    return ray
