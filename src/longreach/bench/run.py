"""`longreach bench`: every case in a process of its own, until all have a row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from longreach.bench.cases import Asked, Case
from longreach.bench.cores import on_cores
from longreach.bench.place import default_folder, held
from longreach.bench.plot import svg
from longreach.bench.process import WORK
from longreach.bench.progress import Progress
from longreach.bench.results import Results, Row
from longreach.bench.success import Success, successes
from longreach.errors import ArgumentError, RunFolderError
from longreach.folder import unwritable
from longreach.tasks import Published

PICTURE = "success.svg"


@dataclass(frozen=True)
class Section:
    """A task of a bench: what came out of it, and what others have published."""

    task: str
    variant: str
    criterion: str
    successes: tuple[Success, ...]
    published: tuple[Published, ...]


@dataclass(frozen=True)
class Benched:
    """What a bench came to.

    asked     what the user asked for
    wanted    rows when it is complete
    complete  False where it was interrupted
    """

    asked: Asked
    sections: tuple[Section, ...]
    rows: tuple[Row, ...]
    wanted: int
    complete: bool
    folder: Path


def bench(
    asked: Asked,
    *,
    jobs: int | None = None,
    ray: str | None = None,
    folder: Path | None = None,
    quiet: bool = False,
    work: Sequence[str] = WORK,
) -> Benched:
    """Train every case that was asked for, and put their rows together.

    jobs    cases at a time; None: one a core
    ray     address of a cluster that they run on; None: this machine
    folder  where everything is kept; None: one under longreach-runs/ that belongs to this very command. What an earlier
            call has finished there is not run again
    work    what the processes run
    Leaves  results.parquet, rows/*.json, success.svg, and of each training its folder in runs/, without checkpoints
    Raises  ArgumentError, RunFolderError, before anything is trained; RunFolderError where the disk is full: what was
            finished is kept
    """
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"--jobs: expected 1 or more, got {jobs}")
    folder = (folder or default_folder(asked)).resolve()
    cases = list(asked.cases())
    with held(folder, asked):
        results, complete = Results(folder), True
        results.recall(cases)
        left = [case for case in cases if not results.holds(case)]
        progress = Progress(len(cases), len(cases) - len(left), quiet=quiet)
        try:
            with progress:
                for case, row in _rows(left, folder, jobs, ray, progress, work):
                    results.add(case, row)
                    progress.ended(case, row)
        except KeyboardInterrupt:
            complete = False
        except OSError as error:
            raise RunFolderError(
                f"folder {folder}: expected one that takes another row, got: {error.strerror or error}; make room, and "
                "give the same command again: what was finished is kept"
            ) from None
        return _concluded(asked, results, len(cases), complete, folder)


def _rows(
    cases: list[Case], folder: Path, jobs: int | None, ray: str | None, progress: Progress, work: Sequence[str]
) -> Iterator[tuple[Case, Row]]:
    if not cases:
        return iter(())
    if ray is None:
        return on_cores(cases, folder, jobs=jobs, begun=progress.begun, work=work)
    from longreach.bench.cluster import on_cluster

    return on_cluster(cases, ray, jobs=jobs, begun=progress.begun, work=work)


def _concluded(asked: Asked, results: Results, wanted: int, complete: bool, folder: Path) -> Benched:
    rows = results.rows()
    found = successes(rows)
    sections = tuple(
        Section(
            challenge.name,
            challenge.variant,
            challenge.at(asked.all_lengths()[0]).criterion,
            tuple(one for one in found if (one.task, one.variant) == (challenge.name, challenge.variant)),
            challenge.published(),
        )
        for challenge in asked.challenges()
    )
    try:
        results.write_table()
        (folder / PICTURE).write_text(svg(found), encoding="utf-8")
    except OSError as error:
        raise unwritable(folder, error) from None
    return Benched(asked, sections, tuple(rows), wanted, complete, folder)
