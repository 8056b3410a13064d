"""Series of measurements: what comes within the next steps, with intervals."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor, tensor

from longreach.batch import Batch
from longreach.errors import ArgumentError, DataError
from longreach.plain import plain
from longreach.training.problem import Advice, Part, Problem, Shape, Sizes
from longreach.training.series.panel import Panel, Roles, panel
from longreach.training.series.seasonal import repeats, rules, scored, season_of
from longreach.training.series.split import PARTS, check_lengths, check_targets, cut
from longreach.training.series.windows import Scaling, Windows
from longreach.training.table import table

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SEASONS, CONTEXT = 7, 512  # seasons that a window looks back, and steps at most
VALIDATED = 1000  # windows, about: enough to tell when to stop. The test looks at every one
PIECES = {"day": 8, "week": 7, "year": 12}  # of a cycle, whose means tell whether the data show it
SHOWN = 256  # windows in a batch of held-out data

Starts = Int64[np.ndarray, " window"]


@dataclass(frozen=True)
class Question:
    """What a network is asked; with its scaling all that a forecast needs.

    horizon  steps ahead, all of them
    context  steps that it looks back
    cycles   of the calendar that it is shown
    """

    roles: Roles
    horizon: int
    context: int
    quantiles: tuple[float, ...]
    cycles: tuple[str, ...]

    def windows(self, own: Panel, scaling: Scaling) -> Windows:
        """Of a panel with these columns."""
        return Windows(
            own, scaling, self.cycles, targets=len(self.roles.targets), context=self.context, horizon=self.horizon
        )


class Series(Problem):
    """Quantiles of some columns over the next `horizon` steps.

    loss     ρ_q(x - answer_q), ρ_q(e) = max(q e, (q - 1) e), the mean over quantiles, targets and steps: the pinball
             loss (Koenker & Bassett 1978, Econometrica 46:33-50), in units of the window's own spread, see `Windows`
    scores   MAE and MSE of the median in units of the standard deviation of the training part, as in the literature;
             share of the truth within the outer quantiles
    Split    in time, each series by itself: training, validation, test. Scaling, season and calendar are those of the
             training part; windows of the other parts look back into the part before, as in the literature
    """

    kind: ClassVar[str] = "series"

    def __init__(self, own: Panel, question: Question, scaling: Scaling, cuts: Int64[np.ndarray, "series four"]):
        self.question, self.scaling, self.cuts = question, scaling, cuts
        self.windows = question.windows(own, scaling)
        there = ~np.isnan(self.windows.values[:, : len(question.roles.targets)])
        self._counted = np.concatenate([[0], there.any(axis=1).cumsum()])
        parts = [(begin, end) for begin, end in cuts[:, :2]]
        self.season = season_of(self.windows.values[begin:end, 0] for begin, end in parts)
        self._answers = float(sum(there[begin:end].sum() for begin, end in parts))
        self._starts = self._starting(0)
        self._source: dict[str, Any] = {}

    @classmethod
    def read(
        cls,
        file: str | Path,
        *,
        target: Sequence[str],
        horizon: int,
        past: Sequence[str] = (),
        known: Sequence[str] = (),
        static: Sequence[str] = (),
        time: str | None = None,
        group: str | None = None,
        split: str = "0.6,0.2",
        context: int | None = None,
        quantiles: Sequence[float] = QUANTILES,
    ) -> Self:
        """From a CSV or Parquet file.

        target ... group  names of columns, see `Roles`
        split    of training and validation: shares, or steps; a third number is the test, else what is left
        context  steps to look back; None: SEASONS seasons, CONTEXT at most
        Raises   ArgumentError for options that do not fit; DataError for a file that cannot be learned from
        """
        roles = Roles(tuple(target), tuple(past), tuple(known), tuple(static), time, group)
        check_options(roles, horizon, context, quantiles)
        own = panel(table(Path(file)), roles, str(file))
        cuts = own.begins[:-1, None] + np.stack([cut(length, split, str(file)) for length in own.lengths])
        cuts = np.concatenate([own.begins[:-1, None], cuts], axis=1)
        check_lengths(cuts, horizon, context, str(file))
        check_targets(own, roles, cuts, str(file))
        scaling = Scaling.fitted(own, cuts[:, 1])
        cycles = _cycles(own, len(target), cuts)
        context = context or _context(own, cuts, horizon)
        problem = cls(own, Question(roles, horizon, context, tuple(quantiles), cycles), scaling, cuts)
        problem._source = {"file": str(Path(file).absolute()), "rows": len(own), "split": split}
        problem._check_parts(str(file))
        return problem

    @property
    def shape(self) -> Shape:
        """A quantile of a target each."""
        return Shape(self.windows.inputs, len(self.question.roles.targets) * len(self.question.quantiles))

    @property
    def answers(self) -> float:
        """Measured values of the targets in the training part."""
        return self._answers

    @property
    def longest(self) -> int:
        """Context and horizon."""
        return self.question.context + self.question.horizon

    def advice(self) -> Advice:
        """Few updates of a small network: series are short, and drift (docs/results.md)."""
        return Advice(
            cell="lstm",
            batch=64,
            updates=1500,
            lr=3e-3,
            hidden=64,
            dropout=0.3,
            weight_decay=1e-2,
            patience=8,
            judge_every=50,
        )

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        """Windows of the training part, each drawn with the same chance."""

        def batch(number: int) -> Batch:
            drawn = np.random.default_rng((sizes.seed, number)).integers(len(self._starts), size=sizes.batch)
            return self.windows.batch(self._starts[drawn[sizes.rank :: sizes.world]])

        return batch

    def held_out(self, part: Part, sizes: Sizes) -> Iterator[Batch]:
        """Every window whose horizon lies in the part; of the validation about VALIDATED, evenly spread."""
        starts = self._starting(1 if part == "validation" else 2)
        if part == "validation":
            starts = starts[:: max(1, len(starts) // VALIDATED)]
        mine = starts[sizes.rank :: sizes.world]
        return (self.windows.batch(mine[first : first + SHOWN]) for first in range(0, len(mine), SHOWN))

    def loss(self, answer: Float[Tensor, "answer output"], y: Float[Tensor, "answer target two"]) -> Float[Tensor, ""]:
        """The pinball loss, over what was measured."""
        there = ~y[..., 0].isnan()
        wrong = y[..., 0].nan_to_num()[..., None] - self._quantiles(answer)
        levels = tensor(self.question.quantiles, dtype=answer.dtype, device=answer.device)
        each = (wrong * levels).maximum(wrong * (levels - 1)).mean(dim=-1)
        return (each * there).sum() / there.sum().clamp(min=1)

    def scores(
        self, answer: Float[Tensor, "answer output"], y: Float[Tensor, "answer target two"]
    ) -> dict[str, Tensor]:
        """MAE, MSE, coverage; over what was measured."""
        there = ~y[..., 0].isnan()
        true, spread = y[there].unbind(dim=-1)
        quantiles = self._quantiles(answer)[there].sort(dim=-1).values
        low, middle, high = quantiles[:, 0], quantiles[:, quantiles.shape[1] // 2], quantiles[:, -1]
        wrong = (true - middle) * spread
        return {"MAE": wrong.abs(), "MSE": wrong.square(), self._coverage: ((low <= true) & (true <= high)).to(wrong)}

    def naive(self, part: Part) -> dict[str, float]:
        """The better of `rules` in each score, and each of them."""
        starts, targets = self._starting(1 if part == "validation" else 2), len(self.question.roles.targets)
        values, filled = self.windows.values[:, :targets], self.windows.filled[:, :targets]
        by = {rule: scored(values, filled, starts, self.question.horizon, n) for rule, n in self._rules.items()}
        best = {name: min(found[name] for found in by.values()) for name in ("MAE", "MSE")}
        return best | {f"{name}, {rule}": found[name] for rule, found in by.items() for name in ("MAE", "MSE")}

    def remarks(self) -> list[str]:
        """Steps, parts, season, and what is missing."""
        own, question = self.windows.panel, self.question
        sizes = np.diff(self.cuts, axis=1).sum(axis=0)
        several = f" in {len(own.names)} series" if len(own.names) > 1 else ""
        told = [
            f"{len(own):,} steps{several}, one every {own.clock}: {sizes[0]:,} to learn from, then {sizes[1]:,} for "
            f"validation, {sizes[2]:,} for the test"
        ]
        season = f"the data repeat themselves every {self.season} steps" if self.season else "no season was found"
        told.append(f"{season}; the network looks back {question.context} steps and forecasts {question.horizon}")
        for number, name in enumerate(question.roles.measured):
            missing = int(np.isnan(own.measured[:, number]).sum())
            if missing:
                told.append(f"{name}: {missing:,} values are missing; the network is told so, and never asked for them")
        return told

    def recipe(self) -> dict[str, Any]:
        """The question, the scaling, and where the data are; a checksum of all that they hold."""
        own = self.windows.panel
        held = (own.begins, own.times.to_physical().to_numpy(), own.measured, own.known, own.static)
        found = {
            "every": str(own.clock),
            "question": plain(self.question),
            "scaling": plain(self.scaling),
            "checksum": zlib.crc32(b"".join(part.tobytes() for part in held), zlib.crc32(repr(own.names).encode())),
        }
        return {"kind": self.kind, **found, **self._source}

    def leave(self, folder: Path, answer: Callable[[Batch], Tensor]) -> list[str]:
        """forecast.csv: what comes after the end of the file."""
        from longreach.training.series.forecast import as_csv, forecast_of

        try:
            found = forecast_of(self.windows.panel, self.question, self.scaling, answer, "the data")
        except DataError as lacking:  # known columns of the steps to come, or a series that ends too soon
            return [f"no forecast yet: {lacking}"]
        as_csv(found, folder / "forecast.csv")
        return [f"forecast.csv: the {self.question.horizon} steps after the end of the data"]

    def _quantiles(self, answer: Float[Tensor, "answer output"]) -> Float[Tensor, "answer target quantile"]:
        return answer.unflatten(-1, (len(self.question.roles.targets), len(self.question.quantiles)))

    @property
    def _coverage(self) -> str:
        low, high = self.question.quantiles[0], self.question.quantiles[-1]
        return f"coverage {100 * (high - low):.3g} %"

    @property
    def _rules(self) -> dict[str, int]:
        return rules(self.season)

    def _starting(self, part: int) -> Starts:
        """First steps of all horizons that lie in a part, and have a context before them and something measured."""
        question, horizon = self.question, self.question.horizon
        back = max(question.context, self.season or 1) if part else question.context
        begins = np.maximum(self.cuts[:, part], self.cuts[:, 0] + back)
        ranges = [
            np.arange(begin, end - horizon + 1) for begin, end in zip(begins, self.cuts[:, part + 1], strict=True)
        ]
        starts = np.concatenate(ranges)
        return starts[self._counted[starts + horizon] > self._counted[starts]]

    def _check_parts(self, where: str) -> None:
        for number, part in enumerate(PARTS):
            if not len(self._starting(number)):
                raise DataError(
                    f"{where}: {part} part: expected {', '.join(self.question.roles.targets)} to be measured after "
                    f"{self.question.context} steps to look back on, got nothing there; give a shorter --context, or "
                    "another --split"
                )


def check_options(roles: Roles, horizon: int, context: int | None, quantiles: Sequence[float]) -> None:
    """Raises ArgumentError for what could fit no file."""
    if not roles.targets:
        raise ArgumentError("--target: expected the name of a column, got none")
    for name, value in (("--horizon", horizon), ("--context", context)):
        if value is not None and value < 1:
            raise ArgumentError(f"{name}: expected a whole number of steps above 0, got {value}")
    ordered = all(low < high for low, high in pairwise(quantiles))
    if len(quantiles) % 2 == 0 or not ordered or not 0 < quantiles[0] <= quantiles[-1] < 1:
        raise ArgumentError(
            f"--quantiles: expected an odd number of levels between 0 and 1 that rise, the middle one for the forecast "
            f"itself, got {', '.join(map(str, quantiles))}; {','.join(map(str, QUANTILES))} is usual"
        )
    if quantiles[len(quantiles) // 2] != 0.5:
        raise ArgumentError(f"--quantiles: expected 0.5 in the middle, got {quantiles[len(quantiles) // 2]}")


def _cycles(own: Panel, targets: int, cuts: Int64[np.ndarray, "series four"]) -> tuple[str, ...]:
    """Those of the calendar that a target shows; what is no help is learned by heart (docs/results.md)."""
    parts = [own.measured[begin:end, target] for begin, end in cuts[:, :2] for target in range(targets)]
    named = own.clock.cycles(max(map(len, parts)))
    return tuple(name for name in named if repeats(parts, own.clock.season(name), PIECES[name]))


def _context(own: Panel, cuts: Int64[np.ndarray, "series four"], horizon: int) -> int:
    """SEASONS seasons, or without one four horizons; at most CONTEXT, and half of the training part."""
    season = season_of(own.measured[begin:end, 0] for begin, end in cuts[:, :2])
    longest = int((cuts[:, 1] - cuts[:, 0]).max())
    room = (longest - horizon) // 2
    return max(1, min(SEASONS * season if season else 4 * horizon, CONTEXT, room))
