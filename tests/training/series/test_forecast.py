"""Forecasts: what the network answers, at the right times and in the units of the table; and the chart of it."""

from datetime import date, datetime, timedelta

import numpy as np
import polars
import pytest
import torch

from longreach.errors import ArgumentError, DataError, RunReadError
from longreach.report.forecasted import draw
from longreach.report.screen import Screen
from longreach.training.memory import prescribe
from longreach.training.network import Network
from longreach.training.plan import Settings
from longreach.training.run import MODEL, write_plan
from longreach.training.series.forecast import as_csv, charts, forecast
from longreach.training.series.problem import Series


def random_walk(count, seed=0):
    return 20 + np.random.default_rng(seed).normal(size=count).cumsum()


def hourly(count):
    return [datetime(2020, 1, 1) + timedelta(hours=number) for number in range(count)]


def trained(tmp_path, problem, kind="series", change=lambda network: None):
    """A run folder with a network that is as it starts, or as `change` leaves it."""
    from safetensors.torch import save

    folder = tmp_path / "run"
    folder.mkdir()
    plan = prescribe(problem, Settings(cell="gru", hidden=8, deep=False))
    write_plan(folder, kind, {}, problem.recipe(), plan)
    network = Network(plan.architecture)
    change(network)
    (folder / MODEL).write_bytes(save({name: one.contiguous() for name, one in network.state_dict().items()}))
    return folder, network.eval()


def answers_nothing(network):
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)


def answers_levels(network):
    torch.nn.init.zeros_(network.head.weight)
    network.head.bias.data = torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0])  # crossed: the lowest level answers highest


@pytest.fixture
def walk(tmp_path):
    """Hours, the last two without a value; split so that 100 are learned from."""
    x = random_walk(200)
    frame = polars.DataFrame({"hour": hourly(202), "x": [*x, None, None]})
    frame.write_csv(tmp_path / "walk.csv")
    return Series.read(tmp_path / "walk.csv", target=["x"], horizon=5, context=12, split="100,50,52"), x


def test_an_answer_of_nothing_is_the_last_value_that_was_measured(tmp_path, walk):
    problem, x = walk
    folder, _ = trained(tmp_path, problem, change=answers_nothing)
    found = forecast(folder).expected
    assert found.columns == ["hour", "x", "x 0.1", "x 0.25", "x 0.75", "x 0.9"]
    assert found["hour"].to_list() == [datetime(2020, 1, 1) + timedelta(hours=200 + step) for step in range(5)]
    for column in found.columns[1:]:
        np.testing.assert_allclose(found[column], x[-1], rtol=1e-5)


def test_answers_are_in_units_of_the_windows_spread_and_levels_do_not_cross(tmp_path, walk):
    problem, x = walk
    folder, _ = trained(tmp_path, problem, change=answers_levels)
    found = forecast(folder).expected
    spread = np.sqrt(x[-12:].var() + (0.05 * x[:100].std()) ** 2)
    for column, level in (("x 0.1", -1), ("x 0.25", -0.5), ("x", 0), ("x 0.75", 0.5), ("x 0.9", 1)):
        np.testing.assert_allclose(found[column], x[-1] + level * spread, rtol=1e-4)


def test_a_forecast_is_what_the_network_answered_in_the_test(tmp_path, walk):
    problem, x = walk
    folder, network = trained(tmp_path, problem)
    start = 180
    with torch.no_grad():
        batch = problem.windows.batch(np.array([start]))
        answer = network(batch.x, batch.asked)[0]
    polars.DataFrame({"hour": hourly(start), "x": x[:start]}).write_csv(tmp_path / "earlier.csv")
    found = forecast(folder, tmp_path / "earlier.csv").expected
    expected = problem.windows.in_units(answer, np.array([start]))[0, :, 0]
    np.testing.assert_allclose(found.select("x 0.1", "x 0.25", "x", "x 0.75", "x 0.9"), expected, rtol=1e-5)
    again = problem.leave(tmp_path, lambda batch: network(batch.x, batch.asked)[0].detach())
    assert again == ["forecast.csv: the 5 steps after the end of the data"]
    left = polars.read_csv(tmp_path / "forecast.csv", try_parse_dates=True)
    np.testing.assert_allclose(left["x"], forecast(folder).expected["x"], rtol=1e-5)


def test_each_series_goes_on_from_its_own_end_with_what_is_known_ahead(tmp_path):
    a, b = random_walk(80), 1000 + 30 * random_walk(90, 1)
    frame = polars.DataFrame(
        {
            "day": [date(2020, 1, 1) + timedelta(days=number) for number in (*range(84), *range(94))],
            "city": 84 * ["a"] + 94 * ["b"],
            "x": [*a, *(4 * [None]), *b, *(4 * [None])],
            "plan": np.arange(178) % 7,
        }
    )
    frame.write_csv(tmp_path / "cities.csv")
    options = {"target": ["x"], "known": ["plan"], "group": "city", "horizon": 3, "context": 10}
    problem = Series.read(tmp_path / "cities.csv", **options)
    folder, network = trained(tmp_path, problem)
    found = forecast(folder).expected
    assert found["city"].to_list() == ["a", "a", "a", "b", "b", "b"]
    assert found["day"].dt.date().to_list()[2:4] == [date(2020, 3, 23), date(2020, 3, 31)]
    batch = problem.windows.batch(np.array([80, 84 + 90]))
    with torch.no_grad():
        expected = problem.windows.in_units(network(batch.x, batch.asked)[0], np.array([80, 84 + 90]))
    np.testing.assert_allclose(found["x"], expected[:, :, 0, 2].flatten(), rtol=1e-5)
    drawn = charts(forecast(folder), Screen(60)).splitlines()
    assert [line for line in drawn if line[:1].strip()] == ["x, a", "x, b"]
    assert max(map(len, drawn)) <= 60

    frame.filter(polars.col("x").is_not_null()).write_csv(tmp_path / "now.csv")
    with pytest.raises(DataError, match=r"series 'a': expected plan for the 3 steps after the last measured one, got"):
        forecast(folder, tmp_path / "now.csv")
    now = Series.read(tmp_path / "now.csv", **options)
    said = now.leave(tmp_path, lambda batch: network(batch.x, batch.asked)[0].detach())
    assert len(said) == 1
    assert said[0].startswith("no forecast yet: the data, series 'a': expected plan for the 3 steps")


def test_a_series_never_seen_in_training_is_read_in_its_own_units(tmp_path):
    days = [date(2020, 1, 1) + timedelta(days=number) for number in range(100)]
    polars.DataFrame({"day": days, "city": 100 * ["a"], "x": random_walk(100)}).write_csv(tmp_path / "a.csv")
    problem = Series.read(tmp_path / "a.csv", target=["x"], group="city", horizon=3, context=10)
    folder, _ = trained(tmp_path, problem, change=answers_levels)
    other = 1e6 * random_walk(100, 1)
    polars.DataFrame({"day": days, "city": 100 * ["b"], "x": other}).write_csv(tmp_path / "b.csv")
    found = forecast(folder, tmp_path / "b.csv").expected
    spread = np.sqrt(other[-10:].var() + (0.05 * other.std()) ** 2)
    np.testing.assert_allclose(found["x 0.9"], other[-1] + spread, rtol=1e-4)


def test_months_go_on_as_months(tmp_path):
    months = polars.date_range(date(2000, 1, 31), date(2019, 12, 31), "1mo", eager=True).dt.month_end()
    polars.DataFrame({"month": months, "x": random_walk(240)}).write_csv(tmp_path / "months.csv")
    folder, _ = trained(tmp_path, Series.read(tmp_path / "months.csv", target=["x"], horizon=3, context=24))
    assert forecast(folder).expected["month"].dt.date().to_list() == [
        date(2020, 1, 31),
        date(2020, 2, 29),
        date(2020, 3, 31),
    ]


def test_what_is_said_of_files_that_do_not_fit(tmp_path, walk):
    problem, x = walk
    folder, _ = trained(tmp_path, problem)
    daily = [datetime(2020, 1, 1) + timedelta(days=number) for number in range(30)]
    polars.DataFrame({"hour": daily, "x": x[:30]}).write_csv(tmp_path / "daily.csv")
    with pytest.raises(DataError, match="expected a step every hour, as in training, got one every day"):
        forecast(folder, tmp_path / "daily.csv")
    polars.DataFrame({"hour": hourly(11), "x": x[:11]}).write_csv(tmp_path / "short.csv")
    with pytest.raises(DataError, match="expected at least 12 steps to look back on, got 11"):
        forecast(folder, tmp_path / "short.csv")
    polars.DataFrame({"hour": hourly(20), "y": x[:20]}).write_csv(tmp_path / "other.csv")
    with pytest.raises(DataError, match="--target: expected columns of hour, y; got 'x'"):
        forecast(folder, tmp_path / "other.csv")
    with pytest.raises(ArgumentError, match="expected a place for a CSV file, got No such file or directory"):
        as_csv(forecast(folder).expected, tmp_path / "nowhere" / "forecast.csv")


def test_what_is_said_of_a_network_of_another_kind(tmp_path, walk):
    folder, _ = trained(tmp_path, walk[0], kind="text")
    with pytest.raises(RunReadError, match="expected a network trained on series, got one trained on text data"):
        forecast(folder)


def test_the_chart_whole():
    measured = [float(number) for number in range(12)]
    ahead = [[11 + share * step for step in range(6)] for share in (-1, -0.5, 0, 0.5, 1)]
    assert draw(measured, ahead, ("Mon", "Thu", "Fri"), width=60) == CHART


def test_a_chart_of_nearly_nothing():
    flat = draw([5.0, float("nan"), 5.0], [[5.0]], ("1", "3", "4"), width=40)
    assert "▄" in flat
    assert draw([float("nan")], [[float("nan")]], ("1", "2", "3"), width=40)


def test_labels_of_times_give_way_to_each_other():
    times = ("2018-06-23 20:00", "2018-06-26 20:00", "2018-06-27 19:00")
    last_lines = {
        width: draw([1.0, 2.0] * 50, [[1.0] * 30], times, width=width).splitlines()[-1] for width in (40, 60, 90)
    }
    assert last_lines[40].split() == ["2018-06-27", "19:00"]
    assert last_lines[60].split("  ")[0].strip() == ""
    assert [time in last_lines[60] for time in times] == [True, False, True]
    assert [time in last_lines[90] for time in times] == [True, True, True]
    assert all(len(line) == width - 1 for width, line in last_lines.items())


CHART = """\
      16 ┤                                ░░░░
         │                              ░░░░░░
      13 ┤                            ░░▒▒▒▒▒▒
         │                      ▄▄▄▄▄▄▄▄▄▄▄▄▄▄
         │                    ▄▄▀   ▒▒▒▒▒▒▒▒▒▒
       9 ┤                ▄▄▀▀        ░░░░▒▒▒▒
         │              ▄▄▀               ░░░░
         │            █▀                    ░░
       4 ┤        ▄▄▀▀
         │      ▄▄▀
         │    █▀
       0 ┤▄▄▀▀
         └┴───────────────────────┴──────────┴
         Mon                     Thu       Fri
"""


@pytest.mark.parametrize(("offset", "begins"), [("", "2020-01-09 08:00:00"), ("+02:00", "2020-01-09 06:00:00+00:00")])
def test_times_of_a_zone_are_written_with_it(tmp_path, offset, begins):
    times = [f"{time:%Y-%m-%dT%H:%M:%S}{offset}" for time in hourly(200)]
    polars.DataFrame({"time": times, "x": random_walk(200)}).write_csv(tmp_path / "zoned.csv")
    problem = Series.read(tmp_path / "zoned.csv", target=["x"], horizon=5, context=12)
    folder, _ = trained(tmp_path, problem)
    first = as_csv(forecast(folder).expected).splitlines()[1]
    assert first.split(",")[0] == begins
    assert datetime.fromisoformat(begins) == datetime.fromisoformat(times[-1]) + timedelta(hours=1)
