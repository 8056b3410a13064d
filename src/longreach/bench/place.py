"""Where a bench is kept: a folder that one command line owns."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from longreach import __version__
from longreach.bench.cases import Asked
from longreach.errors import RunFolderError
from longreach.folder import alone, unwritable

PLAN, LOCK = "bench.json", "bench.lock"


def default_folder(asked: Asked) -> Path:
    """A folder that belongs to this command alone: the same command finds it again."""
    digest = hashlib.sha256(json.dumps(_plan(asked), sort_keys=True).encode()).hexdigest()[:8]
    return Path("longreach-runs", f"bench-{digest}")


@contextmanager
def held(folder: Path, asked: Asked) -> Iterator[None]:
    """The folder, ours alone while the context lasts.

    Raises  RunFolderError where it cannot be written, another process is at work there, or it is of another command:
            then says which option differs
    """
    with alone(folder, LOCK, "bench"):
        _agree(folder, _plan(asked))
        yield


def _agree(folder: Path, plan: dict[str, Any]) -> None:
    """Refuse the folder of another command; else keep what this one is."""
    from longreach.whole import write_whole

    try:
        kept = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        differing = [name for name in plan if kept.get(name) != plan[name]]
    except FileNotFoundError:
        kept, differing = {}, []
        if others := [one.name for one in folder.iterdir() if one.name != LOCK]:
            raise RunFolderError(
                f"folder {folder}: expected a new or empty one, or that of a bench, found {others[0]} in it; choose "
                "another with --run-dir"
            ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"{folder / PLAN}: expected the options of a bench, got {type(error).__name__}: {error}; choose another "
            "folder with --run-dir"
        ) from None
    if differing:
        told = "; ".join(f"{name}: there {kept.get(name)!r}, here {plan[name]!r}" for name in differing)
        raise RunFolderError(
            f"folder {folder}: expected a bench of the same command, got one that differs in {told}; give the same "
            "options, or choose another folder with --run-dir"
        )
    try:
        write_whole(folder / PLAN, (json.dumps(plan, indent=1) + "\n").encode())
    except OSError as error:
        raise unwritable(folder, error) from None


def _plan(asked: Asked) -> dict[str, Any]:
    return {f"--{name}": value for name, value in asdict(asked).items()} | {"version": __version__}
