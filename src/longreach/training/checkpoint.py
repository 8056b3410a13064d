"""Checkpoints: whole or not there, safetensors and JSON, nothing that executes."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from longreach.errors import RunReadError
from longreach.whole import flush, written

SCHEMA = "longreach.checkpoint/2"
KEPT = 3
FACTS = "facts.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Snapshot:
    """A training run at one moment.

    shared  tensors that all processes hold alike: weights, and the state of the optimizer
    own     tensors that each process has for itself, by rank: random state, the state carried through a stream
    facts   everything else, as plain JSON; "step" among them
    """

    shared: dict[str, Tensor]
    own: tuple[dict[str, Tensor], ...]
    facts: dict[str, Any]


def write(folder: Path, snapshot: Snapshot) -> Path:
    """Put a snapshot into `folder`/checkpoints; the last three are kept.

    Whole      files are written into a folder of another name, brought to the disk, and renamed in one go
    Raises     OSError where the disk is full or not writable: what was there before is untouched
    """
    place = folder / "checkpoints" / f"{snapshot.facts['step']:09d}"
    draft = place.with_name(f".{place.name}.draft")
    for left in place.parent.glob(".*.draft"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        parts = {WEIGHTS: snapshot.shared} | {f"rank-{rank}.safetensors": own for rank, own in enumerate(snapshot.own)}
        sums = {name: written(draft / name, save(tensors)) for name, tensors in parts.items()}
        written(draft / FACTS, json.dumps({"schema": SCHEMA, "sums": sums, "facts": snapshot.facts}).encode())
        shutil.rmtree(place, ignore_errors=True)  # one that could not be read; what was read is never written again
        draft.rename(place)
        flush(place.parent)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    for old in found(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def found(folder: Path) -> list[Path]:
    """Checkpoints of a run, the oldest first."""
    return sorted(path for path in (folder / "checkpoints").glob("[0-9]*") if path.is_dir())


def read(place: Path) -> Snapshot:
    """A checkpoint.

    Raises  RunReadError where it is cut off, of another version, or not of ours
    """
    try:
        held = json.loads((place / FACTS).read_bytes())
        if held["schema"] != SCHEMA:
            raise RunReadError(
                f"{place}: expected a checkpoint of schema {SCHEMA}, got {held['schema']!r}; resume with the version "
                "of longreach that wrote it"
            )
        tensors = {name: _checked(place / name, checksum) for name, checksum in held["sums"].items()}
        own = tuple(tensors[f"rank-{rank}.safetensors"] for rank in range(len(tensors) - 1))
        return Snapshot(tensors[WEIGHTS], own, held["facts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise RunReadError(
            f"{place}: expected a whole checkpoint, got {type(error).__name__}: {said}; it was cut off or changed"
        ) from None


def newest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest checkpoint that can be read, None where there is none yet; and a sentence for each that cannot.

    Raises  RunReadError where there are some, and none of them can be read
    """
    complaints = []
    for place in reversed(found(folder)):
        try:
            return read(place), complaints
        except RunReadError as error:
            complaints.append(str(error))
    if complaints:
        raise RunReadError(
            f"{complaints[0]}; no checkpoint before it can be read either: delete {folder / 'checkpoints'} to begin "
            "at the beginning"
        )
    return None, []


def _checked(path: Path, checksum: str) -> dict[str, Tensor]:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{path.name} is not what was written")
    return load(content)
