"""One or more series of measurements, each at equal steps of time, read from a table."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from longreach.errors import DataError
from longreach.training.series.clock import Clock, calendar, clock_of
from longreach.training.table import Table, check_columns, numbers

Rows = Int64[np.ndarray, " row"]


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are.

    targets  to be forecast
    past     shown as far as they have been measured
    known    known ahead: prices, plans, holidays
    static   one number for a whole series
    time     of each row; None: found, or counted
    group    tells several series apart
    """

    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    time: str | None = None
    group: str | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns that are known only up to now."""
        return self.targets + self.past

    def check(self, table: Table, where: str) -> None:
        """Raises DataError for columns that are not there, or that play two roles."""
        named = {
            "--target": self.targets,
            "--past": self.past,
            "--known": self.known,
            "--static": self.static,
            "--time": (self.time,) if self.time else (),
            "--group": (self.group,) if self.group else (),
        }
        role_of: dict[str, str] = {}
        for option, names in named.items():
            check_columns(table, names, option, where)
            for name in names:
                if name in role_of:
                    raise DataError(f"{where}: expected one role for column {name!r}, got {role_of[name]} and {option}")
                role_of[name] = option
        if self.static and not self.group:
            raise DataError(
                f"{where}: --static: expected together with --group, as it tells one series from another; got one "
                "series"
            )


@dataclass(frozen=True)
class Panel:
    """Series one after the other, without gaps: what was not measured is NaN.

    names     of the series; the only one of a table without groups is called ""
    begins    row at which each begins, and at the end the number of rows
    times     of all rows
    measured  targets, then past columns
    """

    clock: Clock
    names: tuple[str, ...]
    begins: Int64[np.ndarray, " series_and_end"]
    times: Any
    measured: Float32[np.ndarray, "row measured"]
    known: Float32[np.ndarray, "row known"]
    static: Float32[np.ndarray, "series static"]

    def __len__(self) -> int:
        return int(self.begins[-1])

    @property
    def lengths(self) -> Int64[np.ndarray, " series"]:
        """Steps of each series."""
        return np.diff(self.begins)

    def calendar(self, cycles: tuple[str, ...]) -> Float32[np.ndarray, "row feature"]:
        """Where in these cycles each row lies."""
        return calendar(self.times, cycles)


def panel(table: Table, roles: Roles, where: str) -> Panel:
    """Read the series of a table. Steps that it leaves out become rows of NaN.

    Raises  DataError for columns that are not there or hold texts, for times that are missing, double, unsorted or at
            unequal distances, and for static columns that change within a series
    """
    import polars

    roles.check(table, where)
    names, series = _series(table, roles.group, where)
    times = _times(table, roles, where)
    measured, known = (numbers(table, columns, where) for columns in (roles.measured, roles.known))
    clock = clock_of(times, series, where)
    places = [clock.steps(times[rows]) for rows in series]
    begins = np.cumsum([0, *(place[-1] + 1 for place in places)])
    spread = np.concatenate([place + begin for place, begin in zip(places, begins[:-1], strict=True)])
    order = np.concatenate(series)
    return Panel(
        clock,
        names,
        begins,
        polars.concat(
            [
                clock.after(times[int(rows[0])], np.arange(length) * clock.every).alias(times.name)
                for rows, length in zip(series, np.diff(begins), strict=True)
            ]
        ),
        _spread(measured[order], spread, begins[-1]),
        _spread(known[order], spread, begins[-1]),
        _static(table, roles.static, series, names, where),
    )


def _spread(values: Float32[np.ndarray, "row column"], places: Rows, length: int) -> Float32[np.ndarray, "step column"]:
    found = np.full((length, values.shape[1]), np.nan, dtype=np.float32)
    found[places] = values
    return found


def _series(table: Table, group: str | None, where: str) -> tuple[tuple[str, ...], list[Rows]]:
    """Names of the series, and the rows of each in the order of the file."""
    if group is None:
        return ("",), [np.arange(len(table))]
    column = table[group]
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise DataError(f"{where}: column {group!r}, row {row + 1}: expected the name of a series, got none")
    found: dict[str, list[int]] = {}
    for row, name in enumerate(column.to_list()):
        found.setdefault(str(name), []).append(row)
    return tuple(found), [np.array(rows) for rows in found.values()]


def _times(table: Table, roles: Roles, where: str) -> Any:
    """The column of times, as times or whole numbers; rows are counted where there is none."""
    import polars

    if roles.time is not None:
        return _as_times(table[roles.time], where)
    used = (*roles.measured, *roles.known, *roles.static, roles.group)
    candidates = [column for column in table.get_columns() if column.name not in used and _looks_like_times(column)]
    if len(candidates) > 1:
        raise DataError(
            f"{where}: expected one column of times, got {', '.join(one.name for one in candidates)}; name the right "
            "one with --time"
        )
    if candidates:
        return _as_times(candidates[0], where)
    if roles.group is None:
        return polars.Series("row", np.arange(len(table)))
    count = polars.int_range(polars.len()).over(roles.group)
    return table.select(count.alias("row")).to_series()


def _looks_like_times(column: Any) -> bool:
    import polars
    from polars.exceptions import PolarsError

    if column.dtype in (polars.Date, polars.Datetime):
        return True
    if column.dtype != polars.String:
        return False
    try:
        return not column.drop_nulls().head(100).str.to_datetime(strict=False).head(1).has_nulls()
    except PolarsError:
        return False


def _as_times(column: Any, where: str) -> Any:
    import polars
    from polars.exceptions import PolarsError

    if column.dtype in (polars.Date, polars.Datetime):
        return column.cast(polars.Datetime("us", getattr(column.dtype, "time_zone", None)))
    if column.dtype.is_integer():
        return column.cast(polars.Int64)
    found = polars.Series(column.name, [None] * len(column), dtype=polars.Datetime("us"))
    if column.dtype == polars.String:
        with suppress(PolarsError):  # raised where no entry looks like a time
            found = column.str.to_datetime(strict=False, time_unit="us")
    wrong = found.is_null() & column.is_not_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise DataError(
            f"{where}: column {column.name!r}, row {row + 1}: expected a time as 2016-07-31 14:00, or a whole number, "
            f"got {column[row]!r}"
        )
    return found


def _static(
    table: Table, columns: tuple[str, ...], series: list[Rows], names: tuple[str, ...], where: str
) -> Float32[np.ndarray, "series static"]:
    values = numbers(table, columns, where)
    found = np.stack([values[rows[0]] for rows in series])
    for name, rows, first in zip(names, series, found, strict=True):
        changes = ~((values[rows] == first) | (np.isnan(values[rows]) & np.isnan(first)))
        if changes.any():
            row, column = np.argwhere(changes)[0]
            raise DataError(
                f"{where}: column {columns[column]!r}, row {rows[row] + 1}: expected {first[column]:g} in all rows of "
                f"series {name!r}, got {values[rows[row], column]:g}; a column that changes goes with --known or --past"
            )
    return found
