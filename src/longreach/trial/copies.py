"""The working folder of a script, once for every run of it: what one run writes no other one reads."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from longreach.errors import ArgumentError
from longreach.folder import RECORD

# What a run cannot need, or writes anew.
LEFT_OUT = {
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    "node_modules",
    "longreach-runs",
    ".ipynb_checkpoints",
}
LARGE = 16 * 2**20  # bytes from which on a file is linked to: data to be read, seldom written
LOCK = "treat.lock"  # in the folder of a trial
MOST_BYTES, MOST_FILES = 2**30, 20_000


def check(folder: Path) -> None:
    """Raise ArgumentError if the folder is too much to be copied for every run."""
    size = 0
    for count, path in enumerate(_files(folder), start=1):
        size += min(path.stat(follow_symlinks=False).st_size, LARGE)
        if count > MOST_FILES or size > MOST_BYTES:
            raise ArgumentError(
                f"working folder {folder}: expected at most {MOST_FILES} files and {MOST_BYTES >> 30} GiB, for every "
                "run gets a copy of it, got more; start where the script lies, or say --in-place if it writes nothing "
                "that another run could read"
            )


def copy(folder: Path, to: Path) -> None:
    """All files of a folder; large ones as links."""
    to.mkdir(parents=True)
    for path in _files(folder):
        target = to / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.stat().st_size >= LARGE:
            target.symlink_to(path.resolve())
        else:
            shutil.copy2(path, target)


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not _is_left_out(Path(place, name)))
        for name in sorted(files):
            path = Path(place, name)
            if path.is_file():  # no pipe, no socket, no link that leads nowhere
                yield path


def _is_left_out(folder: Path) -> bool:
    """A virtual environment, a run, or a trial: the one at hand above all, which would be copied into itself."""
    return any((folder / mark).exists() for mark in ("pyvenv.cfg", RECORD, LOCK))
