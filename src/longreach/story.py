"""Everything that a run folder tells, read without ever failing: what cannot be read is said in a sentence."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from longreach.diagnosis.verdict import Diagnosis
from longreach.errors import LongreachError
from longreach.folder import DIAGNOSIS, RECORD, is_alive
from longreach.history import History, Mark, Track, history
from longreach.launch import read_run
from longreach.store import Store
from longreach.trial.copies import LOCK as TRIAL_LOCK
from longreach.trial.proof import Proof

T = TypeVar("T")
PROOF, PATCH, PLAN, OUTCOME, EVENTS, VALIDATION = (
    "proof.json",
    "patch.diff",
    "train.json",
    "outcome.json",
    "events.csv",
    "validation.csv",
)
CONTROL = Path("runs", "control", "seed-0")  # of a trial: the script as it is
# What may go wrong in reading files of whatever kind: a page is drawn without that part then.
UNREADABLE = (
    LongreachError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True)
class Trained:
    """What `longreach train` left.

    plan        as in train.json
    outcome     as in outcome.json; None while training goes on, or where it was stopped
    validation  one track per score
    """

    plan: dict[str, Any]
    outcome: dict[str, Any] | None
    validation: tuple[Track, ...] = ()


@dataclass(frozen=True)
class Story:
    """What a folder tells, of `longreach run`, `treat` or `train`.

    name       of the folder
    going      whether a process is writing to it right now
    diagnosis  None where nothing could be judged
    history    the course of the run
    proof      of a trial; `patch`: the lines that make its winner permanent
    trained    of a training
    missing    what could not be read, and why, in sentences
    """

    name: str
    going: bool = False
    diagnosis: Diagnosis | None = None
    history: History = field(default_factory=History)
    proof: Proof | None = None
    patch: str | None = None
    trained: Trained | None = None
    missing: tuple[str, ...] = ()


def read(folder: Path) -> Story:
    """All that a run folder tells; never raises for what is in it.

    Cost  that of judging the run anew while it goes on: the need tests, up to two seconds for each recurrent module
    """
    missing: list[str] = []

    def part(read: Callable[[Path], T], otherwise: T, *needs: Path) -> T:
        """What `read` finds where the files it needs are there."""
        try:
            return read(folder) if all(path.is_file() for path in needs) else otherwise
        except UNREADABLE as error:
            what = needs[0] if needs else folder / DIAGNOSIS
            told = f"{what}: could not be read: {type(error).__name__}: {error}"
            missing.append(str(error) if isinstance(error, LongreachError) else told)
            return otherwise

    if not folder.is_dir():
        return Story(folder.name, missing=(f"{folder}: expected a run folder, found none",))
    measured = judged_in(folder)
    judged = (measured / DIAGNOSIS).is_file() or (measured / RECORD).is_file()
    trained = part(_trained, None, folder / PLAN)
    if trained is not None:
        trained = replace(trained, validation=part(_validation, (), folder / VALIDATION))
    marks = part(_events, (), folder / EVENTS)
    course = part(lambda _: _history(measured), History(), measured / RECORD)
    story = Story(
        name=folder.resolve().name,
        going=any(map(is_alive, (folder, measured))) or is_alive(folder, TRIAL_LOCK),
        diagnosis=part(lambda _: read_run(measured), None) if judged else None,
        history=replace(course, marks=tuple(sorted((*course.marks, *marks), key=lambda mark: mark.step))),
        proof=part(lambda _: Proof.from_json((folder / PROOF).read_text("utf-8")), None, folder / PROOF),
        patch=part(lambda _: (folder / PATCH).read_text("utf-8"), None, folder / PATCH),
        trained=trained,
    )
    if not (judged or story.proof or trained):
        missing.append(f"{folder}: expected the folder of a run, found nothing of longreach's in it")
    return replace(story, missing=tuple(missing))


def judged_in(folder: Path) -> Path:
    """Where the run lies that a folder is judged by: of a trial, that of the script as it is."""
    is_trial = (folder / PROOF).is_file() or (folder / CONTROL).is_dir()
    return folder / CONTROL if is_trial else folder


def _history(folder: Path) -> History:
    store = Store.open(folder)
    try:
        return history(store)
    finally:
        store.close()


def _trained(folder: Path) -> Trained:
    plan = json.loads((folder / PLAN).read_text("utf-8"))
    outcome = json.loads((folder / OUTCOME).read_text("utf-8")) if (folder / OUTCOME).is_file() else None
    if not isinstance(plan, dict) or not isinstance(outcome, dict | None):
        raise ValueError(f"{folder / PLAN}: expected the plan of a training, got something else")
    return Trained(plan, outcome)


def _validation(folder: Path) -> tuple[Track, ...]:
    scores: dict[str, list[tuple[int, float]]] = {}
    for row in _rows(folder / VALIDATION):
        for name, value in row.items():
            if name != "step":
                scores.setdefault(name, []).append((int(row["step"]), float(value)))
    return tuple(Track.of(name, points) for name, points in scores.items())


def _events(folder: Path) -> tuple[Mark, ...]:
    return tuple(Mark(int(row["step"]), row["what"], row["why"]) for row in _rows(folder / EVENTS))


def _rows(file: Path) -> list[dict[str, str]]:
    """The whole lines of a CSV file; one that is being written is left out."""
    text = file.read_text("utf-8", errors="replace")
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    return [row for row in rows if None not in row and None not in row.values()]
