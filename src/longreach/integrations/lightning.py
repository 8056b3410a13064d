"""Lightning 2.x: a callback that watches, and truncated backpropagation through time."""

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from longreach.errors import ArgumentError
from longreach.integrations.attached import Attached
from longreach.integrations.missing import missing
from longreach.integrations.scalars import Run
from longreach.integrations.windows import Window, Windows, mapped
from longreach.sampler import check_budget


def _library() -> Any:
    """Two packages hold the same classes twice, and a trainer of the one refuses modules of the other: that in use."""
    failure = None
    for name in sorted(("lightning.pytorch", "pytorch_lightning"), key=lambda name: name not in sys.modules):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            failure = failure or error
    raise missing("lightning or pytorch_lightning", failure) from failure


if TYPE_CHECKING:
    import lightning.pytorch as pl
    from lightning.pytorch.utilities import rank_zero_info
else:
    pl = _library()
    rank_zero_info = pl.utilities.rank_zero_info

__all__ = ["LongreachCallback", "TruncatedBPTT", "Windows"]


class LongreachCallback(pl.Callback):
    """Watches `fit`, and tells its verdict at the end, also after Ctrl-C or an error.

        callback = LongreachCallback()
        Trainer(callbacks=[callback]).fit(model, loader)
        print(callback.run.diagnosis.verdict)

    folder   run folder; None: `longreach` in the logger's folder, or else in the trainer's default_root_dir. Where
             it holds a run already, the next is called folder-2, folder-3 ...
    budget   share of the wall time that watching may cost
    Gives    `run`, after each fit: its diagnosis, history and folder; None before, and in all processes but the first
    Tells    every logger of the trainer where the run ended: reach, need, growth, gradient norm, under longreach/
    Watches  training alone: validate, test, predict and the sanity check go by unseen
    Is not   part of a checkpoint: a fit that is resumed is a run of its own
    """

    def __init__(self, folder: str | Path | None = None, *, budget: float = 0.02):
        super().__init__()
        self.folder, self.budget = folder, check_budget(budget)
        self.run: Run | None = None
        self._attached: Attached | None = None

    def on_train_start(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """Begin to watch. Raises RunFolderError before the first step, if its folder cannot be written."""
        beside = trainer.log_dir or trainer.default_root_dir  # asks all processes: not for the first one alone
        folder = Path(self.folder) if self.folder is not None else Path(beside, "longreach")
        versions = ("lightning", version(pl.__name__.partition(".")[0]))
        self.run = None
        writes = trainer.is_global_zero
        self._attached = Attached(pl_module, folder, budget=self.budget, writes=writes, trainer=versions)

    def on_train_end(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule") -> None:
        """Judge."""
        self._finish(trainer, None)

    def on_exception(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", exception: BaseException) -> None:
        """Judge what there is."""
        self._finish(trainer, exception)

    def _finish(self, trainer: "pl.Trainer", error: BaseException | None) -> None:
        attached, self._attached = self._attached, None
        if attached is None or (run := attached.finish(error)) is None:
            return
        self.run = run
        rank_zero_info(f"\n{run.diagnosis}run folder: {run.folder}")
        for logger in trainer.loggers:
            logger.log_metrics(run.totals(), trainer.global_step)


class TruncatedBPTT(pl.LightningModule):
    """A module that trains on long sequences a window at a time, and carries its state from window to window.

        class Network(TruncatedBPTT):
            def window(self, batch, state):
                x, y = batch                       # some steps in a row
                states, state = self.rnn(x, state)
                return mse_loss(self.head(states), y), state

        trainer.fit(Network(), Windows(loader, k1=50, k2=200))

    For Lightning each window is a batch: the trainer clips, accumulates, steps schedulers, counts global_step and calls
    callbacks at every one, and only the window is moved to the device.

    Promises  the gradient of Williams & Peng's BPTT(k2; k1): of the loss of every k1 new steps, through the latest k2
    State     any nest of tensors, None where a document begins; it is detached between windows. What a step remembers
              was computed with the weights of the update before
    Price     k2/k1 times the steps; for k1 < k2 < 2·k1 one pass of k1 steps without gradients more
    Is not    truncated in validation: there `validation_step` sees what its own loader gives
    Watched   with k1 < k2, longreach sees each call of `window` as a sequence of its own, and reach within it alone
    """

    _state: Any = None
    _rows: int | None = None

    def window(self, batch: Any, state: Any) -> tuple[Tensor, Any]:
        """Yours to write: the mean loss over some steps in a row, and the state behind them.

        Is called  two or three times for a window if k1 < k2, for the old steps and the new ones: the loss of the old
                   ones goes unused
        """
        raise NotImplementedError(f"{type(self).__name__}.window(batch, state) -> (loss, state)")

    def training_step(self, batch: Window, batch_idx: int) -> Tensor:
        """The loss of the new steps."""
        if not isinstance(batch, Window):
            raise ArgumentError(
                f"training_step: expected a window of a sequence, got a {type(batch).__name__}; "
                "train on Windows(loader, k1=..., k2=...)"
            )
        self._rows = batch.rows
        loss, state = self._through(batch, None if batch.begins else self._state)
        self._state = mapped(lambda part: part.detach() if isinstance(part, Tensor) else part, state)
        return loss

    def log(self, name: str, value: Any, *given: Any, **options: Any) -> None:
        """As ever; in a mean over an epoch a window counts by the number of its rows."""
        rows = self._rows if self.training else None
        super().log(name, value, *given, **{"batch_size": rows, **options})

    def _through(self, batch: Window, state: Any) -> tuple[Tensor, Any]:
        """(loss of the new steps, state before the first step of the next window)."""
        old, after, length = batch.old, batch.after, batch.length
        if after == length:  # k1 = k2
            return self.window(batch.part(0, length), state)
        if after > old:
            with torch.no_grad():
                kept = self._remember(batch, 0, after, state)
            here = self._remember(batch, 0, old, state)
        else:
            kept = self._remember(batch, 0, after, state)
            here = self._remember(batch, after, old, kept)
        return self.window(batch.part(old, length), here)[0], kept

    def _remember(self, batch: Window, start: int, stop: int, state: Any) -> Any:
        return self.window(batch.part(start, stop), state)[1] if stop > start else state
