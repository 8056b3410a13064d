"""`longreach train`: from data to a trained network, a report, and what the user came for."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from longreach.errors import ArgumentError, LongreachError, RunFolderError
from longreach.folder import RECORD, Claim
from longreach.probes.fused import flushes_subnormals
from longreach.store import Store
from longreach.training import checkpoint
from longreach.training.devices import is_restarted, may_be_restarted
from longreach.training.kinds import read
from longreach.training.loop import Loop
from longreach.training.memory import prescribe
from longreach.training.network import Network
from longreach.training.outcome import Outcome, concluded
from longreach.training.plan import Plan, Settings
from longreach.training.problem import Problem
from longreach.training.progress import Progress, Silent
from longreach.training.run import OUTCOME, PLAN, read_plan, write_plan
from longreach.training.snapshot import resume as go_on_from
from longreach.watching import Watch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def train(
    kind: str,
    source: dict[str, Any],
    settings: Settings | None = None,
    *,
    folder: Path | None = None,
    budget: float = 0.02,
    quiet: bool = False,
) -> Outcome:
    """Train a network on data of a kind, with as long a memory as they need.

    kind, source  as in `kinds.read`
    settings      what the user wants to choose; the rest is measured
    folder        new or empty; None: one under longreach-runs/. A worker that torchrun has started again goes on in it
    budget        share of the wall time that watching may take; 0: nobody watches
    Raises        ArgumentError for data or settings that do not fit, before any work; RunFolderError; Interrupted and
                  Diverged, with a checkpoint left to go on from
    """
    settings = settings or Settings()
    if folder is None and may_be_restarted():
        raise ArgumentError(
            "--run-dir: expected a folder, got none; workers that torchrun starts again go on with what lies there"
        )
    if folder is not None and is_restarted() and (folder / PLAN).exists():
        return resume(folder, budget=budget, quiet=quiet)
    fabric = settings.machine.launch()
    problem, claim = None, None

    def prepared() -> tuple[Path, Plan]:
        nonlocal problem, claim
        problem = read(kind, source)
        claim = _claimed(folder, kind)
        plan = prescribe(problem, settings)
        if plan.sizes.batch < fabric.world_size:
            raise ArgumentError(
                f"--batch: expected at least {fabric.world_size}, a sequence for each process, got {plan.sizes.batch}"
            )
        write_plan(claim.folder, kind, source, problem.recipe(), plan)
        return claim.folder, plan

    try:
        place, plan = _once(fabric, prepared)
        problem = problem or read(kind, source)
        return _trained(problem, plan, fabric, place, None, budget=budget, quiet=quiet)
    finally:
        if claim is not None:
            claim.release()
            if folder is None:
                with suppress(OSError):  # what holds a run is not empty, and stays
                    claim.folder.rmdir()


def resume(folder: Path, *, budget: float = 0.02, quiet: bool = False) -> Outcome:
    """Go on with a run that was stopped, from its latest checkpoint, to the last bit as if nothing had happened.

    Raises  RunReadError where the folder holds no training run, or no checkpoint can be read; ArgumentError where the
            run is over, its data have changed, or there are more or fewer processes than before
    """
    kind, source, recipe, plan = read_plan(folder)
    fabric = plan.machine.launch()
    problem, claim = None, None

    def prepared() -> tuple[checkpoint.Snapshot | None, list[str]]:
        nonlocal problem, claim
        if (folder / OUTCOME).exists():
            raise ArgumentError(
                f"{folder}: expected a run to go on with, but it has come to its end; see {OUTCOME} in it, or train "
                "anew with more --steps"
            )
        problem = read(kind, source)
        if json.loads(json.dumps(problem.recipe())) != recipe:
            raise ArgumentError(
                f"{folder}: expected the data that the run began with, got others from {source}; put them back, or "
                "train anew"
            )
        claim = Claim.again(folder)
        return checkpoint.newest(folder)

    try:
        kept, complaints = _once(fabric, prepared)
        problem = problem or read(kind, source)
        told = [*complaints, *(["no checkpoint was written yet: training begins at the beginning"] * (kept is None))]
        return _trained(problem, plan, fabric, folder, (kept, told), budget=budget, quiet=quiet)
    finally:
        if claim is not None:
            claim.release()


def _claimed(folder: Path | None, kind: str) -> Claim:
    if folder is None:
        return Claim.default(kind)
    return Claim.again(folder) if is_restarted() and folder.exists() else Claim(folder)


def _once(fabric: "Fabric", work: Callable[[], T]) -> T:
    """The first process does it, and all have what it gave; or end as it does, without a word."""
    given: Any = None
    error: LongreachError | None = None
    if fabric.is_global_zero:
        try:
            given = work()
        except LongreachError as raised:
            error = raised
    given, is_wrong = fabric.broadcast((given, error is not None))
    if error is not None:
        raise error
    if is_wrong:
        raise SystemExit(1)
    return given


@contextmanager
def _without_subnormals() -> Iterator[None]:
    """A gradient that vanishes is no reason to be slow. Afterwards as it was: it changes all in the process."""
    were_flushed = flushes_subnormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(were_flushed)


@_without_subnormals()
def _trained(
    problem: Problem,
    plan: Plan,
    fabric: "Fabric",
    folder: Path,
    earlier: tuple[checkpoint.Snapshot | None, list[str]] | None,
    *,
    budget: float,
    quiet: bool,
) -> Outcome:
    began, first = time.monotonic(), fabric.is_global_zero
    torch.manual_seed(plan.sizes.seed)
    network = Network(plan.architecture)
    told = Progress(folder, plan.updates, quiet=quiet, reach=plan.reach, need=plan.need) if first else Silent()
    kept, sentences = earlier or (None, plan.reasons)
    for sentence in sentences:
        told.said(sentence)
    loop = Loop(network, problem, plan.on(fabric.global_rank, fabric.world_size), fabric, folder, told)
    told.said(_described(network, plan))
    if kept is not None:
        go_on_from(loop, kept)
        told.said(f"going on from step {loop.step}")
        if kept.facts["threads"] != torch.get_num_threads():
            told.said(
                f"{kept.facts['threads']} threads until now, {torch.get_num_threads()} from here on: sums may round "
                "otherwise than they would have"
            )
    try:
        told.begin(loop.step)
        with _watched(loop, folder if first else None, budget):
            loop.run()
    finally:
        told.end()
    return concluded(loop, began)


@contextmanager
def _watched(loop: Loop, folder: Path | None, budget: float) -> Iterator[None]:
    """Under watch; the record of an earlier leg of the run is kept beside the new one. A full disk ends no training."""
    if not budget:
        yield
        return
    try:
        if folder is not None:
            _set_aside(folder)
        store = Store.create(folder, claimed=True)
    except (RunFolderError, OSError) as error:
        loop.told.said(f"nobody watches: {error}")
        yield
        return
    with suppress(RunFolderError):
        store.put_meta(script="longreach train", start=time.time())
    try:
        with Watch(loop.inner, loop.optimizer, budget=budget, store=store):
            yield
    finally:
        with suppress(RunFolderError):
            store.put_meta(end=time.time(), finished=True)
        store.close()


def _set_aside(folder: Path) -> None:
    if not (folder / RECORD).exists():
        return
    number = 1
    while (folder / f"record-{number}.sqlite").exists():
        number += 1
    for tail in ("", "-wal", "-shm"):
        part = folder / f"{RECORD}{tail}"
        if part.exists():
            part.rename(folder / f"record-{number}.sqlite{tail}")


def _described(network: Network, plan: Plan) -> str:
    weights = sum(own.numel() for own in network.parameters())
    own = plan.architecture
    layers = f"{own.layers} layers of " if own.layers > 1 else ""
    return f"{own.cell}, {layers}{own.hidden} units, {weights:,} weights; {plan.updates} updates of {plan.sizes.batch}"
