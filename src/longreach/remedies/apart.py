"""Random numbers for remedies, drawn apart from the script's: with a remedy it draws the same numbers as without."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from longreach.probes.randomness import untouched_randomness


@contextmanager
def apart(name: str) -> Iterator[None]:
    """Within, torch draws from a seed made of the script's own seed and of `name`; afterwards nothing was drawn."""
    with untouched_randomness():
        torch.default_generator.manual_seed(_seed(name))
        yield


def generator_apart(name: str) -> torch.Generator:
    """For what is drawn at every step: a generator of that seed, on the CPU."""
    generator = torch.Generator().manual_seed(_seed(name))
    for made in _heard:
        made.append(generator)
    return generator


@contextmanager
def generators_made() -> Iterator[list[torch.Generator]]:
    """All that `generator_apart` gives within, in order: what a run that is to go on exactly has to keep."""
    made: list[torch.Generator] = []
    _heard.append(made)
    try:
        yield made
    finally:
        _heard.remove(made)


_heard: list[list[torch.Generator]] = []


def _seed(name: str) -> int:
    return (torch.initial_seed() * 0x9E3779B97F4A7C15 + zlib.crc32(name.encode())) % 2**63
