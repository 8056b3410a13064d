"""Other seeds for a script that sets its own, or none."""

import functools
import random
import zlib
from typing import Any

import numpy as np
import torch

FAR = 1_000_003  # seeds that scripts use together lie closer to each other


def seed_all(number: int) -> None:
    """Every seed that this process sets from now on is shifted by the number of the trial; 0 leaves it as it is.

    What a script draws without setting any seed comes from one that is made of the number: Python's, numpy's and
    torch's generators are seeded now, and numpy's default_rng() without a seed is given one.
    Blind to   other sources of chance: os.urandom, the clock, generators of other libraries
    """
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 (the script's)
    torch.manual_seed(number)
    shift = number * FAR
    _shift(random, "seed", shift)
    _shift(np.random, "seed", shift)
    _shift(torch, "manual_seed", shift)
    _shift(torch.random, "manual_seed", shift)
    _shift(np.random, "default_rng", shift, unseeded=zlib.crc32(b"default_rng"))


def _shift(home: Any, name: str, shift: int, unseeded: int | None = None) -> None:
    real = getattr(home, name)

    @functools.wraps(real)
    def shifted(seed: Any = None, *arguments: Any, **options: Any) -> Any:
        if seed is None and unseeded is not None:
            seed = unseeded
        if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
            seed = (int(seed) + shift) % 2**32
        return real(seed, *arguments, **options) if seed is not None else real(*arguments, **options)

    setattr(home, name, shifted)
