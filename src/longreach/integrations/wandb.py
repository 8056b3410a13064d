"""Weights & Biases: the scalars of a run, its verdict and its page. Works offline: WANDB_MODE=offline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from longreach.errors import ArgumentError
from longreach.integrations.missing import missing
from longreach.integrations.scalars import PREFIX, Run
from longreach.report.page.file import PAGE

try:
    import wandb
except ModuleNotFoundError as error:
    raise missing("wandb", error) from error

if TYPE_CHECKING:
    from longreach.watching import Watch

STEP = PREFIX + "step"


def log(run: "Run | Watch | Path | str", to: Any = None) -> None:
    """Log a run of longreach to a run of Weights & Biases.

    run     a run folder, or a watch that is over or still going on
    to      what wandb.init gave; None: the one that is active
    Logs    every scalar of longreach.integrations.scalars over longreach/step, the training step; in the summary the
            verdict, the findings and where the run ended; report.html, where the run folder holds one
    NaN     and infinities are logged as they are, but the charts of the web page leave such points out:
            longreach/non_finite counts them, and longreach/told says where the first was
    Raises  ArgumentError where no run is active; RunReadError where the folder holds no record, or a damaged one
    """
    to = wandb.run if to is None else to
    if to is None:
        raise ArgumentError("to: expected an active run of Weights & Biases, got none; call wandb.init(...) first")
    run = Run.of(run)
    to.define_metric(STEP)
    to.define_metric(PREFIX + "*", step_metric=STEP)
    for step, values in run.rows():
        to.log({STEP: step, **values})
    to.summary.update({**run.totals(), **run.labels(), PREFIX + "told": run.words()})
    page = run.folder / PAGE if run.folder else None
    if page and page.is_file():
        to.log({STEP: run.diagnosis.record.steps, PREFIX + "report": wandb.Html(page.read_text("utf-8"), inject=False)})
