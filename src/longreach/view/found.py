"""What lies in a folder: the runs under it, each with a name of its own that is no path."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from longreach.errors import RunFolderError
from longreach.folder import DIAGNOSIS, LOCK, RECORD, is_alive
from longreach.story import CONTROL, EVENTS, OUTCOME, PATCH, PLAN, PROOF, TRIAL_LOCK, VALIDATION

DEPTH = 5  # of a run under the folder: project/longreach-runs/NAME and two more
MOST_FOLDERS = 10_000  # looked into; half a second
MOST_INNER = 200  # runs named of one trial or bench
SKIPPED = {"__pycache__", "node_modules", "site-packages", "tensorboard", "checkpoints"}
BENCH_PLAN, BENCH_LOCK = "bench.json", "bench.lock"  # as in bench/place.py, which has torch behind it
KINDS = (  # what says of which command a folder is, the surest first
    ("bench", {BENCH_PLAN, BENCH_LOCK}),
    ("trial", {PROOF, TRIAL_LOCK}),
    ("training", {PLAN}),
    ("run", {RECORD, DIAGNOSIS, LOCK}),
)
READ = (RECORD, f"{RECORD}-wal", DIAGNOSIS, PROOF, PATCH, PLAN, OUTCOME, EVENTS, VALIDATION)


@dataclass(frozen=True)
class Found:
    """A run that lies under the folder.

    id     of its path, in addresses: asks for nothing but a run that was found
    name   its path under the folder; that of the folder itself where it is the run
    kind   "run", "training", "trial" or "bench"
    began  when its folder was last added to or taken from: about when the run began, or ended; seconds since 1970
    inner  the runs that a trial or a bench made
    """

    id: str
    path: Path
    name: str
    kind: str
    began: float
    inner: tuple["Found", ...] = ()

    @property
    def title(self) -> str:
        """The last part of its name."""
        return PurePath(self.name).name

    @property
    def parent(self) -> str:
        """What of its name comes before; empty where nothing does."""
        return "" if self.title == self.name else str(PurePath(self.name).parent)

    def under(self, other: "Found") -> str:
        """Its name within another run's folder."""
        return str(self.path.relative_to(other.path))


@dataclass(frozen=True)
class Shelf:
    """All runs under a folder, the newest first; `whole` is False where there were too many folders to look into."""

    runs: tuple[Found, ...] = ()
    whole: bool = True

    def get(self, id: str) -> Found | None:
        """The run of this id, be it one of a trial; None where there is none."""
        everyone = (one for run in self.runs for one in (run, *run.inner))
        return next((run for run in everyone if run.id == id), None)


def find(root: Path) -> Shelf:
    """The runs under a folder, which may be one itself. Links to other folders are not followed.

    Cost  some 30 µs for each folder
    """
    runs, whole = [], True
    waiting, looked = deque([(root, 0)]), 0
    while waiting:
        folder, depth = waiting.popleft()
        files, folders = _listed(folder)
        if kind := _kind(folder, files):
            inner = tuple(_inner(root, folder)) if kind in ("trial", "bench") else ()
            runs.append(_found(root, folder, kind, inner))
        elif depth < DEPTH:
            waiting.extend((folder / name, depth + 1) for name in folders)
        looked += 1
        if looked >= MOST_FOLDERS:
            whole = not waiting
            break
    return Shelf(tuple(sorted(runs, key=lambda run: (-run.began, run.name))), whole)


def state_of(run: Found, root: Path) -> tuple:
    """What changes when there is something new to read in a run.

    Raises  RunFolderError where a file of it is a link that leads out of `root`
    """
    folders = (run.path, run.path / CONTROL) if run.kind == "trial" else (run.path,)
    files = (_state(folder / name, root) for folder in folders for name in READ)
    locks = ((run.path, LOCK), (folders[-1], LOCK), (run.path, TRIAL_LOCK), (run.path, BENCH_LOCK))
    return (*files, *(is_alive(folder, lock) for folder, lock in locks))


def _state(file: Path, root: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    if not file.resolve().is_relative_to(root):
        raise RunFolderError(f"{file.name}: expected a file of the run, got a link out of the folder; it is not read")
    return found.st_mtime_ns, found.st_size, found.st_ino


def _listed(folder: Path) -> tuple[set[str], list[str]]:
    """Names of files and of folders in a folder; nothing where it cannot be read."""
    files, folders = set(), []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif not entry.is_dir():
                    files.add(entry.name)
    except OSError:
        return set(), []
    if "pyvenv.cfg" in files:
        return set(), []
    return files, sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))


def _kind(folder: Path, files: set[str]) -> str | None:
    if (folder / CONTROL).is_dir():
        return "trial"
    return next((kind for kind, marks in KINDS if files & marks), None)


def _inner(root: Path, folder: Path) -> Iterator[Found]:
    """The runs that lie in a trial or a bench; not those that these have made."""
    waiting, count = deque([(folder, 0)]), 0
    while waiting and count < MOST_INNER:
        place, depth = waiting.popleft()
        files, folders = _listed(place)
        if place != folder and (kind := _kind(place, files)):
            yield _found(root, place, kind)
            count += 1
        elif depth < DEPTH:
            waiting.extend((place / name, depth + 1) for name in folders)


def _found(root: Path, folder: Path, kind: str, inner: tuple[Found, ...] = ()) -> Found:
    under = str(folder.relative_to(root))
    try:
        began = folder.stat().st_mtime
    except OSError:  # gone since
        began = 0.0
    id = hashlib.sha256(under.encode(errors="surrogateescape")).hexdigest()[:16]
    return Found(id, folder, root.name if under == "." else under, kind, began, inner)
