"""Random numbers drawn without the script noticing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def untouched_randomness(device: torch.device | None = None) -> Iterator[None]:
    """Whatever is drawn within was never drawn: torch's generators, numpy's, and Python's.

    device  an accelerator whose generator is meant besides; None for all of CUDA, as far as the script has begun it
    """
    if device is None or device.type == "cpu":
        kind, devices = "cuda", list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    else:
        kind, devices = device.type, [device.index or 0]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the script's)
    try:
        with torch.random.fork_rng(devices, device_type=kind):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
