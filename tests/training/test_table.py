"""Tables: columns as numbers, times as steps, several series side by side; and what is said of bad ones."""

from datetime import date, datetime, timedelta

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import DataError
from longreach.training.series.clock import Clock, calendar
from longreach.training.series.panel import Roles, panel
from longreach.training.table import numbers, table

NAN = float("nan")


def written(tmp_path, text):
    file = tmp_path / "load.csv"
    file.write_text(text, encoding="utf-8")
    return file


def read(tmp_path, text, **roles):
    roles = {name: tuple(part) if isinstance(part, list) else part for name, part in roles.items()}
    return panel(table(written(tmp_path, text)), Roles(**({"targets": ("x",)} | roles)), "load.csv")


def hourly(values, start="2016-07-01 00:00"):
    first = datetime.fromisoformat(start)
    return "".join(f"{first + timedelta(hours=number)},{value}\n" for number, value in enumerate(values))


def test_csv_and_parquet_are_the_same_table(tmp_path):
    file = written(tmp_path, "time,x,y\n" + "2016-07-01 00:00,1.5,\n2016-07-01 01:00,NA,3\n")
    one = table(file)
    one.write_parquet(tmp_path / "load.parquet")
    for found in (one, table(tmp_path / "load.parquet")):
        np.testing.assert_array_equal(numbers(found, ["x", "y"], "load"), [[1.5, NAN], [NAN, 3]])


def test_times_that_are_left_out_are_missing_values(tmp_path):
    found = read(tmp_path, "when,x\n2016-07-01 00:00,1\n2016-07-01 01:00,2\n2016-07-01 04:00,5\n2016-07-01 05:00,6\n")
    assert found.clock == Clock("us", 3_600_000_000)
    np.testing.assert_array_equal(found.measured[:, 0], [1, 2, NAN, NAN, 5, 6])
    assert found.times.to_list() == [datetime(2016, 7, 1, hour) for hour in range(6)]
    assert found.times.name == "when"


@pytest.mark.parametrize(
    ("first", "count", "interval", "told"),
    [
        (date(2020, 1, 1), 20, "1mo", "month"),
        (date(2020, 1, 1), 9, "3mo", "3 months"),
        (date(2000, 1, 1), 9, "1y", "12 months"),
        (date(2020, 1, 6), 9, "1w", "7 days"),
        (date(2020, 1, 6), 9, "1d", "day"),
    ],
)
def test_intervals_of_the_calendar_are_told_from_fixed_ones(first, count, interval, told):
    times = polars.date_range(first, first.replace(year=first.year + 30), interval, eager=True)[:count].alias("day")
    frame = polars.DataFrame({"day": times, "x": range(count)})
    found = panel(frame[[0, 1, 2, 3, 4, *range(6, count)]], Roles(("x",)), "load.csv")  # one left out
    assert str(found.clock) == told
    assert found.times.cast(polars.Date).to_list() == times.to_list()
    np.testing.assert_array_equal(found.measured[:, 0], [*range(5), NAN, *range(6, count)])


def test_ends_of_months_go_on_at_ends_of_months():
    ends = [date(2020, 2, 29), date(2020, 3, 31), date(2020, 4, 30), date(2020, 5, 31)]
    found = panel(polars.DataFrame({"day": ends, "x": [1, 2, 3, 4]}), Roles(("x",)), "load.csv")
    following = found.clock.following(found.times[-1], 9).cast(polars.Date).to_list()
    assert following[:2] == [date(2020, 6, 30), date(2020, 7, 31)]
    assert following[-1] == date(2021, 2, 28)


@given(
    st.sampled_from([Clock("us", 900_000_000), Clock("us", 86_400_000_000), Clock("month", 1), Clock("month", 3)]),
    st.lists(st.integers(1, 400), min_size=1, max_size=20, unique=True),
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
)
def test_steps_undo_times(clock, steps, first):
    steps = np.array([0, *sorted(steps)])
    times = clock.after(first, steps * clock.every)
    np.testing.assert_array_equal(clock.steps(times), steps)


def test_calendar_is_where_the_cycle_stands():
    times = polars.Series([datetime(2016, 7, 4), datetime(2016, 7, 4, 6), datetime(2016, 7, 7, 12)])  # a Monday
    found = calendar(times, ("day", "week"))
    np.testing.assert_allclose(found[0], [0, 1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(found[1, :2], [1, 0], atol=1e-6)
    np.testing.assert_allclose(found[2], [0, -1, 0, -1], atol=1e-6)  # noon, and the middle of the week


def test_only_cycles_that_came_round_twice_are_shown():
    hour, day = Clock("us", 3_600_000_000), Clock("us", 86_400_000_000)
    assert hour.cycles(24 * 10) == ("day",)
    assert hour.cycles(24 * 14) == ("day", "week")
    assert hour.cycles(24 * 731) == ("day", "week", "year")
    assert day.cycles(731) == ("week", "year")
    assert Clock("month", 1).cycles(24) == ("year",)
    assert Clock("step", 1).cycles(10_000) == ()


def test_series_of_a_group_are_told_apart_and_keep_their_own_times(tmp_path):
    text = "city,time,x,size\nb,2020-01-01,1,7\na,2020-01-02,10,9\n"
    text += "b,2020-01-02,2,7\na,2020-01-04,12,9\na,2020-01-05,13,9\n"
    found = read(tmp_path, text, group="city", static=["size"])
    assert found.names == ("b", "a")
    assert found.begins.tolist() == [0, 2, 6]
    np.testing.assert_array_equal(found.measured[:, 0], [1, 2, 10, NAN, 12, 13])
    assert found.times.dt.day().to_list() == [1, 2, 2, 3, 4, 5]
    np.testing.assert_array_equal(found.static, [[7], [9]])


def test_rows_are_counted_where_there_are_no_times(tmp_path):
    assert read(tmp_path, "x,y\n1,2\n3,4\n").times.to_list() == [0, 1]
    assert read(tmp_path, "g,x\na,1\nb,5\na,2\n", group="g").times.to_list() == [0, 1, 0]
    assert read(tmp_path, "t,x\n10,1\n20,2\n40,3\n", time="t").times.to_list() == [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("text", "roles", "said"),
    [
        ("", {}, "expected a table, got an empty file"),
        ("time,x\n", {}, "expected a line of names and lines of entries, got one line: time, x"),
        ("time,\x1b[31mx\n", {}, r"entries, got one line: time, \\x1b\[31mx"),
        ("x\n1\ntwo\n", {}, r"column 'x', row 2: expected a number, got 'two'"),
        ("x\n1\ninf\n", {}, r"column 'x', row 2: expected a finite number, got inf"),
        ("y,z\n1,2\n", {}, r"--target: expected columns of y, z; got 'x'"),
        ("x,y\n1,2\n", {"known": ["w"]}, r"--known: expected columns of x, y; got 'w'"),
        ("x,y\n1,2\n", {"targets": ["x", "x"]}, r"--target: expected each column once, got 'x' twice"),
        ("x,y\n1,2\n", {"known": ["x"]}, r"expected one role for column 'x', got --target and --known"),
        ("x,y\n1,2\n", {"static": ["y"]}, r"--static: expected together with --group"),
        ("x,y\n1,2\n", {"time": "t"}, r"--time: expected columns of x, y; got 't'"),
        (
            "time,x\n" + hourly([1, 2]) + hourly([3]),
            {},
            r"forward, got 2016-07-01 00:00:00 in row 3 after .*01:00:00 in row 2",
        ),
        ("time,x\n" + 2 * hourly([1]), {}, r"expected each time once, got 2016-07-01 00:00:00 twice, in rows 1 and 2"),
        (
            "time,x\n" + hourly([1, 2, 3]) + "2016-07-01 02:30,4\n",
            {},
            r"every hour, .*got 2016-07-01 02:30:00 after .*02:00:00, in row 4",
        ),
        ("time,x\n" + hourly([1, 2]) + ",3\n", {}, r"column 'time', row 3: expected a time, got none"),
        ("time,x\n" + hourly([1, 2]) + "soon,3\n", {}, r"column 'time', row 3: expected a time as .*, got 'soon'"),
        (
            "a,b,x\n2020-01-01,2020-01-02,1\n",
            {},
            r"expected one column of times, got a, b; name the right one with --time",
        ),
        ("x,w\n1,2\n", {"time": "w", "targets": ["w"]}, r"expected one role for column 'w'"),
        ("g,x\na,1\n,2\n", {"group": "g"}, r"column 'g', row 2: expected the name of a series, got none"),
        (
            "g,x,s\na,1,1\na,2,3\n",
            {"group": "g", "static": ["s"]},
            r"column 's', row 2: expected 1 in all rows of series 'a', got 3",
        ),
    ],
)
def test_what_is_said_of_bad_tables(tmp_path, text, roles, said):
    with pytest.raises(DataError, match=said):
        read(tmp_path, text, **roles)


def test_what_is_said_of_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: expected a CSV or Parquet file, found none of that name"):
        table(tmp_path / "nothing.csv")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="expected a CSV or Parquet table, got one that cannot be read"):
        table(tmp_path / "x.parquet")
