"""Whether a gradient is the gradient of what was computed, and what was computed is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from longreach.probes.samples import Sample


@dataclass(frozen=True)
class Check(Sample):
    """One comparison at one sampled step; `place` is the module in whose call it happened.

    subject   what was checked: the name of an autograd function, or the class of a module
    against   "differences" (finite differences of its own forward pass) or "replay" (the same module in double)
    part      what the gradient is of: the name of an argument or parameter, or "output" for the value itself
    shape     of the tensor it belongs to, as in "64x128"
    dtype     in which the script computed it: "float32"
    error     relative error of the script's number, as a norm; at most about 1 for a gradient; 1
    ratio     the script's number on the right one: -1 if only its sign is wrong, 2 if it is twice too large
    design    "" or why it differs on purpose: "straight-through" (passed on where the function is flat) or
              "identity" (a function that returns what it is given, and changes the gradient alone)
    """

    subject: str
    against: str
    part: str
    shape: str
    dtype: str
    error: float
    ratio: float
    design: str = ""


@dataclass(frozen=True)
class Crosscheck:
    """All comparisons of one part of one subject. Medians over samples; the other fields are those of `Check`.

    place     of an autograd function, which may be called in many modules, one of them
    samples   how many comparisons there were
    """

    place: str
    subject: str
    against: str
    part: str
    shape: str
    dtype: str
    error: float
    ratio: float
    design: str
    samples: int


def pool(samples: dict[str, list[Check]]) -> tuple[Crosscheck, ...]:
    """One for each function or module, and part of it, in the order they were met."""
    groups: dict[tuple[str, ...], list[Check]] = {}
    for found in samples.values():
        for check in found:
            place = check.place if check.against == "replay" else ""
            groups.setdefault((place, check.subject, check.against, check.part), []).append(check)
    return tuple(_pooled(found) for found in groups.values())


def _pooled(found: Sequence[Check]) -> Crosscheck:
    last = found[-1]
    middle = sorted(found, key=lambda check: check.error)[len(found) // 2]
    return Crosscheck(
        place=middle.place,
        subject=last.subject,
        against=last.against,
        part=last.part,
        shape=middle.shape,
        dtype=middle.dtype,
        error=median(check.error for check in found),
        ratio=middle.ratio,
        # a function that is flat somewhere may show it at some samples only
        design=next((check.design for check in found if check.design), ""),
        samples=len(found),
    )
