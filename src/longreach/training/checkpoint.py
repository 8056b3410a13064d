"""Checkpoints: whole or not there, safetensors and JSON, nothing that executes."""

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from longreach.errors import RunReadError

SCHEMA = "longreach.checkpoint/1"
KEPT = 3
FACTS = "facts.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Snapshot:
    """A training run at one moment.

    shared  tensors that all processes hold alike: weights, and the state of the optimizer
    own     tensors of this process alone: random state, the state carried through a stream
    facts   everything else, as plain JSON; "step" among them
    """

    shared: dict[str, Tensor]
    own: dict[str, Tensor]
    facts: dict[str, Any]


def write(folder: Path, snapshot: Snapshot, *, rank: int = 0, together: Any = None) -> Path:
    """Put a snapshot into `folder`/checkpoints; the last three are kept.

    Whole      files are written under another name, brought to the disk, and renamed in one go
    rank       of this process: the first one writes what is shared, each its own tensors
    together   called where all processes have to have come so far; None for one process
    Raises     OSError where the disk is full or not writable: what was there before is untouched
    """
    place = folder / "checkpoints" / f"{snapshot.facts['step']:09d}"
    draft = place.with_name(f".{place.name}.draft")
    meet = together or (lambda: None)
    try:
        if rank == 0:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        meet()
        sums = {own_name(rank): _written(draft / own_name(rank), save(snapshot.own))}
        if rank == 0:
            sums[WEIGHTS] = _written(draft / WEIGHTS, save(snapshot.shared))
            text = json.dumps({"schema": SCHEMA, "sums": sums, **snapshot.facts})
            _written(draft / FACTS, text.encode())
        meet()
        if rank == 0:
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
            _flush(place.parent)
            for old in found(folder)[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return place


def found(folder: Path) -> list[Path]:
    """Checkpoints of a run, the oldest first."""
    return sorted(path for path in (folder / "checkpoints").glob("[0-9]*") if path.is_dir())


def read(place: Path, *, rank: int = 0) -> Snapshot:
    """A checkpoint.

    Raises  RunReadError where it is cut off, of another version, or not of ours
    """
    try:
        facts = json.loads((place / FACTS).read_bytes())
        if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
            raise RunReadError(
                f"{place}: expected a checkpoint of schema {SCHEMA}, got "
                f"{facts.get('schema') if isinstance(facts, dict) else type(facts).__name__!r}; "
                "resume with the version of longreach that wrote it"
            )
        sums = facts.pop("sums")
        shared, own = (_checked(place / name, sums) for name in (WEIGHTS, own_name(rank)))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RunReadError(
            f"{place}: expected a whole checkpoint, got {type(error).__name__}: {error}; delete this folder to resume "
            "from the one before it"
        ) from None
    return Snapshot(shared, own, facts)


def newest(folder: Path, *, rank: int = 0) -> tuple[Snapshot | None, list[str]]:
    """The newest checkpoint that can be read, and a sentence for each that cannot."""
    complaints = []
    for place in reversed(found(folder)):
        try:
            return read(place, rank=rank), complaints
        except RunReadError as error:
            complaints.append(str(error))
    return None, complaints


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place in one go: whoever reads sees the old one or the new one, whole."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        _written(draft, content)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def own_name(rank: int) -> str:
    """The file of what one process alone holds."""
    return f"rank-{rank}.safetensors"


def _checked(path: Path, sums: dict[str, str]) -> dict[str, Tensor]:
    content = path.read_bytes()
    if path.name in sums and hashlib.sha256(content).hexdigest() != sums[path.name]:
        raise ValueError(f"{path.name} is not what was written")
    return load(content)


def _written(path: Path, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

