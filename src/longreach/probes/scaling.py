"""Loss scaling for half precision: which losses were multiplied by what, and how many steps were skipped."""

import weakref
from typing import Any

import torch
from torch import Tensor

from longreach.quantities.precision import Scaling
from longreach.store import Store


class ScalerListener:
    """Hears what the script asks of a torch.amp.GradScaler.

    factor  what losses are multiplied by just now; 1 without a scaler
    Waits   for no device, except where the scaler is about to do so itself
    """

    def __init__(self):
        self.factor = 1.0
        self._known = self._stepped = False
        self._steps = self._skipped = 0
        # scaled losses of this step that have not been sent back, call by call, and what they were
        self._made: list[list[tuple[weakref.ref[Tensor], Tensor]]] = []
        self._written: Scaling | None = None

    def heard_scale(self, scaled: Any, scaler: torch.amp.GradScaler, outputs: Any) -> None:
        """`scaled` was made of `outputs`: a tensor, or some in a list."""
        if not scaler.is_enabled():
            return
        both = (outputs, scaled) if isinstance(outputs, (list, tuple)) else ([outputs], [scaled])
        pairs = [(a, b) for a, b in zip(*both, strict=False) if isinstance(a, Tensor) and isinstance(b, Tensor)]
        if pairs:
            self._made.append([(weakref.ref(after), before.detach()) for before, after in pairs])
            if not self._known or pairs[0][0].device.type == "cpu":
                self.factor, self._known = scaler.get_scale(), True

    def before_step(self, scaler: torch.amp.GradScaler, *_: Any, **__: Any) -> None:
        """The scaler is about to look whether all gradients are finite, which waits for the device anyway."""
        self._stepped = False
        if scaler.is_enabled():
            self.factor = scaler.get_scale()

    def optimizer_steps(self) -> None:
        """Within that, the optimizer is called."""
        self._stepped = True

    def after_step(self, _: Any, scaler: torch.amp.GradScaler, *__: Any, **___: Any) -> None:
        """It has made a step, or skipped it."""
        if scaler.is_enabled():
            self._steps += 1
            self._skipped += not self._stepped

    def unscaled(self, root: Tensor) -> tuple[Tensor, bool]:
        """(the loss as the script has computed it, whether `root` is that loss scaled)."""
        for call in self._made:
            for made, before in call:
                if made() is root:
                    self._made.remove(call)
                    return before, True
        # what is made of scaled losses is scaled as well
        return (root.detach() / self.factor, True) if self._made else (root.detach(), False)

    def step_over(self) -> None:
        """The losses of this step are done with."""
        self._made = []

    def write(self, store: Store, step: int) -> None:
        """Store the counts as they stand."""
        known = self._written
        if self._steps and (known is None or known.steps < self._steps):
            self._written = Scaling("", step, self.factor, self._steps, self._skipped)
            store.add(self._written)
