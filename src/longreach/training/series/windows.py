"""Windows of a series as a network sees them: what was measured, then the steps that are asked for."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from longreach.batch import Batch
from longreach.training.series.panel import Panel

FLOOR = 0.05  # of the spread of the training part: a window that hardly moves is not blown up to more than 20 times


@dataclass(frozen=True)
class Scaling:
    """Mean and spread on the training part: of measured columns for each series, of the others over all of them."""

    measured: dict[str, list[list[float]]]
    known: list[list[float]]
    static: list[list[float]]

    @classmethod
    def fitted(cls, panel: Panel, ends: Int64[np.ndarray, " series"]) -> Self:
        """On the rows of each series before its end."""
        parts = list(zip(panel.begins[:-1], ends, strict=True))
        known = np.concatenate([panel.known[begin:end] for begin, end in parts])
        return cls(
            {name: _spread(panel.measured[b:e]) for name, (b, e) in zip(panel.names, parts, strict=True)},
            _spread(known),
            _spread(panel.static),
        )

    def of(self, panel: Panel) -> Float32[np.ndarray, "series two measured"]:
        """Mean and spread of the measured columns of each series; of one never seen before, its own."""
        return np.array(
            [
                self.measured.get(name) or _spread(panel.measured[begin:end])
                for name, begin, end in zip(panel.names, panel.begins[:-1], panel.begins[1:], strict=True)
            ],
            dtype=np.float32,
        )


def _spread(values: Float32[np.ndarray, "row column"]) -> list[list[float]]:
    """Mean and standard deviation of each column; 0 and 1 where there is nothing to tell them from."""
    found = []
    for column in values.T.astype(np.float64):
        there = column[~np.isnan(column)]
        spread = float(there.std()) if len(there) else 0.0
        found.append((float(there.mean()) if len(there) else 0.0, spread if spread > 1e-12 else 1.0))
    return [[mean for mean, _ in found], [spread for _, spread in found]]


class Windows:
    """Any window of a panel, as a batch of a network.

    Steps    `context` steps that were measured, then `horizon` steps, each asked for the targets at its own time
    Inputs   of a step: what was measured, less the window's last value, over its spread; what of it is missing (1), and
             so is all of it after the context; known columns, and what of them is missing; calendar; static columns;
             how far into the horizon the step lies. Missing values are the last ones measured
    Answers  in the window's own units, [step, target, 2]: (x - last) / spread, NaN where nothing was measured; spread
    Memory   a few numbers for each row of the panel; windows are made when they are asked for
    """

    def __init__(
        self, panel: Panel, scaling: Scaling, cycles: tuple[str, ...], *, targets: int, context: int, horizon: int
    ):
        self.panel, self.context, self.horizon, self.targets = panel, context, horizon, targets
        self.series = np.repeat(np.arange(len(panel.names)), panel.lengths)
        self.units = scaling.of(panel)  # [series, mean and spread, column]
        self.values = (panel.measured - self.units[self.series, 0]) / self.units[self.series, 1]
        self.filled = np.nan_to_num(carried_forward(self.values, panel.begins))
        mean, spread = np.array(scaling.known, dtype=np.float32)
        known = carried_forward((panel.known - mean) / spread, panel.begins)
        self.ahead = np.concatenate([np.nan_to_num(known), np.isnan(panel.known), panel.calendar(cycles)], axis=1)
        self.ahead = self.ahead.astype(np.float32)
        mean, spread = np.array(scaling.static, dtype=np.float32)
        self.static = np.nan_to_num((panel.static - mean) / spread)

    @property
    def inputs(self) -> int:
        """Numbers a step."""
        return 2 * self.values.shape[1] + self.ahead.shape[1] + self.static.shape[1] + 1

    def level(
        self, starts: Int64[np.ndarray, " window"]
    ) -> tuple[Float32[np.ndarray, "window measured"], Float32[np.ndarray, "window measured"]]:
        """The last value and the spread, √(variance + FLOOR²), of what each window has seen."""
        seen = self.values[starts[:, None] + np.arange(-self.context, 0)]
        there = ~np.isnan(seen)
        count = np.maximum(there.sum(axis=1), 1)
        centred = np.where(there, seen - self.filled[starts - 1][:, None], 0)
        mean = centred.sum(axis=1) / count
        variance = (centred**2).sum(axis=1) / count - mean**2
        return self.filled[starts - 1], np.sqrt(np.maximum(variance, 0) + FLOOR**2).astype(np.float32)

    def batch(self, starts: Int64[np.ndarray, " window"]) -> Batch:
        """The windows whose horizons begin at these rows."""
        level, spread = self.level(starts)
        rows = starts[:, None] + np.arange(-self.context, self.horizon)
        x = np.zeros((*rows.shape, self.inputs), dtype=np.float32)
        measured, seen = self.values.shape[1], rows[:, : self.context]
        x[:, : self.context, :measured] = (self.filled[seen] - level[:, None]) / spread[:, None]
        x[:, :, measured : 2 * measured] = 1
        x[:, : self.context, measured : 2 * measured] = np.isnan(self.values[seen])
        end = 2 * measured + self.ahead.shape[1]
        x[:, :, 2 * measured : end] = self.ahead[rows]
        x[:, :, end:-1] = self.static[self.series[starts]][:, None]
        x[:, self.context :, -1] = np.arange(1, self.horizon + 1) / self.horizon
        asked = torch.zeros(rows.shape, dtype=torch.bool)
        asked[:, self.context :] = True
        true = self.values[rows[:, self.context :], : self.targets]
        own, size = level[:, None, : self.targets], spread[:, None, : self.targets]
        y = np.stack([(true - own) / size, np.broadcast_to(size, true.shape)], axis=-1)
        return Batch(torch.from_numpy(x), torch.from_numpy(y).flatten(0, 1), asked)

    def in_units(
        self, answer: Float[Tensor, "answer output"], starts: Int64[np.ndarray, " window"]
    ) -> Float[np.ndarray, "window step target quantile"]:
        """Answers to these windows in the units of the table; quantiles in order."""
        level, spread = (part[:, None, : self.targets, None] for part in self.level(starts))
        found = answer.double().numpy().reshape(len(starts), self.horizon, self.targets, -1)
        mean, scale = self.units[self.series[starts]][:, :, : self.targets].swapaxes(0, 1)
        scaled = np.sort(found, axis=-1) * spread + level
        return scaled * scale[:, None, :, None] + mean[:, None, :, None]


def carried_forward(
    values: Float32[np.ndarray, "row column"], begins: Int64[np.ndarray, " series_and_end"]
) -> Float32[np.ndarray, "row column"]:
    """Each missing value becomes the last one of its series that is not; NaN before the first."""
    first = np.repeat(begins[:-1], np.diff(begins))[:, None]
    rows = np.where(np.isnan(values), first, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
