"""How much of what there was to learn a run has learned: its loss beside that of an answer that never looks.

A flat loss alone does not tell a net that has learned nothing from one that has learned all there is in a few steps.
The loss of the best constant answer (`Record.chance`) does. Where it is not known, the fall of the loss has to do.
"""

import math
from statistics import median

from longreach.diagnosis import loss_trend
from longreach.diagnosis.loss_trend import SOLVED, fall
from longreach.record import Record

NOTHING = 0.9  # of chance: what is gained may be the frequencies of the classes in a batch, or noise
MOST = 0.5  # of chance: a net that has halved it uses its input
FALLEN = 0.2  # of the early loss, where chance is not known: a net that is stuck does not come to lose a fifth of it


def left(record: Record) -> float | None:
    """The median loss of the last quarter of the run, as a share of chance; None where that is not known.

    NaN counts as infinitely much.
    """
    if record.loss is None or not record.loss.values or record.chance is None:
        return None
    values = [math.inf if math.isnan(value) else value for value in record.loss.values]
    return median(values[-max(1, len(values) // 4) :]) / record.chance


def solved(record: Record) -> bool:
    """Whether there is nothing left to gain: a loss of at most 5 % of chance, or, without that, of its own start.

    A start can be so bad that merely learning the mean of the targets looks like solving; chance cannot be fooled so.
    """
    share = left(record)
    return share <= SOLVED if share is not None else loss_trend.solved(record.loss)


def broken(record: Record) -> bool:
    """Whether the run went on with numbers that are not finite: what its units and weights then are says nothing."""
    if record.loss is None or not record.loss.values:
        return False
    late = record.loss.values[-max(1, len(record.loss.values) // 4) :]
    return 2 * sum(not math.isfinite(value) for value in late) >= len(late)


def at_chance(record: Record) -> bool:
    """Whether a run is known to have learned next to nothing."""
    share = left(record)
    return share is not None and share >= NOTHING


def stuck(record: Record) -> bool:
    """Whether a run has learned next to nothing. False where it cannot be judged."""
    lost = fall(record.loss)
    if left(record) is not None:
        return at_chance(record)
    return lost is not None and lost < FALLEN and not solved(record)


def struggles(record: Record) -> bool:
    """Whether a run has left most of it unlearned. False where it cannot be judged."""
    share = left(record)
    return share > MOST if share is not None else stuck(record)


def course(record: Record) -> str:
    """A sentence on how the run went."""
    share, lost = left(record), fall(record.loss)
    if share is not None and share >= NOTHING:
        return "In this run the loss is no better than that of an answer that never looks at the input."
    if share is not None:
        return f"The loss stands at {100 * min(share, 9.99):.0f}% of that of an answer that never looks at the input."
    if lost is not None and lost < FALLEN:
        return "In this run the loss hardly falls."
    return "This run learns all the same."
