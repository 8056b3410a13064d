"""What can be trained on: one kind of data a file. A new one is a new file and one line here."""

from typing import Any

from longreach.errors import ArgumentError
from longreach.training.problem import Problem


def read(kind: str, source: dict[str, Any]) -> Problem:
    """The problem of this kind, read from where its source says.

    Raises  ArgumentError for a kind that there is not, and whatever is wrong with the data
    """
    return _reader(kind).read(**source)


def _reader(kind: str) -> Any:
    match kind:  # each brings libraries that the others do without
        case "task":
            from longreach.training.task import TaskProblem as Kind
        case "text":
            from longreach.training.text.problem import Text as Kind
        case "series":
            from longreach.training.series.problem import Series as Kind
        case "classify":
            from longreach.training.labelled.problem import Sequences as Kind
        case "music":
            from longreach.training.music.problem import Music as Kind
        case _:
            raise ArgumentError(f"kind {kind!r}: expected text, series, classify, music or task")
    return Kind
