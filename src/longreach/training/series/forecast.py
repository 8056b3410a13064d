"""The steps after the end of a file, as a trained network expects them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from longreach.batch import Batch
from longreach.errors import ArgumentError, DataError, RunReadError
from longreach.plain import build
from longreach.report.forecasted import write
from longreach.report.screen import Screen
from longreach.report.sheet import Sheet
from longreach.training.series.panel import Panel, panel
from longreach.training.series.problem import SHOWN, Question
from longreach.training.series.windows import Scaling
from longreach.training.table import Table, table


@dataclass(frozen=True)
class Forecast:
    """What was measured, and what is expected to follow.

    panel      of the file
    question   that the network was trained on
    expected   a row for each step to come: series, time, and of each target the median and all quantiles
    """

    panel: Panel
    question: Question
    expected: Table


def as_csv(expected: Table, file: Path | None = None) -> str:
    """A forecast as CSV, to a file too: numbers with six digits, times with their zone where they have one.

    Raises  ArgumentError where that cannot be written
    """
    import polars

    short = expected.with_columns(polars.selectors.float().round_sig_figs(6))
    zone = "%:z" if any(getattr(kind, "time_zone", None) for kind in expected.dtypes) else ""
    text = short.write_csv(datetime_format=f"%Y-%m-%d %H:%M:%S{zone}")
    if file is not None:
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"{file}: expected a place for a CSV file, got {error.strerror}") from None
    return text


def charts(found: Forecast, screen: Screen) -> str:
    """Of each target of each series: three horizons of what was measured, and its forecast."""
    sheet = Sheet(screen)
    own, question, steps = found.panel, found.question, found.question.horizon
    targets = question.roles.targets
    ends = _ends(own, question, "")
    for series, (name, begin, end) in enumerate(zip(own.names, own.begins, ends, strict=False)):
        first = max(int(begin), int(end) - 3 * steps)
        come = found.expected[series * steps : (series + 1) * steps]
        began, come_at = own.clock.shown(own.times[first : first + 1]), come[own.times.name]
        ticks = [str(time).removesuffix(":00") for time in (began[0], come_at[0], come_at[-1])]
        for number, target in enumerate(targets):
            levels = [come[column].to_list() for column in names_of(target, question)]
            if sheet.lines:
                sheet.gap()
            title = f"{target}, {name}" if name else target
            write(sheet, title, own.measured[first : int(end), number].tolist(), levels, ticks)
    return sheet.text()


def names_of(target: str, question: Question) -> list[str]:
    """Columns of a forecast: the target's own name for the median, `OT 0.9` for another level."""
    return [target if q == 0.5 else f"{target} {q:g}" for q in question.quantiles]


def forecast(folder: Path, file: Path | None = None) -> Forecast:
    """What follows after the end of a file, by the network of a run folder.

    file    with the columns that the network was trained on; None: the file that it was trained on
    Raises  as `run.load` and `panel` do; RunReadError where the network was not trained on series; DataError for a
            file of other intervals, too short to look back on, or without known columns for the steps to come
    """
    from longreach.training.run import load

    kind, recipe, network = load(folder)
    if kind != "series":
        raise RunReadError(
            f"{folder}: expected a network trained on series, got one trained on {kind} data; train one with "
            "`longreach train series FILE --target COLUMN --horizon STEPS`"
        )
    path = file or Path(recipe["file"])
    question, scaling = build(Question, recipe["question"]), Scaling(**recipe["scaling"])
    own = panel(table(path), question.roles, str(path))
    if str(own.clock) != recipe["every"]:
        raise DataError(
            f"{path}: expected a step every {recipe['every']}, as in training, got one every {own.clock}; bring "
            "the file to that interval, or train anew"
        )

    @torch.no_grad()
    def answer(batch: Batch) -> Tensor:
        return network(batch.x, batch.asked)[0]

    return Forecast(own, question, forecast_of(own, question, scaling, answer, str(path)))


def forecast_of(
    own: Panel, question: Question, scaling: Scaling, answer: Callable[[Batch], Tensor], where: str
) -> Table:
    """The same, of a panel.

    Columns  the group's, if there is one; time, or step; for each target and level one of `names_of`
    Begins   in each series after the last step at which a target was measured
    """
    import polars

    ends = _ends(own, question, where)
    longer = _continued(own, ends, question, where)
    windows = question.windows(longer, scaling)
    starts = longer.begins[1:] - question.horizon
    parts = [starts[first : first + SHOWN] for first in range(0, len(starts), SHOWN)]
    values = np.concatenate([windows.in_units(answer(windows.batch(part)), part) for part in parts])
    rows = (starts[:, None] + np.arange(question.horizon)).flatten()
    columns: dict[str, Any] = {}
    if question.roles.group:
        columns[question.roles.group] = np.repeat(longer.names, question.horizon)
    columns[own.times.name] = own.clock.shown(longer.times[rows])
    for number, target in enumerate(question.roles.targets):
        levels = values[:, :, number].reshape(len(rows), -1).T
        columns[target] = levels[len(levels) // 2]  # first
        columns |= dict(zip(names_of(target, question), levels, strict=True))
    return polars.DataFrame(columns)


def _ends(own: Panel, question: Question, where: str) -> Int64[np.ndarray, " series"]:
    """The row after the last measured one of each series. Raises DataError where there are too few before it."""
    there = np.any(np.isfinite(own.measured[:, : len(question.roles.targets)]), axis=1)
    found = []
    for name, begin, end in zip(own.names, own.begins[:-1], own.begins[1:], strict=True):
        measured = begin + np.flatnonzero(there[begin:end])
        steps = int(measured[-1] - begin + 1) if len(measured) else 0
        if steps < question.context:
            of = f"{where}, series {name!r}" if name else where
            raise DataError(
                f"{of}: expected at least {question.context} steps to look back on, got {steps}; give a file that "
                "begins earlier, or train anew with a shorter --context"
            )
        found.append(begin + steps)
    return np.array(found)


def _continued(own: Panel, ends: Int64[np.ndarray, " series"], question: Question, where: str) -> Panel:
    """The panel up to these ends, and the steps to come, of which only the known columns are known."""
    import polars

    pieces: list[Panel] = []
    for name, begin, end, stop in zip(own.names, own.begins[:-1], ends, own.begins[1:], strict=True):
        come = min(question.horizon, int(stop - end))
        lacking = question.horizon - come
        known = own.known[begin : end + come]
        if question.roles.known and (lacking or np.isnan(known[end - begin :]).any()):
            whole = int((~np.isnan(known[end - begin :]).any(axis=1)).sum())
            of = f"{where}, series {name!r}" if name else where
            raise DataError(
                f"{of}: expected {', '.join(question.roles.known)} for the {question.horizon} steps after the last "
                f"measured one, got them for {whole}; add rows in which these columns are filled and the others empty"
            )
        times = own.clock.following(own.times[int(end) - 1], question.horizon)
        pieces.append(
            replace(
                own,
                times=polars.concat([own.times[int(begin) : int(end)], times.alias(own.times.name)]),
                measured=_longer(own.measured[begin:end], question.horizon),
                known=_longer(known, lacking),
            )
        )
    return replace(
        own,
        begins=np.cumsum([0, *(len(piece.times) for piece in pieces)]),
        times=polars.concat([piece.times for piece in pieces]),
        measured=np.concatenate([piece.measured for piece in pieces]),
        known=np.concatenate([piece.known for piece in pieces]),
    )


def _longer(values: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([values, np.full((steps, values.shape[1]), np.nan, dtype=np.float32)])
