"""Denormal numbers as zeros: vanishing gradients make them, and a CPU computes with them by its slow path."""

import torch

from longreach.errors import NotApplicable
from longreach.remedies.remedy import Remedy, remember


def flush_denormals(process: None = None) -> None:
    """From now on, on the CPU, numbers below the smallest normal one (1.2e-38 in float32) are zero.

    Promises   no arithmetic on denormal numbers in this thread and all that start after it
    Changes    numbers below 1.2e-38, and below 2.2e-308 in float64; also of numpy and Python, in these threads
    Twice      is the same as once
    Undo       remedies.undo(None): as it was before
    Price      none; a step whose gradient vanishes becomes up to 17 times faster (an LSTM, T = 256)
    Is not     for threads that run already: torch starts its own at its first large operation, so apply it before
    Raises     NotApplicable on a processor that cannot
    """
    before = _are_flushed()
    if before:
        return
    if not torch.set_flush_denormal(True):
        raise NotApplicable(
            "flush-denormals: expected a processor that can take denormal numbers for zeros, got one that cannot; "
            "longreach.nn's kernels drop them by themselves"
        )
    remember(None, "flush-denormals", _restore, before)


def _are_flushed() -> bool:
    return not (torch.full((1,), 1e-30) * 1e-10).any()


def _restore(_: None, before: bool) -> None:
    torch.set_flush_denormal(before)


REMEDY = Remedy(
    "flush-denormals",
    flush_denormals,
    "process",
    preserves=True,
    answers=("denormals",),
    cost="nothing",
    source="Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 1, 11.5.2.3",
)
