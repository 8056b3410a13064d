"""`longreach train`: from data to a trained network, a report, and what the user came for."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from longreach.batch import Batch
from longreach.errors import ArgumentError, RunFolderError
from longreach.folder import DIAGNOSIS, RECORD, Claim, unwritable
from longreach.store import Store
from longreach.training import checkpoint
from longreach.training.judging import judged
from longreach.training.kinds import read
from longreach.training.loop import Interrupted, Loop
from longreach.training.memory import prescribe
from longreach.training.network import Network
from longreach.training.plan import Plan, Settings
from longreach.training.problem import Problem
from longreach.training.progress import Progress, Silent
from longreach.training.run import MODEL, OUTCOME, built, fitted, read_plan, write_plan
from longreach.watching import Watch


@dataclass(frozen=True)
class Outcome:
    """What became of a training run.

    test, naive  scores on data that nothing was chosen by: of the network, and of the best rule without one
    updates      that were taken; `skipped` and `returns`: steps that were not, and ways back
    left         sentences about what lies in the folder for the user
    """

    folder: Path
    test: dict[str, float]
    naive: dict[str, float]
    validation: dict[str, float]
    updates: int
    skipped: int
    returns: int
    seconds: float
    verdict: str
    left: tuple[str, ...]


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
    fabric = _fabric(settings)
    if folder is not None and _is_restarted() and (folder / "train.json").exists():
        return resume(folder, budget=budget, quiet=quiet, fabric=fabric)
    problem = read(kind, source)
    claim, plan = None, None
    if fabric.is_global_zero:
        plan = prescribe(problem, settings)
        problem.training(plan.sizes)  # refuses sizes that the data do not allow, before there is a folder
        claim = Claim(folder) if folder else Claim.default(kind)
        folder = claim.folder
        write_plan(folder, kind, source, problem.recipe(), plan)
    folder, plan = fabric.broadcast((folder, plan))
    try:
        return _trained(problem, plan, fabric, folder, budget=budget, quiet=quiet, goes_on=False)
    finally:
        if claim:
            claim.release()


def resume(folder: Path, *, budget: float = 0.02, quiet: bool = False, fabric: Fabric | None = None) -> Outcome:
    """Go on with a run that was stopped, from its latest checkpoint, to the last bit as if nothing had happened.

    Raises  RunReadError where the folder holds no training run, or no checkpoint can be read; ArgumentError where the
            run is over, or its data have changed
    """
    kind, source, recipe, plan = read_plan(folder)
    if (folder / OUTCOME).exists():
        raise ArgumentError(
            f"{folder}: expected a run to go on with, but it has come to its end; see {OUTCOME} in it, or train anew "
            "with more --steps"
        )
    problem = read(kind, source)
    if json.loads(json.dumps(problem.recipe())) != recipe:
        raise ArgumentError(
            f"{folder}: expected the data that the run began with, got others from {source}; put them back, or train "
            "anew"
        )
    fabric = fabric or _fabric(Settings())
    claim = Claim.again(folder) if fabric.is_global_zero else None
    try:
        return _trained(problem, plan, fabric, folder, budget=budget, quiet=quiet, goes_on=True)
    finally:
        if claim:
            claim.release()


def _trained(
    problem: Problem, plan: Plan, fabric: Fabric, folder: Path, *, budget: float, quiet: bool, goes_on: bool
) -> Outcome:
    began, first = time.monotonic(), fabric.is_global_zero
    torch.set_flush_denormal(True)  # a gradient that vanishes is no reason to be slow
    torch.manual_seed(plan.sizes.seed + 1000 * fabric.global_rank)
    told = Progress(folder, plan.updates, quiet=quiet, reach=plan.reach, need=plan.need) if first else Silent()
    for reason in () if goes_on else plan.reasons:
        told.said(reason)
    network = Network(plan.architecture)
    told.said(_described(network, plan))
    loop = Loop(network, problem, plan.on(fabric.global_rank, fabric.world_size), fabric, folder, told)
    if goes_on:
        _go_on(loop, told)
    try:
        if isinstance(told, Progress):
            told.begin(loop.step)
        with _watched(loop, folder if first else None, budget):
            loop.run()
    finally:
        if isinstance(told, Progress):
            told.end()
    return _concluded(loop, began) if first else Outcome(folder, {}, {}, {}, loop.step, 0, 0, 0.0, "", ())


def _go_on(loop: Loop, told: Progress | Silent) -> None:
    kept, complaints = checkpoint.newest(loop.folder, rank=loop.fabric.global_rank)
    for complaint in complaints:
        told.said(complaint)
    if kept is None:
        told.said("no checkpoint was written yet: training begins at the beginning")
        return
    loop.resume(kept)
    told.said(f"going on from step {loop.step}")


@contextmanager
def _watched(loop: Loop, folder: Path | None, budget: float) -> Iterator[None]:
    """Under watch; the record of an earlier leg of the run is kept beside the new one."""
    if not budget:
        yield
        return
    if folder is not None:
        _set_aside(folder)
    store = Store.create(folder, claimed=True)
    store.put_meta(script="longreach train", start=time.time())
    try:
        with Watch(loop.inner, loop.optimizer, budget=budget, store=store):
            yield
    finally:
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


def _concluded(loop: Loop, began: float) -> Outcome:
    """The best network on the test data, the verdict of the watch, and what the problem leaves."""
    from safetensors.torch import load

    folder, problem = loop.folder, loop.problem
    best = folder / MODEL
    if best.exists():
        fitted(loop.inner, load(best.read_bytes()), best)
    sizes = loop.plan.sizes
    test, validation = (judged(loop.inner, problem, problem.held_out(part, sizes)) for part in ("test", "validation"))
    place = loop.fabric.device

    @torch.no_grad()
    def answer(batch: Batch) -> torch.Tensor:
        loop.inner.eval()
        return loop.inner(batch.x.to(place), batch.asked.to(place))[0].cpu()

    outcome = Outcome(
        folder=folder,
        test=test,
        naive=problem.naive("test"),
        validation=validation,
        updates=loop.step,
        skipped=loop.trouble.skipped,
        returns=loop.trouble.returns,
        seconds=time.monotonic() - began,
        verdict=_verdict(folder),
        left=tuple(problem.leave(folder, answer)),
    )
    facts = {name: value for name, value in vars(outcome).items() if name != "folder"}
    try:
        checkpoint.write_whole(folder / OUTCOME, (json.dumps(facts, indent=1) + "\n").encode())
    except OSError as error:
        raise unwritable(folder, error) from None
    return outcome


def _verdict(folder: Path) -> str:
    if not (folder / RECORD).exists():
        return ""
    from longreach.launch import diagnose_run
    from longreach.report import json as rendering

    diagnosis = diagnose_run(folder)
    (folder / DIAGNOSIS).write_text(rendering.render(diagnosis), encoding="utf-8")
    return diagnosis.verdict


def _described(network: Network, plan: Plan) -> str:
    weights = sum(own.numel() for own in network.parameters())
    own = plan.architecture
    layers = f"{own.layers} layers of " if own.layers > 1 else ""
    return f"{own.cell}, {layers}{own.hidden} units, {weights:,} weights; {plan.updates} updates of {plan.sizes.batch}"


def _fabric(settings: Settings) -> Fabric:
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices if settings.devices == "auto" else int(settings.devices),
        precision=settings.precision,  # type: ignore[arg-type]  # checked by Fabric, with a message
        strategy=settings.strategy,
    )
    fabric.launch()
    return fabric


def _is_restarted() -> bool:
    """Whether torchrun has started this worker again after one has died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
