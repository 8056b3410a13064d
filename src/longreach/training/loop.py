"""The loop: batches in, a trained network out, whatever happens on the way."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from longreach.batch import Batch
from longreach.errors import LongreachError
from longreach.nn.cell import State
from longreach.training import checkpoint
from longreach.training.judging import WRONG, judged
from longreach.training.network import Network, detached
from longreach.training.plan import Plan
from longreach.training.problem import Problem
from longreach.training.snapshot import put_back, snapshot
from longreach.training.trouble import Event, Trouble, length_of

SNAPSHOT_EVERY = 100  # updates; where training goes back to, and what is written to the disk
WRITE_EVERY = 30.0  # seconds between two checkpoints on the disk


class Interrupted(LongreachError):
    """The run was asked to stop. A checkpoint holds it.

    code  exit code of a process that was ended by this signal
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.code = 128 + number


class Told(Protocol):
    """Who hears how it goes."""

    def updated(self, step: int, loss: float, length: float, lr: float) -> None:
        """An update was taken."""

    def happened(self, event: Event) -> None:
        """A step was skipped, or training went back."""

    def judged(self, step: int, scores: dict[str, float]) -> None:
        """On the validation data."""

    def said(self, sentence: str) -> None:
        """Something that the user has to know."""


class Loop:
    """A network in training.

    Goes on    from any of its checkpoints, to the last bit: a batch depends on its number alone, and the moments at
               which training may go back are fixed numbers of updates
    step       number of the next batch
    state      that the next window of a stream starts from
    best       lowest validation loss; `waited`: judgements since
    """

    def __init__(self, network: Network, problem: Problem, plan: Plan, fabric: Fabric, folder: Path, told: Told):
        self.inner, self.problem, self.plan, self.fabric, self.folder, self.told = (
            network,
            problem,
            plan,
            fabric,
            folder,
            told,
        )
        self.optimizer = treated(network, plan)
        self._network, self._optimizer = fabric.setup(network, self.optimizer)
        self._parameters = [own for group in self.optimizer.param_groups for own in group["params"]]
        self._batch = problem.training(plan.sizes)
        self._hop = plan.sizes.hop if problem.carries and plan.sizes.hop < plan.sizes.window else None
        self.trouble = Trouble(plan.clip)
        self.step, self.state, self.best, self.waited = 0, None, inf, 0
        self._sound, self._written = snapshot(self), time.monotonic()

    def resume(self, kept: checkpoint.Snapshot) -> None:
        """Go on from a checkpoint."""
        put_back(self, kept)
        self.step, self.best, self.waited = (kept.facts[name] for name in ("step", "best", "waited"))
        self.best = inf if self.best is None else self.best
        self.trouble.recall(kept.facts["trouble"])
        self._sound = kept

    def run(self) -> None:
        """Train to the end. Raises Interrupted where a signal asks for it, Diverged where training breaks for good."""
        with stopped_by(signal.SIGTERM, signal.SIGINT) as asked:
            while self.step < self.plan.updates:
                self._update()
                over = self.step % self.plan.judge_every == 0 and self._judge()
                if self.step % SNAPSHOT_EVERY == 0:
                    self._sound = snapshot(self)
                    if time.monotonic() - self._written > WRITE_EVERY:
                        self._write()
                if asked():
                    self._write()
                    raise Interrupted(asked())
                if over:
                    return
            if self.step % self.plan.judge_every:
                self._judge()

    def _update(self) -> None:
        x, y, asked, resets = self._on_device(self._batch(self.step))
        lr = self.plan.lr * self.plan.pace(self.step) * self.trouble.pace
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        answers, carried = self._network(x, asked, self.state, resets, hop=self._hop)
        loss = self.problem.loss(answers, y)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        length = length_of(self._parameters)
        value = self._mean(loss.detach())
        why = self.trouble.judge(value, length.item())
        self.step += 1
        if why is not None:
            self._skip(why)
            return
        self.trouble.shorten(self._parameters, length)
        self._optimizer.step()
        self.state = detached(carried) if self.problem.carries else None
        self.told.updated(self.step, value, length.item(), lr)

    def _skip(self, why: str) -> None:
        if self.trouble.skip(self.step - 1, why):
            put_back(self, self._sound)
            self.trouble.go_back(self.step - 1, self._sound.facts["step"])
        self.told.happened(self.trouble.events[-1])

    def _judge(self) -> bool:
        """Look at the validation data, keep the network if it is the best so far; whether training is over."""
        scores = judged(self.inner, self.problem, self.problem.held_out("validation", self.plan.sizes))
        self.told.judged(self.step, scores)
        if scores["loss"] < self.best:
            self.best, self.waited = scores["loss"], 0
            if self.fabric.is_global_zero:
                self.keep()
        else:
            self.waited += 1
        allowed = self.problem.allowed
        return self.waited > self.plan.patience or (allowed is not None and scores.get(WRONG, inf) < allowed)

    def keep(self) -> None:
        """Write the network as it is: what will be used if no better one comes."""
        from safetensors.torch import save

        weights = {name: value.contiguous() for name, value in self.inner.state_dict().items()}
        checkpoint.write_whole(self.folder / "model.safetensors", save(weights))

    def _write(self) -> None:
        """The latest snapshot to the disk; a disk that takes nothing stops no training."""
        self._written = time.monotonic()
        together = self.fabric.barrier if self.fabric.world_size > 1 else None
        try:
            checkpoint.write(self.folder, self._sound, rank=self.fabric.global_rank, together=together)
        except OSError as error:
            self.told.said(f"no checkpoint could be written at step {self.step}: {error.strerror}; training goes on")

    def _mean(self, value: Tensor) -> float:
        """Over all processes, so that they judge alike."""
        if self.fabric.world_size > 1:
            value = self.fabric.all_reduce(value, reduce_op="mean")
        return value.item()

    def _on_device(self, batch: Batch) -> tuple[Any, ...]:
        place = self.fabric.device
        return tuple(None if part is None else part.to(place, non_blocking=True) for part in batch)


def treated(network: nn.Module, plan: Plan) -> Optimizer:
    """The optimizer of a network, with the plan's remedies in both."""
    from longreach.remedies import named

    remedies = [named(name) for name in plan.remedies]
    for remedy in remedies:
        if remedy.moment == "process":
            remedy.verb(None)
        elif remedy.moment == "module":
            remedy.verb(network)
    matrices = [own for own in network.parameters() if own.dim() >= 2]
    others = [own for own in network.parameters() if own.dim() < 2]  # where a unit works, which no decay should move
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=plan.lr)
    for remedy in remedies:
        if remedy.moment == "optimizer":
            remedy.verb(optimizer)
    return optimizer


@contextmanager
def stopped_by(*numbers: int) -> Iterator[Callable[[], int]]:
    """Gives a function that tells which of these signals has come, 0 for none; a second one acts as it always did."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return

    def note(number: int, frame: Any) -> None:
        came.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number in numbers:
            signal.signal(number, before[number])
