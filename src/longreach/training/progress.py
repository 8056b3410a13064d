"""What a training run tells: a bar for people, metrics.csv and TensorBoard for tools."""

import csv
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

from longreach.training.trouble import Event

LOGGED = 2_000  # lines in metrics.csv, about, however long the run
COLUMNS = ("step", "loss", "gradient", "lr")


class Progress:
    """The bar with loss, speed, reach and need, and the logs in the run folder. Only the first process tells.

    metrics.csv   step, loss, length of the gradient, lr; validation.csv: step, and every score
    tensorboard/  the same as scalars
    events.csv    steps that were skipped, ways back
    """

    def __init__(self, folder: Path, updates: int, *, quiet: bool, reach: int | None, need: int | None):
        self._folder, self._updates = folder, updates
        self._every = max(1, updates // LOGGED)
        self._memory = " ".join(
            f"{name} {value}" for name, value in (("reach", reach), ("need", need)) if value is not None
        )
        self._began, self._first = time.monotonic(), 0
        self._bar, self._task = _bar(updates, quiet), None
        self._quiet, self._latest = quiet, ""
        self._files: dict[str, Any] = {}
        self._board: Any = None

    def begin(self, step: int) -> None:
        """From this step on; what the logs hold of later ones came from a run that was stopped, and is taken out."""
        self._first = step
        for name in ("metrics.csv", "validation.csv", "events.csv"):
            _cut(self._folder / name, step)
        from tensorboardX import SummaryWriter

        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step or None)
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._updates, completed=step)

    def updated(self, step: int, loss: float, length: float, lr: float) -> None:
        """An update was taken."""
        if step % self._every:
            return
        self._line("metrics.csv", dict(zip(COLUMNS, (step, loss, length, lr), strict=True)))
        for name, value in zip(COLUMNS[1:], (loss, length, lr), strict=True):
            self._board.add_scalar(name, value, step)
        if self._bar is not None and self._task is not None:
            speed = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
            told = f"loss {loss:.4g}  {speed:.1f}/s  {self._memory}  {self._latest}"
            self._bar.update(self._task, completed=step, description=told)

    def happened(self, event: Event) -> None:
        """A step was skipped, or training went back."""
        self._line("events.csv", {"step": event.step, "what": event.what, "why": event.why})
        self.said(f"step {event.step}: {event.what}: {event.why}")

    def judged(self, step: int, scores: dict[str, float]) -> None:
        """On the validation data."""
        self._line("validation.csv", {"step": step, **scores})
        for name, value in scores.items():
            self._board.add_scalar(f"validation/{name}", value, step)
        self._latest = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.flush()
        if self._bar is None:
            self.said(f"step {step:>6} of {self._updates}   validation: {self._latest}")

    def said(self, sentence: str) -> None:
        """Something that the user has to know."""
        if self._bar is not None:
            self._bar.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet and sys.stderr is not None:
            print(sentence, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Bring what was told to the files."""
        for file in self._files.values():
            file.flush()
        self._board.flush()

    def end(self) -> None:
        """No more to tell."""
        if self._bar is not None:
            self._bar.stop()
        for file in self._files.values():
            file.close()
        self._files = {}
        if self._board is not None:
            self._board.close()

    def _line(self, name: str, values: dict[str, Any]) -> None:
        if name not in self._files:
            path = self._folder / name
            is_new = not path.exists() or not path.stat().st_size
            self._files[name] = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 (closed in `end`)
            if is_new:
                csv.writer(self._files[name]).writerow(values)
        csv.writer(self._files[name]).writerow(values.values())


class Silent:
    """For processes that are not the first: says nothing."""

    def updated(self, step: int, loss: float, length: float, lr: float) -> None:
        """Nothing."""

    def happened(self, event: Event) -> None:
        """Nothing."""

    def judged(self, step: int, scores: dict[str, float]) -> None:
        """Nothing."""

    def said(self, sentence: str) -> None:
        """Nothing."""


def _bar(updates: int, quiet: bool) -> Any:
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(bar_width=20), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True)


def _cut(path: Path, step: int) -> None:
    """Keep the lines of earlier steps only, and no line that was cut off."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    kept = rows[:1] + [row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) < step]
    draft = path.with_name(f".{path.name}.draft")
    with open(draft, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(kept)
    os.replace(draft, path)
