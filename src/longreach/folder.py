"""Who may write into a run folder: one run, once."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from longreach.errors import RunFolderError

RECORD = "record.sqlite"
DIAGNOSIS = "diagnosis.json"
LOCK = "run.lock"
LOOKS = 5  # at a lock that may be held by somebody who is only looking
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP)  # a network disk without locks: there the file alone must do


class Claim:
    """The right to write into a run folder, held until `release` or the end of the process.

    Is held by   a lock file: its presence keeps later runs out, its flock tells a live run from one that was killed
    Refuses      a folder that holds a run, alive or not: nothing that was measured is ever overwritten
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        except FileExistsError as error:
            if not folder.is_dir():
                raise unwritable(folder, error) from None
            alive = _is_locked(folder / LOCK)
            state = "another run is writing there right now" if alive else "it holds a run that did not end"
            raise _taken(folder, state) from None
        except OSError as error:
            raise unwritable(folder, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # a file of our own making: whoever holds it is only looking
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        if (folder / RECORD).exists() or (folder / DIAGNOSIS).exists():
            self.release()
            raise _taken(folder, "it holds an earlier run")

    @classmethod
    def again(cls, folder: Path) -> Self:
        """The folder of a run that was stopped, to go on with it. What is in it stays.

        Raises  RunFolderError where it cannot be written, or another process is writing there
        """
        claim = cls.__new__(cls)
        claim.folder = folder
        try:
            claim._lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
            _take(claim._lock)
        except BlockingIOError:
            os.close(claim._lock)
            raise _taken(folder, "another run is writing there right now") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise unwritable(folder, error) from None
        return claim

    @classmethod
    def default(cls, script: str) -> Self:
        """A new folder of its own: longreach-runs/YYYYmmdd-HHMMSS-script, with -2, -3 ... where that is taken."""
        return cls.beside(Path("longreach-runs", f"{time.strftime('%Y%m%d-%H%M%S')}-{script}").resolve())

    @classmethod
    def beside(cls, first: Path) -> Self:
        """This folder, made anew, or one beside it with -2, -3 ... where it is there already."""
        folder, count = first, 1
        while True:
            try:
                folder.mkdir(parents=True)
                return cls(folder)
            except FileExistsError as error:
                if not folder.is_dir():
                    raise unwritable(folder, error) from None
            except OSError as error:
                raise unwritable(folder, error) from None
            count += 1
            folder = first.with_name(f"{first.name}-{count}")

    def release(self) -> None:
        """Done: from here on what the run left in the folder keeps others out."""
        (self.folder / LOCK).unlink(missing_ok=True)
        os.close(self._lock)


@contextmanager
def alone(folder: Path, lock: str, what: str) -> Iterator[None]:
    """The folder, made if need be, for this process alone while the context lasts; others may come later.

    lock  name of the file that says so; what: is being written there, for the message to whoever comes second
    Raises  RunFolderError where it cannot be written, or another process is there
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / lock).open("w")
    except OSError as error:
        raise unwritable(folder, error) from None
    with held:
        try:
            _take(held.fileno())
        except BlockingIOError:
            raise RunFolderError(f"folder {folder}: another {what} is writing there right now; wait for it") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise unwritable(folder, error) from None
        yield


def is_alive(folder: Path, lock: str = LOCK) -> bool:
    """Whether a process is writing into this folder right now; `lock` is the name of its lock file."""
    try:
        return _is_locked(folder / lock)
    except OSError:  # not ours to look into
        return False


def unwritable(folder: Path, error: Exception) -> RunFolderError:
    """The error for a folder that cannot be made or written."""
    reason = getattr(error, "strerror", None) or str(error)
    return RunFolderError(
        f"run folder {folder}: expected a folder that can be written, got: {reason}; choose another with --run-dir"
    )


def _taken(folder: Path, state: str) -> RunFolderError:
    return RunFolderError(
        f"run folder {folder}: expected a new or empty folder, but {state}; choose another with --run-dir"
    )


def _take(lock: int) -> None:
    """The lock of a file that may have had an owner before. Raises BlockingIOError where it still has one."""
    for look in range(1, LOOKS + 1):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if look == LOOKS:
                raise
            time.sleep(0.01)  # whoever only looks whether it is held holds it for an instant


def _is_locked(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # released between our look and now
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    finally:
        os.close(lock)
    return False
