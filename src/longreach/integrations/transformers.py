"""The Trainer of Hugging Face's transformers: a callback that watches."""

from pathlib import Path
from typing import Any, Self

from longreach.integrations.attached import Attached
from longreach.integrations.missing import missing
from longreach.integrations.scalars import Run
from longreach.report.aloud import say
from longreach.sampler import check_budget

try:
    import transformers
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as error:
    raise missing("transformers", error) from error


class LongreachCallback(TrainerCallback):
    """Watches `trainer.train()`, and tells its verdict at the end; `watch(trainer)` makes one.

    run   after each training: its diagnosis, history and folder; None before, and in all processes but the first
    """

    def __init__(self, trainer: Trainer, folder: str | Path | None = None, *, budget: float = 0.02):
        self.trainer, self.folder, self.budget = trainer, folder, check_budget(budget)
        self.run: Run | None = None
        self._attached: Attached | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Begin to watch. Raises RunFolderError before the first step, if its folder cannot be written."""
        self._finish(None)  # a training before this one, of whose end nobody has told
        self.run = None
        folder = Path(self.folder) if self.folder is not None else Path(args.output_dir or ".", "longreach")
        versions = ("transformers", transformers.__version__)
        writes = state.is_world_process_zero
        self._attached = Attached(given["model"], folder, budget=self.budget, writes=writes, trainer=versions)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Judge."""
        self._finish(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        attached, self._attached = self._attached, None
        if attached is None or (run := attached.finish(error)) is None:
            return
        self.run = run
        say(f"\n{run.diagnosis}run folder: {run.folder}")
        self.trainer.log(run.totals())


def watch(trainer: Trainer, folder: str | Path | None = None, *, budget: float = 0.02) -> LongreachCallback:
    """Watch a trainer from now on:

        with watch(trainer) as callback:
            trainer.train()
        print(callback.run.diagnosis.verdict)

    It stands in front of the trainer's other callbacks, and at the end logs through the trainer where the run ended:
    reach, need, growth, gradient norm, under longreach/. So TensorBoard, Weights & Biases and whatever else the trainer
    reports to have it. The `with` block judges a training that was interrupted, too; without it that waits for the next
    training, or for the end of the process.

    folder  run folder; None: `longreach` in the trainer's output_dir. Where it holds a run already, the next is
            called folder-2, folder-3 ...
    budget  share of the wall time that watching may cost
    Raises  ArgumentError for a budget that is no share
    """
    callback = LongreachCallback(trainer, folder, budget=budget)
    trainer.callback_handler.callbacks.insert(0, callback)  # at the end, before the others close what they report to
    return callback
