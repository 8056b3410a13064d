"""When the steps of a series are: equal intervals, in time or just counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from longreach.errors import DataError

Times = Any  # a column of polars

MONTHS = {  # days from the shortest to the longest, of intervals that are no fixed number of days
    1: (28, 31),
    3: (89, 92),
    6: (181, 184),
    12: (365, 366),
}
MICROSECONDS = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000}
CYCLES = {"day": 1.0, "week": 7.0, "year": 365.2425}  # days


@dataclass(frozen=True)
class Clock:
    """Equal intervals between the steps of a series.

    unit    "us": microseconds; "month": calendar months; "step": no times, only an order
    every   so many units from one step to the next
    is_end  months end at these times (31 January, 28 February, …)
    """

    unit: str
    every: int
    is_end: bool = False

    @property
    def days(self) -> float:
        """From one step to the next; nan without times."""
        return {"us": self.every / MICROSECONDS["day"], "month": self.every * 30.4369, "step": np.nan}[self.unit]

    def __str__(self) -> str:
        if self.unit == "step":
            return "step"
        if self.unit == "month":
            return "month" if self.every == 1 else f"{self.every} months"
        name, size = next((one for one in MICROSECONDS.items() if self.every % one[1] == 0), ("microsecond", 1))
        return name if self.every == size else f"{self.every // size} {name}s"

    def steps(self, times: Times) -> Int64[np.ndarray, " row"]:
        """Steps from the first time to each; -1 for a time between two steps."""
        import polars

        if self.unit == "month":
            months = times.dt.year().cast(polars.Int64) * 12 + times.dt.month().cast(polars.Int64)
            count = (months - months[0]).to_numpy()
            fits = (times == self.after(times[0], count)).to_numpy() & (count % self.every == 0)
            return np.where(fits, count // self.every, -1)
        distance = times - times[0]
        if self.unit == "us":
            distance = distance.dt.total_microseconds()
        count = distance.to_numpy().astype(np.int64)
        return np.where(count % self.every == 0, count // self.every, -1)

    def after(self, time: Any, units: Int64[np.ndarray, " step"]) -> Times:
        """The times so many units after this one."""
        import polars

        count = polars.Series(units)
        if self.unit == "step":
            return count + time
        if self.unit == "us":
            return polars.select(polars.lit(time) + count.cast(polars.Duration("us"))).to_series()
        shifted = polars.lit(time).dt.offset_by(polars.format("{}mo", count))
        return polars.select(shifted.dt.month_end() if self.is_end else shifted).to_series()

    def following(self, time: Any, count: int) -> Times:
        """The `count` times after this one."""
        return self.after(time, np.arange(1, count + 1) * self.every)

    def shown(self, times: Times) -> Times:
        """As people write them: dates, where every step is at midnight."""
        import polars

        whole = self.unit == "month" or (self.unit == "us" and self.every % MICROSECONDS["day"] == 0)
        return times.cast(polars.Date) if whole and (times.dt.truncate("1d") == times).all() else times

    def cycles(self, span: int) -> tuple[str, ...]:
        """Of CYCLES, those that a series of `span` steps goes round twice at least, and more than once in two steps."""
        if self.unit == "step":
            return ()
        return tuple(name for name, days in CYCLES.items() if 2 * self.days < days and 2 * days <= span * self.days)

    def season(self, name: str) -> int:
        """Steps of a cycle."""
        return round(CYCLES[name] / self.days)


def clock_of(times: Times, series: list[Int64[np.ndarray, " row"]], where: str) -> Clock:
    """The clock of one or more series: the commonest interval between neighbours.

    times   of all rows of a table; series: the rows of each
    Raises  DataError with the first time that is missing, comes twice, goes back, or lies between two steps
    """
    if times.null_count():
        row = int(times.is_null().arg_max() or 0)
        raise DataError(f"{where}: column {times.name!r}, row {row + 1}: expected a time, got none")
    for rows in series:
        _check_order(times, rows, where)
    clock = _commonest([times[rows] for rows in series])
    for rows in series:
        between = clock.steps(times[rows]) < 0
        if between.any():
            row = int(between.argmax())
            raise DataError(
                f"{where}: expected a time every {clock}, as most are, got {times[int(rows[row])]} after "
                f"{times[int(rows[row - 1])]}, in row {rows[row] + 1}; bring the table to equal steps first. Times may "
                "be left out: they count as missing"
            )
    return clock


def _check_order(times: Times, rows: Int64[np.ndarray, " row"], where: str) -> None:
    forward = np.diff(times[rows].to_physical().to_numpy())
    if (forward > 0).all():
        return
    place = int((forward <= 0).argmax())
    before, now = (int(rows[place + one]) for one in (0, 1))
    hint = "if the file holds several series, name the column that tells them apart with --group"
    if forward[place] == 0:
        raise DataError(
            f"{where}: expected each time once, got {times[now]} twice, in rows {before + 1} and {now + 1}; {hint}"
        )
    raise DataError(
        f"{where}: expected times that go forward, got {times[now]} in row {now + 1} after {times[before]} in row "
        f"{before + 1}; sort the file by time; {hint}"
    )


def _commonest(series: list[Times]) -> Clock:
    gaps = [np.diff(times.to_physical().to_numpy()) for times in series]
    every = _mode(gaps)
    if not series[0].dtype.is_temporal():
        return Clock("step", every)
    days = np.concatenate(gaps) / MICROSECONDS["day"]
    for months, (shortest, longest) in MONTHS.items():
        inside = (days > shortest - 0.1) & (days < longest + 0.1)
        if inside.sum() > 0.5 * len(days) and len(np.unique(days[inside].round())) > 1:
            ends = all((times.dt.date() == times.dt.date().dt.month_end()).all() for times in series)
            return Clock("month", months, is_end=ends)
    return Clock("us", every)


def _mode(gaps: list[np.ndarray]) -> int:
    values, counts = np.unique(np.concatenate([*gaps, np.zeros(0, dtype=np.int64)]), return_counts=True)
    return int(values[counts.argmax()]) if len(values) else 1


def calendar(times: Times, cycles: tuple[str, ...]) -> Float32[np.ndarray, "step feature"]:
    """Where in each cycle a time lies: sine and cosine of 2π times the share of it that has passed.

    day    from midnight; week: from Monday; year: from 1 January
    """
    if not cycles:  # of steps that are only counted, too: they have no hours to ask for
        return np.zeros((len(times), 0), dtype=np.float32)
    seconds = (times.dt.hour().cast(int) * 3600 + times.dt.minute().cast(int) * 60 + times.dt.second()).to_numpy()
    day = seconds / 86_400
    passed = {
        "day": day,
        "week": times.dt.weekday().to_numpy() - 1 + day,
        "year": times.dt.ordinal_day().to_numpy() - 1 + day,
    }
    angles = [2 * np.pi * passed[name] / CYCLES[name] for name in cycles]
    features = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(features, axis=1).astype(np.float32)
