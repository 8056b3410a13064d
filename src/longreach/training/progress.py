"""What a training run tells: a bar for people, metrics.csv and TensorBoard for tools."""

import time
from pathlib import Path

from longreach.report.live import Live
from longreach.training.logs import Board, Table
from longreach.training.trouble import Event

LOGGED = 2_000  # lines in metrics.csv, about, however long the run
FLUSHED = 2.0  # seconds after which what was told is in the files


class Silent:
    """Hears how a run goes, and says nothing: of several processes only the first one tells."""

    def begin(self, step: int) -> None:
        """The run goes on from this step."""

    def updated(self, step: int, loss: float, length: float, lr: float) -> None:
        """An update was taken."""

    def happened(self, event: Event) -> None:
        """A step was skipped, or training went back."""

    def judged(self, step: int, scores: dict[str, float]) -> None:
        """On the validation data."""

    def said(self, sentence: str) -> None:
        """Something that the user has to know."""

    def flush(self) -> None:
        """What was told has to be in the files now: a checkpoint that is written next says that it is."""

    def end(self) -> None:
        """No more to tell."""


class Progress(Silent):
    """The bar with loss, speed, reach and need, and the logs in the run folder.

    metrics.csv   step, loss, length of the gradient, lr; validation.csv: step, and every score
    events.csv    steps that were skipped, ways back
    tensorboard/  metrics and scores
    On a full disk what was told waits in memory, and is written as soon as there is space
    """

    def __init__(self, folder: Path, updates: int, *, quiet: bool, reach: int | None, need: int | None):
        self._updates, self._quiet = updates, quiet
        self._every = max(1, updates // LOGGED)
        self._memory = " ".join(
            f"{name} {value}" for name, value in (("reach", reach), ("need", need)) if value is not None
        )
        self._metrics, self._validation, self._events = (
            Table(folder / f"{name}.csv") for name in ("metrics", "validation", "events")
        )
        self._board = Board(folder / "tensorboard" / "events.out.tfevents.longreach")
        self._logs = (self._metrics, self._validation, self._events, self._board)
        self._began = self._flushed = time.monotonic()
        self._first, self._latest, self._is_full = 0, "", False
        self._live = Live(updates, quiet=quiet)

    def begin(self, step: int) -> None:
        """From this step on; what the logs hold of later ones came from a run that was stopped, and is taken out."""
        self._first, self._began = step, time.monotonic()
        try:
            for log in self._logs:
                log.cut(step)
        except OSError as error:
            self.said(f"the logs hold some steps twice from step {step} on: {error.strerror}")
        self._live = Live(self._updates, done=step, quiet=self._quiet)
        self._live.__enter__()

    def updated(self, step: int, loss: float, length: float, lr: float) -> None:
        """An update was taken."""
        if step % self._every:
            return
        values = {"loss": loss, "gradient": length, "lr": lr}
        self._metrics.add({"step": step, **values})
        self._board.add(step, values)
        now = time.monotonic()
        if now - self._flushed > FLUSHED:
            self.flush()
        speed = (step - self._first) / max(now - self._began, 1e-9)
        self._live.at(step, f"loss {loss:.4g}  {speed:.1f}/s  {self._memory}  {self._latest}")

    def happened(self, event: Event) -> None:
        """A step was skipped, or training went back."""
        self._events.add({"step": event.step, "what": event.what, "why": event.why})
        self.said(f"step {event.step}: {event.what}: {event.why}")

    def judged(self, step: int, scores: dict[str, float]) -> None:
        """On the validation data."""
        self._validation.add({"step": step, **scores})
        self._board.add(step, {f"validation/{name}": value for name, value in scores.items()})
        self._latest = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        if not self._live.is_drawn:
            self.said(f"step {step:>6} of {self._updates}   validation: {self._latest}")

    def said(self, sentence: str) -> None:
        """Something that the user has to know."""
        self._live.said(sentence)

    def flush(self) -> None:
        """Bring what was told to the files."""
        self._flushed = time.monotonic()
        try:
            for log in self._logs:
                log.flush()
        except OSError as error:
            if not self._is_full:
                self.said(f"the logs could not be written: {error.strerror}; training goes on, and they wait for space")
            self._is_full = True
        else:
            self._is_full = False

    def end(self) -> None:
        """No more to tell."""
        self.flush()
        self._live.__exit__()
