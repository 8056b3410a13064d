"""Numbers that are still on their way from a device: read when they have arrived, so that nobody waits for them."""

from typing import Generic, TypeVar

import torch
from torch import Tensor

_Tag = TypeVar("_Tag")


class Arrivals(Generic[_Tag]):
    """Tensors go in with a tag, lists of numbers come out with it, in the same order.

    On a CPU at once. On CUDA, `take` sends off what has come in, in one copy, and brings what had been sent before,
    if it has arrived: nothing here waits, unless it is told to.
    """

    def __init__(self):
        self._kept: list[tuple[_Tag, Tensor]] = []
        self._sent: list[tuple[_Tag, int]] = []
        self._copy: Tensor | None = None
        self._there: torch.cuda.Event | None = None

    def put(self, tag: _Tag, numbers: Tensor) -> None:
        """Keep a small tensor; the same memory must not be written to afterwards."""
        self._kept.append((tag, numbers.detach().reshape(-1)))

    def take(self, *, wait: bool = False) -> list[tuple[_Tag, list[float]]]:
        """What has arrived; with `wait` all."""
        arrived = self._received(wait=wait)
        if self._kept and self._copy is None:
            self._send()
            if wait or self._there is None:
                arrived += self._received(wait=True)
        return arrived

    def _send(self) -> None:
        device = self._kept[0][1].device
        self._sent = [(tag, len(numbers)) for tag, numbers in self._kept]
        together = torch.cat([numbers.to(device) for _, numbers in self._kept])
        self._kept = []
        # elsewhere than on CUDA the copy is waited for
        self._copy = together.to("cpu", non_blocking=device.type == "cuda")
        if device.type == "cuda":
            self._there = torch.cuda.Event()
            self._there.record(torch.cuda.current_stream(device))

    def _received(self, *, wait: bool) -> list[tuple[_Tag, list[float]]]:
        if self._copy is None:
            return []
        if self._there is not None:
            if not wait and not self._there.query():
                return []
            self._there.synchronize()
        parts = self._copy.split([size for _, size in self._sent])
        arrived = [(tag, part.tolist()) for (tag, _), part in zip(self._sent, parts, strict=True)]
        self._sent, self._copy, self._there = [], None, None
        return arrived
