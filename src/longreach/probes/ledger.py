"""What is known of every step, sampled or not: its loss, the norms of its gradients, clipping, loss scaling."""

import math
import time
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from longreach.probes.arrivals import Arrivals
from longreach.probes.clipping import ClipCounter
from longreach.probes.gradients import Norms
from longreach.probes.names import Names
from longreach.probes.probe import Look, Panel
from longreach.probes.scaling import ScalerListener
from longreach.probes.trace import Trace
from longreach.probes.updates import Updates
from longreach.quantities.spikes import LASTING, Jump, Riser, Spike, Watcher
from longreach.store import Store

# Updates are looked at on sampled steps, and where that needs no wait for a device also on steps that lie apart by this
# factor: how far the weights have come has to be known at the end of any run, however few its samples are.
APART = 1.15


class Ledger:
    """Kept from step to step. Nothing in here waits for a device, unless the step is sampled.

    scale    what the loss of the latest backward pass was multiplied by
    seconds  spent on looking at updates, until somebody books them
    """

    def __init__(self, store: Store, names: Names):
        self.norms, self.clips, self.scaler = Norms(), ClipCounter(), ScalerListener()
        self.scale, self.seconds = 1.0, 0.0
        self._panel = Panel((Updates,), store)
        self._generator = torch.Generator()
        self._look: Look | None = None
        self._next = 0  # the next step whose update is looked at, sampled or not
        self._store, self._names = store, names
        self._step, self._suspicious = 0, False
        self._watcher = Watcher()
        self._riser: Riser | None = None  # of the jump that is going on
        self._coming: Arrivals[int] = Arrivals()
        self._losses: list[tuple[int, float]] = []  # not yet written

    @property
    def alarmed(self) -> bool:
        """Whether the loss has just jumped, which is worth a look at the gradients."""
        return self._suspicious or 0 < self._watcher.age < LASTING

    def loss_of(self, root: Tensor) -> Tensor:
        """The loss that is about to be sent back as the script has computed it: without the factor of a scaler."""
        loss, scaled = self.scaler.unscaled(root)
        loss = loss if loss.numel() == 1 else loss.mean()
        self.scale = self.scaler.factor if scaled else 1.0
        limit = self._watcher.limit
        self._suspicious = limit < math.inf and loss.device.type == "cpu" and not loss.item() <= limit
        self.norms.backward_again()
        return loss

    def heard_clip_norm(self, _: Any, parameters: Any, max_norm: Any, total_norm: Any, *__: Any, **___: Any) -> None:
        """torch has scaled gradients down to `max_norm`, if `total_norm` was larger."""
        self.clips.heard_norm(self._step, max_norm, total_norm)

    def heard_clip_value(self, _: Any, parameters: Any, clip_value: Any, *__: Any, **___: Any) -> None:
        """torch has cut gradients to entries no larger than `clip_value`."""
        self.clips.heard_value(self._step, clip_value)

    def before_step(self, optimizer: Optimizer, *, may_wait: bool) -> None:
        """The gradients are as the optimizer will use them."""
        planned = self._step >= self._next
        if not (may_wait or planned or self.norms.fresh):
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        dense = [p for p in parameters if p.grad is not None and p.grad.layout == torch.strided]
        self.norms.before_step(dense, self._step, may_wait=may_wait)
        if may_wait or (planned and all(parameter.device.type == "cpu" for parameter in parameters)):
            began = time.perf_counter()
            self._next = math.floor(APART * self._step) + 1
            nothing = Trace(only=[], most_rows=1, turn=self._step)
            self._look = Look(self._step, False, self._names, self._store, self._generator, nothing)
            self._panel.tell("before_step", self._look, optimizer)
            self.seconds += time.perf_counter() - began

    def after_step(self, optimizer: Optimizer | None) -> None:
        """The parameters have moved."""
        look, self._look = self._look, None
        if look is not None:
            began = time.perf_counter()
            self._panel.tell("after_step", look, optimizer)
            self._panel.tell("closed", look)
            self.seconds += time.perf_counter() - began

    def step_over(self, losses: list[Tensor]) -> None:
        """An update was made; these are the losses that were sent back for it."""
        several = len(losses) > 1
        loss = torch.stack([part.reshape(()) for part in losses]).mean() if several else losses[0]
        if loss.device.type == "cpu":
            self._read(self._step, loss.item())
        else:
            self._coming.put(self._step, loss)
        self.scaler.step_over()
        self._step, self._suspicious = self._step + 1, False

    def write(self, *, wait: bool) -> None:
        """Store all that has arrived; with `wait` all that is still on its way, too."""
        self.norms.write(self._store, wait=wait)
        self.clips.write(self._store, wait=wait)
        self.scaler.write(self._store, self._step)
        for step, (loss,) in self._coming.take(wait=wait):
            self._read(step, loss)
        losses, self._losses = self._losses, []
        self._store.add_losses(losses)

    def finish(self) -> None:
        """The run is over."""
        self.write(wait=True)
        self._keep(self._watcher.finish())

    def _read(self, step: int, loss: float) -> None:
        self._losses.append((step, loss))
        jump = self._watcher.read(step, loss)
        if self._watcher.began is not None and self._watcher.age == LASTING:
            self._riser = self.norms.riser(self._watcher.began, self._names)
        self._keep(jump)

    def _keep(self, jump: Jump | None) -> None:
        if jump is None:
            return
        riser, self._riser = self._riser or Riser("", -1, 0.0), None
        told = (jump.level, jump.height, jump.lasted, jump.over, riser.module, riser.step, riser.factor)
        self._store.add(Spike("", jump.step, *told))
