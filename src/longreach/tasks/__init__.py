"""The long-lag tasks of the literature, each with its exact definition, its chance level and when it counts as solved.

    task = make("adding", length=200, variant="bai")
    batch = task.draw(20, torch.Generator().manual_seed(0))

A new one is a file, and its line in TASKS: the names that the command line knows. `guess` draws weights at random: what
solves a task that way says little about a method.
"""

from dataclasses import fields as fields_of
from typing import Any

from longreach.errors import ArgumentError
from longreach.tasks.adding import Adding
from longreach.tasks.copying import Copying
from longreach.tasks.delayed_xor import DelayedXOR
from longreach.tasks.digits import Digits
from longreach.tasks.guessing import Guess, guess
from longreach.tasks.long_lag import LongLag
from longreach.tasks.mackey_glass import MackeyGlass
from longreach.tasks.memorisation import Memorisation
from longreach.tasks.multiplication import Multiplication
from longreach.tasks.narma10 import NARMA10
from longreach.tasks.permutation import Permutation
from longreach.tasks.reber import Reber
from longreach.tasks.task import Published, Task
from longreach.tasks.temporal_order import TemporalOrder, TemporalOrder3
from longreach.tasks.time_indicator import TimeIndicator
from longreach.tasks.two_sequence import TwoSequence

TASKS: tuple[type[Task], ...] = (
    Adding,
    Multiplication,
    TemporalOrder,
    TemporalOrder3,
    Copying,
    Memorisation,
    Permutation,
    TwoSequence,
    LongLag,
    Reber,
    DelayedXOR,
    TimeIndicator,
    NARMA10,
    MackeyGlass,
    Digits,
)

__all__ = [
    "NARMA10",
    "TASKS",
    "Adding",
    "Copying",
    "DelayedXOR",
    "Digits",
    "Guess",
    "LongLag",
    "MackeyGlass",
    "Memorisation",
    "Multiplication",
    "Permutation",
    "Published",
    "Reber",
    "Task",
    "TemporalOrder",
    "TemporalOrder3",
    "TimeIndicator",
    "TwoSequence",
    "guess",
    "make",
    "named",
]


def named(name: str) -> type[Task]:
    """The task of this name; ArgumentError, with all names, where there is none."""
    for task in TASKS:
        if task.name == name:
            return task
    raise ArgumentError(f"task: expected one of {', '.join(task.name for task in TASKS)}; got {name!r}")


def make(name: str, **fields: Any) -> Task:
    """The task of this name with these fields; ArgumentError, with what there is, for a name or field that is not."""
    task = named(name)
    known = [field.name for field in fields_of(task)]
    for field in fields:
        if field not in known:
            raise ArgumentError(f"{name}: expected fields among {', '.join(known)}; got {field!r}")
    return task(**fields)
