"""TensorBoard: the scalars of a run, its verdict, and a picture of how the reach came about."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tensorboardX import SummaryWriter

from longreach.integrations.heatmap import draw
from longreach.integrations.scalars import PREFIX, Run

if TYPE_CHECKING:
    from longreach.watching import Watch


def write(run: "Run | Watch | Path | str", folder: Path | str) -> None:
    """Write a run into an event folder, for `tensorboard --logdir FOLDER`.

    run     a run folder, or a watch that is over or still going on
    Writes  every scalar of longreach.integrations.scalars at its training step; the verdict as a text; for each
            recurrent layer a picture of gain over training step and lag
    NaN     and infinities are written as they are: TensorBoard shows them as triangles at the height of the last
            number, and longreach/non_finite counts them
    Raises  RunReadError where the folder holds no record, or a damaged one
    """
    run = Run.of(run)
    needs = run.totals()
    with SummaryWriter(str(folder)) as writer, _quiet():
        for track in run.courses():
            for step, value in zip(track.steps, track.values, strict=True):
                writer.add_scalar(track.name, value, step)
        last = run.diagnosis.record.steps
        writer.add_text(PREFIX + "verdict", run.words().replace("\n", "  \n"), last)
        for name, track in run.reach().items():
            need = needs.get(f"{PREFIX}need/{name}")
            picture = draw(track, name, None if need is None else int(need) or None)
            writer.add_image(f"{PREFIX}reach over training/{name}", picture, last, dataformats="HWC")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a line in the log for each NaN: they are counted."""
    log = logging.getLogger("tensorboardX.x2num")
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was
