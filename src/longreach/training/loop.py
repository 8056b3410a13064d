"""The loop: batches in, a trained network out, whatever happens on the way."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from longreach.batch import Batch
from longreach.errors import LongreachError
from longreach.nn.cell import State, entries
from longreach.remedies.apart import generators_made
from longreach.training import checkpoint
from longreach.training.judging import WRONG, judged
from longreach.training.network import Network, detached
from longreach.training.plan import Plan
from longreach.training.problem import Problem
from longreach.training.progress import Silent
from longreach.training.run import MODEL
from longreach.training.snapshot import checkpointed, put_back, snapshot
from longreach.training.trouble import Trouble, length_of
from longreach.whole import write_whole

SOUND_EVERY = 100  # updates between two moments that training may go back to


class Interrupted(LongreachError):
    """The run was asked to stop.

    code  exit code of a process that was ended by this signal
    """

    def __init__(self, number: int, sentence: str):
        super().__init__(f"stopped by {signal.Signals(number).name}{sentence}")
        self.code = 128 + number


class Loop:
    """A network in training.

    Goes on    from any of its checkpoints, to the last bit: a batch depends on its number alone, and the moments that
               training may go back to are fixed numbers of updates
    step       updates so far, and number of the next batch
    state      that the next window of a stream starts from
    best       lowest validation loss; `waited`: judgements since; `over`: there is no more to learn, or no more time
    taken      number of the last batch that was learned from
    sound      where training goes back to
    """

    def __init__(self, network: Network, problem: Problem, plan: Plan, fabric: Fabric, folder: Path, told: Silent):
        self.inner, self.problem, self.plan = network, problem, plan
        self.fabric, self.folder, self.told = fabric, folder, told
        self._batch = problem.training(plan.sizes)
        with generators_made() as self.generators:
            self.optimizer = treated(network, plan, self._batch)
        torch.manual_seed(plan.sizes.seed + 1000 * plan.sizes.rank)  # each process drops others
        self.parameters = [own for group in self.optimizer.param_groups for own in group["params"]]
        self._network, self._optimizer = fabric.setup(network, self.optimizer)
        if fabric.world_size == 1 and plan.machine.precision == "32-true":  # nothing for Fabric to do but to take time
            self._network, self._optimizer = network, self.optimizer
        self._hop = plan.sizes.hop if problem.carries and plan.sizes.hop < plan.sizes.window else None
        self.trouble = Trouble(plan.clip)
        self.step, self.state, self.best, self.waited, self.over = 0, None, inf, 0, False
        self.taken: int | None = None
        self.sound = snapshot(self)
        self._written, self._due, self._signal = time.monotonic(), False, 0
        self._model: bytes | None = None  # what the disk would not take
        self._complaint: str | None = None  # of the disk, at the latest checkpoint

    def run(self) -> None:
        """Train to the end. Raises Interrupted where a signal asks for it, Diverged where training breaks for good."""
        with stopped_by(signal.SIGTERM, signal.SIGINT) as asked:
            while not self.over:
                self._update(asked)
                is_last = self.step == self.plan.updates
                if is_last or self.step % self.plan.judge_every == 0:
                    self.over = self._judge() or is_last
                if self.fabric.world_size == 1:
                    self._signal = asked()  # one that came while it judged is heard at once
                if self._due or self._signal or self.over:
                    complaint = self._write()
                    if self._signal:
                        raise Interrupted(self._signal, f" at step {self.step}{self._way_on(complaint)}")

    def _update(self, asked: Callable[[], int]) -> None:
        lr = self.plan.lr * self.plan.pace(self.step) * self.trouble.pace
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss, length, carried = self._pass(self.step)
        value, long, width = self._agreed([loss, length, *_width(carried)], asked())
        why = self.trouble.judge(value, long, width)
        if why is not None:
            self.step += 1
            self._skip(why)
            return
        if self.step % SOUND_EVERY == 0:  # these weights have just been seen to give a loss and a gradient
            self.sound = snapshot(self)
        self.taken = self.step
        self.step += 1
        self.trouble.shorten(self.parameters, length)
        self._optimizer.step()
        self.state = carried
        self.told.updated(self.step, value, long, lr)

    def _pass(self, number: int) -> tuple[Tensor, Tensor, State | None]:
        """Forward and backward through a batch: loss, length of the gradient, and the state to carry on."""
        x, y, answered, resets = self._on_device(self._batch(number))
        answers, carried = self._network(x, answered, self.state, resets, hop=self._hop)
        loss = self.problem.loss(answers, y)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        return loss.detach(), length_of(self.parameters), detached(carried) if self.problem.carries else None

    def _agreed(self, numbers: list[Tensor], number: int) -> tuple[float, float, float]:
        """Loss, length and width over all processes, so that they judge alike; and whether to write, or to stop."""
        here = torch.stack([own.float() for own in numbers])
        self._due, self._signal = time.monotonic() - self._written >= self.plan.checkpoint_every, number
        if self.fabric.world_size > 1:
            asked = here.new_tensor([self._due, self._signal])
            rows = [torch.empty(len(here) + 2, device=here.device) for _ in range(self.fabric.world_size)]
            torch.distributed.all_gather(rows, torch.cat([here, asked]))
            table = torch.stack(rows)
            here = torch.cat([table[:, :1].mean(dim=0), table[:, 1:-2].amax(dim=0)])
            self._due, self._signal = bool(table[0, -2]), int(table[:, -1].max())
        loss, length, *width = here.tolist()
        return loss, length, width[0] if width else 0.0

    def _skip(self, why: str) -> None:
        is_time = self.trouble.skip(self.step, why)
        self.told.happened(self.trouble.events[-1])
        if is_time and self._is_broken():
            put_back(self, self.sound)
            self.trouble.go_back(self.step, self.sound.facts["step"])
            self.told.happened(self.trouble.events[-1])

    def _is_broken(self) -> bool:
        """Whether the weights cannot take any more what they last took. If they can, it is the data."""
        if self.taken is None:
            return False
        loss, length, carried = self._pass(self.taken)
        return self.trouble.complaint(*self._agreed([loss, length, *_width(carried)], self._signal)) is not None

    def _judge(self) -> bool:
        """Look at the validation data, keep the network if it is the best so far; whether training is over."""
        scores = judged(self.inner, self.problem, self.problem.held_out("validation", self.plan.sizes))
        self.told.judged(self.step, scores)
        if scores["loss"] < self.best:
            self.best, self.waited = scores["loss"], 0
            if self.fabric.is_global_zero:
                self._keep()
        else:
            self.waited += 1
        allowed = self.problem.allowed
        return self.waited >= self.plan.patience or (allowed is not None and scores.get(WRONG, inf) < allowed)

    def _keep(self) -> None:
        """The network as it is: what will be used if no better one comes."""
        from safetensors.torch import save

        self._model = save({name: value.contiguous() for name, value in self.inner.state_dict().items()})
        self.deliver()

    def deliver(self) -> str | None:
        """Write the best network if that is still to be done; what the disk said if it could not be."""
        if self._model is None:
            return None
        try:
            write_whole(self.folder / MODEL, self._model)
        except OSError as error:
            return error.strerror or str(error)
        self._model = None
        return None

    def best_weights(self) -> bytes | None:
        """Of the best network so far, as a file holds them; None if none was ever judged."""
        if self._model is not None or not (self.folder / MODEL).exists():
            return self._model
        return (self.folder / MODEL).read_bytes()

    def _write(self) -> str | None:
        """A checkpoint to the disk, after all that it builds on. A disk that takes nothing stops no training."""
        kept = checkpointed(self)
        complaint = None
        if self.fabric.is_global_zero:
            self.told.flush()
            complaint = self.deliver()
            try:
                if complaint is None:
                    checkpoint.write(self.folder, kept)
            except OSError as error:
                complaint = error.strerror or str(error)
        if complaint is not None and complaint != self._complaint:
            self.told.said(f"no checkpoint could be written at step {self.step}: {complaint}; training goes on")
        self._written, self._complaint = time.monotonic(), complaint
        return complaint

    def _way_on(self, complaint: str | None) -> str:
        way = f"go on with `longreach train --resume {self.folder}`"
        return f"; {way}" if complaint is None else f", and no checkpoint could be written: {complaint}; then {way}"

    def _on_device(self, batch: Batch) -> tuple[Any, ...]:
        place = self.fabric.device
        return tuple(None if part is None else _aligned(part.to(place, non_blocking=True)) for part in batch)


def _aligned(part: Tensor) -> Tensor:
    """In memory of torch's own: how a matrix product rounds depends on where its factors begin, NumPy's anywhere."""
    return part if part.data_ptr() % 64 == 0 else part.clone()


def _width(state: State | None) -> list[Tensor]:
    """The largest number in a state, if there is one."""
    return [] if state is None else [torch.stack([entry.abs().amax() for entry in entries(state)]).amax()]


def treated(network: Network, plan: Plan, batch: Callable[[int], Batch]) -> Optimizer:
    """The optimizer of a network, with the plan's remedies in both. Some look at the first data: here they do."""
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
    if remedies:
        x, _, asked, resets = batch(0)
        network(x, asked, None, resets)
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
