"""Where a trial is kept, and what makes it the same as an earlier one."""

import hashlib
import json
import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longreach import __version__
from longreach.errors import RunFolderError
from longreach.folder import alone
from longreach.trial import copies


def within(script: str, home: Path) -> str:
    """The script's path as it is in a copy of the working folder; one from elsewhere is run where it is."""
    path = Path(script).resolve()
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


def plan_of(
    script: str, arguments: Sequence[str], *, module: bool, steps: int, metric: str, home: Path
) -> dict[str, object]:
    """All that makes one trial the same as another, so that runs of one count for the other."""
    path = Path(script)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() and not module else ""
    return {
        "name": script if module else path.resolve().stem,
        "home": str(home),
        "script": script,
        "source": hashlib.sha256(text.encode()).hexdigest(),
        "arguments": list(arguments),
        "steps": steps,
        "metric": metric,
        "version": __version__,
    }


def default_folder(plan: dict[str, object]) -> Path:
    """A folder that belongs to this plan alone: the same command finds it again."""
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:8]
    return Path("longreach-runs", f"treat-{plan['name']}-{digest}")


@contextmanager
def held(folder: Path, plan: dict[str, object]) -> Iterator[None]:
    """The trial's folder: ours alone, and of this plan."""
    with alone(folder, copies.LOCK, "trial"):
        kept = folder / "plan.json"
        if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != plan:
            raise RunFolderError(
                f"folder {folder}: expected a new one, or one of the same script, arguments, steps and metric; it "
                "holds another trial; choose another with --run-dir"
            )
        kept.write_text(json.dumps(plan, indent=1), encoding="utf-8")
        yield


def kept_input(folder: Path) -> Path | None:
    """What comes in by a pipe, kept so that every run can read it; nothing from a terminal."""
    kept = folder / "stdin"
    if kept.is_file():
        return kept
    if sys.stdin is None or sys.stdin.isatty() or not _is_fed():
        return None
    kept.write_bytes(sys.stdin.buffer.read())
    return kept


def _is_fed() -> bool:
    """Whether standard input is a pipe or a file that holds something; not /dev/null, nor a pipe nobody writes to."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        return True
    return stat.S_ISFIFO(mode) and bool(select.select([sys.stdin], [], [], 0.5)[0])
