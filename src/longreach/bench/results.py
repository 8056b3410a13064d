"""What is kept of a bench: a row a training, each in a file of its own, and all of them as one table."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from longreach.bench.cases import NONE, Case
from longreach.plain import build, plain

TABLE = "results.parquet"


@dataclass(frozen=True)
class Row:
    """What became of a training, or of guessing.

    task ... seed      as asked; remedies: "a+b", or "none"
    updates            that were taken; of guessing: networks drawn
    seconds            wall time of the training: from reading the task to its test, without starting Python
    processor_seconds  the same, of all cores together
    solved             by the task's criterion on 10,000 fresh sequences (of guessing: 512); of a failed run: no
    wrong              share of them that is wrong
    loss, chance       on the same; and of the best answer that does not look
    skipped, returns   updates that were not taken, ways back
    verdict            of the watch over the training
    reach, need        steps: of the network at its start, of the data; None where none was found
    hidden, batch, lr  units of the network, sequences an update, largest step size
    versions           longreach, torch and Python that it ran on
    outcome            ended; diverged; refused, by a remedy that does not fit; crashed, to be run again
    failed             why it has no figures, in a sentence
    """

    task: str
    variant: str
    length: int
    cell: str
    remedies: str
    seed: int
    updates: int | None = None
    seconds: float | None = None
    processor_seconds: float | None = None
    solved: bool = False
    wrong: float | None = None
    loss: float | None = None
    chance: float | None = None
    skipped: int | None = None
    returns: int | None = None
    verdict: str = ""
    reach: int | None = None
    need: int | None = None
    hidden: int | None = None
    batch: int | None = None
    lr: float | None = None
    versions: str = ""
    outcome: str = "crashed"
    failed: str | None = None

    @classmethod
    def of(cls, case: Case, **facts: Any) -> Self:
        """Of this case, with what was measured."""
        challenge, course = case.challenge, case.course
        remedies = "+".join(course.remedies) or NONE
        row = cls(challenge.name, challenge.variant, case.length, course.cell, remedies, case.seed)
        return replace(row, **build_facts(facts))


def build_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Columns as JSON gave them, in their types."""
    kinds = {field.name: field.type for field in fields(Row)}
    return {name: build(kinds[name], value) for name, value in facts.items()}


class Results:
    """The rows of a bench in its folder: rows/NAME.json as each training ends, and results.parquet anew each time.

    Whole   every file is written under another name and renamed: a kill leaves the one before
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._rows: dict[str, Row] = {}

    def recall(self, cases: Iterable[Case]) -> None:
        """Read the rows that an earlier call has left; what crashed, or cannot be read, is run again."""
        for case in cases:
            row = _read(self._file(case))
            if row is not None and row.outcome != "crashed":
                self._rows[case.name] = row

    def holds(self, case: Case) -> bool:
        """Whether its training is over."""
        return case.name in self._rows

    def add(self, case: Case, row: Row) -> None:
        """Keep a row. Raises OSError where the disk takes no more."""
        from longreach.whole import write_whole

        self._rows[case.name] = row
        self._file(case).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._file(case), (json.dumps(plain(row), indent=1) + "\n").encode())
        self.write_table()

    def write_table(self) -> None:
        """results.parquet, whole."""
        from longreach.whole import write_whole

        write_whole(self.folder / TABLE, parquet(self.rows()))

    def rows(self) -> list[Row]:
        """All that is known, in the order in which it came."""
        return list(self._rows.values())

    def _file(self, case: Case) -> Path:
        return self.folder / "rows" / f"{case.name}.json"


def parquet(rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file; the types of the columns do not depend on what is in them."""
    from io import BytesIO

    import polars

    kinds: dict[Any, Any] = {str: polars.String, int: polars.Int64, float: polars.Float64, bool: polars.Boolean}
    schema = {field.name: kinds[_without_none(field.type)] for field in fields(Row)}
    columns = {name: [getattr(row, name) for row in rows] for name in schema}
    file = BytesIO()
    polars.DataFrame(columns, schema=schema).write_parquet(file)
    return file.getvalue()


def _without_none(kind: Any) -> Any:
    return next(one for one in getattr(kind, "__args__", (kind,)) if one is not type(None))


def _read(file: Path) -> Row | None:
    try:
        return build(Row, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
