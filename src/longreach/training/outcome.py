"""What a training run comes to: scores on data that nothing was chosen by, a verdict, and what is left for the user."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from longreach.batch import Batch
from longreach.errors import RunFolderError, RunReadError
from longreach.folder import DIAGNOSIS, RECORD
from longreach.training.judging import judged
from longreach.training.loop import Loop
from longreach.training.run import MODEL, OUTCOME, fitted
from longreach.whole import write_whole

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What became of a training run.

    test, naive  scores on data that nothing was chosen by: of the network, and of the best rule without one
    updates      that were taken; `skipped` and `returns`: steps that were not, and ways back
    left         sentences about what lies in the folder for the user
    unwritten    sentences about what could not be written there
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
    unwritten: tuple[str, ...] = ()


def concluded(loop: Loop, began: float) -> Outcome:
    """The best network on the test data, the verdict of the watch, and what the problem leaves."""
    from safetensors.torch import load

    folder, problem, sizes = loop.folder, loop.problem, loop.plan.sizes
    best = loop.fabric.broadcast(loop.best_weights() if loop.fabric.is_global_zero else None)
    if best is not None:
        fitted(loop.inner, load(best), folder / MODEL)
    test, validation = (judged(loop.inner, problem, problem.held_out(part, sizes)) for part in ("test", "validation"))
    outcome = Outcome(
        folder=folder,
        test=test,
        naive={},
        validation=validation,
        updates=loop.step,
        skipped=loop.trouble.skipped,
        returns=loop.trouble.returns,
        seconds=time.monotonic() - began,
        verdict="",
        left=(),
    )
    return _left(outcome, loop) if loop.fabric.is_global_zero else replace(outcome, test={})


def _left(outcome: Outcome, loop: Loop) -> Outcome:
    """With what the first process alone finds out and writes; what the disk does not take is told, not raised."""
    folder, unwritten = outcome.folder, []
    place = loop.fabric.device

    @torch.no_grad()
    def answer(batch: Batch) -> torch.Tensor:
        loop.inner.eval()
        return loop.inner(batch.x.to(place), batch.asked.to(place))[0].cpu()

    def written(what: str, write: Callable[[], T], otherwise: T) -> T:
        try:
            return write()
        except (OSError, RunFolderError, RunReadError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            unwritten.append(f"{what} could not be written: {said}")
            return otherwise

    outcome = replace(
        outcome,
        naive=loop.problem.naive("test"),
        verdict=written(DIAGNOSIS, lambda: _verdict(folder), ""),
        left=written("what is left for you", lambda: tuple(loop.problem.leave(folder, answer)), ()),
    )
    complaint = loop.deliver()
    if complaint is not None:
        unwritten.append(f"{MODEL} could not be written: {complaint}")
    if not unwritten:  # a run without it can be gone on with
        facts = {name: value for name, value in vars(outcome).items() if name not in ("folder", "unwritten")}
        content = (json.dumps(facts, indent=1) + "\n").encode()
        written(OUTCOME, lambda: write_whole(folder / OUTCOME, content), None)
    if unwritten:
        unwritten.append(f"free some space in {folder}, then `longreach train --resume {folder}`")
    return replace(outcome, unwritten=tuple(unwritten))


def _verdict(folder: Path) -> str:
    if not (folder / RECORD).exists():
        return ""
    from longreach.launch import diagnose_run
    from longreach.report import json as rendering

    diagnosis = diagnose_run(folder)
    write_whole(folder / DIAGNOSIS, rendering.render(diagnosis).encode())
    return diagnosis.verdict
