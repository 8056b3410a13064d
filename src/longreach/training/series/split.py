"""Series cut in time: what is learned from, what tells when to stop, and what the figures are for."""

import numpy as np
from jaxtyping import Int64

from longreach.errors import ArgumentError, DataError
from longreach.training.series.panel import Panel, Roles

PARTS = ("training", "validation", "test")


def check_targets(own: Panel, roles: Roles, cuts: Int64[np.ndarray, "series four"], where: str) -> None:
    """Raises DataError for a target that the training part says nothing about."""
    for number, name in enumerate(roles.targets):
        parts = [own.measured[begin:end, number] for begin, end in cuts[:, :2]]
        there = [part[~np.isnan(part)] for part in parts]
        if not sum(map(len, there)):
            raise DataError(
                f"{where}: column {name!r}: expected numbers in the training part, got none in its "
                f"{sum(map(len, parts))} steps; use a part of the file where it was measured, or another --split"
            )
        if all(np.ptp(part) == 0 for part in there if len(part)):
            raise DataError(
                f"{where}: column {name!r}: expected values that change, got {next(filter(len, there))[0]:g} in the "
                "whole training part; there is nothing to learn"
            )


def check_lengths(cuts: Int64[np.ndarray, "series four"], horizon: int, context: int | None, where: str) -> None:
    """Raises DataError for a part that no window fits into."""
    for part, own in zip(PARTS, np.diff(cuts, axis=1).max(axis=0), strict=True):
        least = horizon + (context or 1) if part == "training" else horizon
        if own < least:
            of = f"the horizon of {horizon}" + (f" after {least - horizon} to look back on" if least > horizon else "")
            raise DataError(
                f"{where}: {part} part: expected at least {least} steps, {of}, got {own}; give a longer file, a "
                "shorter --horizon or --context, or another --split"
            )


def cut(length: int, split: str, where: str) -> list[int]:
    """Where training, validation and test end in a series of this length.

    split   "0.6,0.2": shares; "8640,2880,2880": steps; without a third number the test is what is left
    Raises  ArgumentError for another form, or more than there is
    """
    try:
        given = [float(part) for part in split.split(",")]
    except ValueError:
        given = []
    shares = bool(given) and all(0 < one < 1 for one in given)
    if len(given) not in (2, 3) or not (shares or all(one >= 1 and one == int(one) for one in given)):
        raise ArgumentError(
            f"--split: expected two or three shares as 0.6,0.2 or numbers of steps as 8640,2880,2880, got {split!r}"
        )
    whole = 1 + 1e-9 if shares else length  # 0.33, 0.56 and 0.11 add up to a little more than 1
    fits = sum(given) <= whole and (len(given) == 3 or sum(given) < (1 if shares else length))
    if not fits:
        raise ArgumentError(
            f"--split: expected parts that fit into the {length} steps of {where}, got {split}"
            + (", which leaves none for the test" if len(given) == 2 else "")
        )
    steps = [int(one * length + 1e-9) if shares else int(one) for one in given]
    ends = [steps[0], steps[0] + steps[1]]
    return [*ends, sum(steps) if len(given) == 3 else length]
