"""Series as a problem: what windows hold, what is lost and scored, against twins in plain loops; bad data."""

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import ArgumentError, DataError
from longreach.training.judging import judged
from longreach.training.network import Architecture, Network
from longreach.training.problem import Sizes
from longreach.training.series.problem import Series
from longreach.training.series.seasonal import repeats, season_of
from longreach.training.series.split import cut
from longreach.training.series.windows import FLOOR, carried_forward

NAN = float("nan")
ETT = Path("../shared/data/ETTh1.csv")


def table(tmp_path, **columns):
    count = len(next(iter(columns.values())))
    times = [datetime(2020, 1, 1) + timedelta(hours=number) for number in range(count)]
    file = tmp_path / "load.parquet"
    polars.DataFrame({"time": times, **columns}).write_parquet(file)
    return file


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(size=count)


@pytest.fixture
def problem(tmp_path):
    """Two targets, one of them with days, one with holes; a past and a known column."""
    x, holes = noise(300, 0) + 9 * np.sin(2 * np.pi * np.arange(300) / 24), noise(300, 1)
    holes[5:20], holes[150:300:7] = NAN, NAN
    file = table(tmp_path, x=x, holes=holes, past=noise(300, 2), known=noise(300, 3))
    return Series.read(
        file, target=["x", "holes"], past=["past"], known=["known"], horizon=4, context=10, split="200,50,50"
    )


def told(batch):
    return [part.tolist() if part is not None else None for part in batch]


def test_a_window_is_what_was_measured_in_its_own_units_and_then_what_is_known_ahead(problem):
    frame = polars.read_parquet(problem.recipe()["file"])
    for start in (30, 160, 290):
        batch = problem.windows.batch(np.array([start]))
        assert batch.asked.tolist() == [[False] * 10 + [True] * 4]
        for column, name in enumerate(("x", "holes", "past")):
            train = frame[name].to_numpy()[:200]
            scaled = (frame[name].to_numpy() - np.nanmean(train)) / np.nanstd(train)
            seen = scaled[start - 10 : start]
            last = scaled[:start][~np.isnan(scaled[:start])][-1]
            spread = math.sqrt(np.nanvar(seen) + FLOOR**2)
            shown = [
                (row[~np.isnan(row)][-1] - last) / spread for row in (scaled[: start - 9 + step] for step in range(10))
            ]
            np.testing.assert_allclose(batch.x[0, :10, column], shown, atol=1e-4)
            np.testing.assert_allclose(batch.x[0, 10:, column], 0)
            np.testing.assert_array_equal(batch.x[0, :, 3 + column], [*np.isnan(seen), 1, 1, 1, 1])
            if column < 2:
                true = (scaled[start : start + 4] - last) / spread
                np.testing.assert_allclose(batch.y[:, column, 0], true, atol=1e-4)
                np.testing.assert_allclose(batch.y[:, column, 1], spread, rtol=1e-4)
        known = frame["known"].to_numpy()
        shown = (known[start - 10 : start + 4] - known[:200].mean()) / known[:200].std()
        np.testing.assert_allclose(batch.x[0, :, 6], shown, atol=1e-5)
        hours = 2 * np.pi * np.arange(start - 10, start + 4) / 24
        np.testing.assert_allclose(batch.x[0, :, 8], np.sin(hours), atol=1e-5)
        np.testing.assert_allclose(batch.x[0, :, -1], [0] * 10 + [0.25, 0.5, 0.75, 1])


def test_what_comes_later_is_not_seen(problem, tmp_path):
    frame = polars.read_parquet(problem.recipe()["file"])
    later = polars.int_range(300) >= 250  # in the test part
    names = ("x", "holes", "past")
    changed = frame.with_columns(polars.when(later).then(9.0).otherwise(name).alias(name) for name in names)
    changed.write_parquet(tmp_path / "changed.parquet")
    options = {"target": ["x", "holes"], "past": ["past"], "known": ["known"], "horizon": 4, "context": 10}
    other = Series.read(tmp_path / "changed.parquet", split="200,50,50", **options)
    assert other.recipe()["scaling"] == problem.recipe()["scaling"]
    for start in (100, 246, 250):
        shown, same = (one.windows.batch(np.array([start])).x for one in (problem, other))
        torch.testing.assert_close(shown, same, rtol=0, atol=0)
    assert not torch.equal(*(one.windows.batch(np.array([251])).x for one in (problem, other)))


def test_every_window_of_the_test_is_asked_once_and_missing_values_never(problem):
    batches = list(problem.held_out("test", Sizes(8, 14, 14)))
    y = torch.cat([batch.y for batch in batches]).unflatten(0, (-1, 4))
    assert len(y) == 50 - 4 + 1
    scaled = problem.windows.values
    for place, start in enumerate(range(250, 297)):
        level, spread = problem.windows.level(np.array([start]))
        true = (scaled[start : start + 4, :2] - level[:, :2]) / spread[:, :2]
        np.testing.assert_allclose(y[place, :, :, 0], true, atol=1e-5)
    answer = torch.zeros(y.shape[0] * 4, 10)
    scores = problem.scores(answer, y.flatten(0, 1))
    assert all(len(values) == int((~y[..., 0].isnan()).sum()) for values in scores.values())
    assert torch.isfinite(problem.loss(answer, y.flatten(0, 1)))


def test_training_stays_within_its_part(problem):
    draw = problem.training(Sizes(64, 14, 14))
    starts = problem._starts
    assert starts.min() == 10
    assert starts.max() == 200 - 4
    assert len(draw(0).x) == 64
    assert torch.cat([draw(number).y for number in range(40)])[:, 0, 0].isfinite().all()


def test_a_batch_depends_on_its_number_and_the_sizes_alone(problem):
    one, again, other = (problem.training(Sizes(6, 14, 14, seed)) for seed in (1, 1, 2))
    order = [one(number) for number in (3, 0)]
    assert torch.equal(order[0].x, again(3).x)
    assert torch.equal(order[1].x, again(0).x)
    assert not torch.equal(again(3).x, again(4).x)
    assert not torch.equal(other(3).x, again(3).x)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_batches_and_held_out_windows(problem, world):
    ranks = [Sizes(6, 14, 14, 5, rank, world) for rank in range(world)]
    whole = problem.training(Sizes(6, 14, 14, 5))(2).x
    parts = [problem.training(sizes)(2).x for sizes in ranks]
    for rank, part in enumerate(parts):
        assert torch.equal(part, whole[rank::world])
    shown = sum(len(batch.x) for sizes in ranks for batch in problem.held_out("validation", sizes))
    assert shown == sum(len(batch.x) for batch in problem.held_out("validation", Sizes(6, 14, 14)))


def pinball(problem, answer, y):
    """The formula, in loops."""
    total, count = 0.0, 0
    for row in range(len(y)):
        for target in range(2):
            if y[row, target, 0].isnan():
                continue
            for place, q in enumerate((0.1, 0.25, 0.5, 0.75, 0.9)):
                wrong = y[row, target, 0] - answer[row, 5 * target + place]
                total, count = total + (q * wrong if wrong > 0 else (q - 1) * wrong), count + 1
    return total / count


def test_loss_and_its_gradient_are_those_of_the_formula(problem):
    y = problem.windows.batch(np.array([160, 170])).y.double()
    assert y.isnan().any()
    answer = torch.randn(len(y), 10, dtype=torch.float64, requires_grad=True)
    values = [loss(answer, y) for loss in (problem.loss, lambda *pair: pinball(problem, *pair))]
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(*(torch.autograd.grad(value, answer)[0] for value in values))
    assert torch.isfinite(torch.autograd.grad(problem.loss(answer, y * NAN), answer)[0]).all()


def test_the_loss_is_least_at_the_quantiles(problem):
    y = torch.rand(20_000, 2, 2, dtype=torch.float64)
    answer = torch.tensor(2 * [0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64).repeat(len(y), 1).requires_grad_()
    (gradient,) = torch.autograd.grad(problem.loss(answer, y), answer)
    assert (gradient.sum(dim=0) * 10).abs().max() < 5 * 0.5 / math.sqrt(len(y))  # five standard errors


def test_scores_are_in_units_of_the_training_part(problem):
    batch = problem.windows.batch(np.array([260]))
    level, spread = problem.windows.level(np.array([260]))
    answer = torch.randn(4, 10)
    scores = problem.scores(answer, batch.y)
    wrong, inside = [], []
    for step in range(4):
        for target in range(2):
            true, own = (
                problem.windows.values[260 + step, target],
                answer[step, 5 * target : 5 * target + 5].sort().values,
            )
            if np.isnan(true):
                continue
            low, middle, high = (own[place] * spread[0, target] + level[0, target] for place in (0, 2, 4))
            wrong.append(float(true - middle))
            inside.append(float(low <= true <= high))
    np.testing.assert_allclose(scores["MAE"], np.abs(wrong), rtol=1e-4)
    np.testing.assert_allclose(scores["MSE"], np.square(wrong), rtol=1e-4)
    assert scores["coverage 80 %"].tolist() == inside


def test_the_rules_without_a_network_are_those_of_the_formula(tmp_path):
    x = np.tile([0.0, 3.0, 1.0, 5.0, 2.0, 7.0], 50) + noise(300) / 10
    problem = Series.read(table(tmp_path, x=x), target=["x"], horizon=8, context=12, split="200,50,50")
    assert problem.season == 6
    scaled = (x - x[:200].mean()) / x[:200].std()
    found = problem.naive("test")
    for rule, period in (("last value", 1), ("the value 6 steps before", 6)):
        wrong = [
            scaled[start + step] - scaled[start - period + step % period]
            for start in range(250, 293)
            for step in range(8)
        ]
        np.testing.assert_allclose(found[f"MAE, {rule}"], np.abs(wrong).mean(), rtol=1e-4)
        np.testing.assert_allclose(found[f"MSE, {rule}"], np.square(wrong).mean(), rtol=1e-4)
    assert found["MSE"] == found["MSE, the value 6 steps before"] < found["MSE, last value"]


@given(st.integers(3, 60), st.integers(0, 100), st.floats(-1, 1))
def test_a_season_is_found_under_drift_and_noise_and_holes(period, seed, drift):
    random = np.random.default_rng(seed)
    steps = np.arange(12 * period + 50)
    noise = min(0.05, 1 / period)  # a sixth of what the steepest step changes
    values = np.sin(2 * np.pi * steps / period) + drift * steps / period + noise * random.normal(size=len(steps))
    values[random.random(len(steps)) < 0.05] = NAN
    assert season_of([values]) == period


def test_a_long_season_is_found_under_noise_that_hides_it_from_step_to_step():
    steps = np.arange(40_000)
    values = np.sin(2 * np.pi * steps / 1440) + 0.3 * noise(len(steps))
    assert season_of([values]) == pytest.approx(1440, rel=0.02)


def test_a_week_is_told_from_a_day_that_comes_round_seven_times_in_it():
    hours = np.arange(24 * 100)
    day, week = np.sin(2 * np.pi * hours / 24), (hours // 24 % 7 < 5).astype(float)
    for values, shown in (
        (day, (True, False)),
        (week, (False, True)),
        (day + week, (True, True)),
        (0 * day, (False, False)),
    ):
        rows = [values + 0.1 * noise(len(hours))]
        assert (repeats(rows, 24, 8), repeats(rows, 168, 7)) == shown


def test_noise_and_walks_have_no_season():
    assert [season_of([noise(500, seed)]) for seed in range(20)] == [None] * 20
    assert [season_of([noise(500, seed).cumsum()]) for seed in range(20)] == [None] * 20
    assert season_of([np.ones(100)]) is None
    assert season_of([np.full(100, NAN)]) is None
    assert season_of([np.arange(3.0)]) is None


@given(
    st.lists(
        st.lists(st.one_of(st.just(NAN), st.floats(-9, 9, width=32)), min_size=1, max_size=9), min_size=1, max_size=4
    )
)
def test_missing_values_are_carried_forward_within_a_series(rows):
    begins = np.cumsum([0, *map(len, rows)])
    found = carried_forward(np.concatenate(rows)[:, None].astype(np.float32), begins)[:, 0]
    expected = []
    for row in rows:
        last = NAN
        for value in row:
            last = last if math.isnan(value) else value
            expected.append(last)
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


def test_windows_never_cross_from_one_series_to_the_next(tmp_path):
    times = [datetime(2020, 1, 1) + timedelta(days=number) for number in range(60)]
    frame = polars.DataFrame(
        {"time": 2 * times, "city": 60 * ["a"] + 60 * ["b"], "x": [*noise(60), *(1000 + 50 * noise(60, 1))]}
    )
    frame.with_columns(size=polars.when(polars.col("city") == "a").then(1).otherwise(3)).write_csv(tmp_path / "x.csv")
    options = {"target": ["x"], "group": "city", "static": ["size"], "horizon": 2, "context": 5}
    problem = Series.read(tmp_path / "x.csv", **options)
    draw, seen = problem.training(Sizes(64, 7, 7)), []
    for number in range(20):
        batch = draw(number)
        assert batch.y[:, 0, 0].abs().max() < 40  # each series in its own units: 1000 is as far as 0
        assert batch.x[:, :, -2].std(dim=1).max() == 0
        seen += batch.x[:, 0, -2].tolist()
    assert sorted(set(seen)) == [-1, 1]
    starts = problem._starting(0) % 60
    assert starts.min() >= 5
    assert starts.max() == 36 - 2


def test_the_split_is_by_shares_or_by_steps():
    assert cut(100, "0.6,0.2", "x") == [60, 80, 100]
    assert cut(17_420, "8640,2880,2880", "x") == [8640, 11_520, 14_400]
    assert cut(100, "0.5,0.2,0.1", "x") == [50, 70, 80]
    assert cut(100, "70,20", "x") == [70, 90, 100]
    assert cut(100, "0.33,0.56,0.11", "x") == [33, 89, 100]


@pytest.mark.parametrize("split", ["0.6", "a,b", "0.6,20", "0,1", "1.5,3", "-1,5", "", "1,2,3,4", "0.2,nan"])
def test_what_is_said_of_a_split_that_is_none(split):
    with pytest.raises(ArgumentError, match=r"--split: expected two or three shares as 0\.6,0\.2 or numbers of steps"):
        cut(100, split, "x")


@pytest.mark.parametrize("split", ["60,60", "0.9,0.5", "80,20", "50,20,31", "0.5,0.4,0.2"])
def test_what_is_said_of_parts_that_do_not_fit(split):
    with pytest.raises(ArgumentError, match=r"--split: expected parts that fit into the 100 steps of x\.csv, got"):
        cut(100, split, "x.csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"horizon": 0}, "--horizon: expected a whole number of steps above 0, got 0"),
        ({"context": -1}, "--context: expected a whole number of steps above 0, got -1"),
        ({"target": []}, "--target: expected the name of a column, got none"),
        ({"quantiles": [0.1, 0.9]}, "--quantiles: expected an odd number of levels"),
        ({"quantiles": [0.9, 0.5, 0.1]}, "--quantiles: expected an odd number of levels between 0 and 1 that rise"),
        ({"quantiles": [0.1, 0.4, 0.9]}, "--quantiles: expected 0.5 in the middle, got 0.4"),
    ],
)
def test_what_is_said_of_options_that_do_not_fit(tmp_path, options, said):
    with pytest.raises(ArgumentError, match=said):
        Series.read(tmp_path / "never read", **({"target": ["x"], "horizon": 2} | options))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"x": 100 * [1.0]}, r"column 'x': expected values that change, got 1 in the whole training part"),
        ({"x": [*(60 * [None]), *noise(40)]}, r"column 'x': expected numbers in the training part, got none in its 60"),
        ({"x": noise(20)}, r"validation part: expected at least 10 steps, the horizon of 10, got 4"),
        (
            {"x": noise(12)},
            r"training part: expected at least 11 steps, the horizon of 10 after 1 to look back on, got 7",
        ),
        ({"x": noise(1)}, r"training part: expected at least 11 steps"),
        ({"x": [*noise(60), *(40 * [None])]}, r"validation part: expected x to be measured after \d+ steps"),
    ],
)
def test_what_is_said_of_data_that_teach_nothing(tmp_path, columns, said):
    with pytest.raises(DataError, match=said):
        Series.read(table(tmp_path, **columns), target=["x"], horizon=10)


@pytest.mark.parametrize("row", [0, 220, 299])
def test_other_data_have_another_recipe(tmp_path, row):
    recipes = []
    for change in (0.0, 0.0, 1.0):
        x = noise(300)
        x[row] += change
        recipes.append(Series.read(table(tmp_path, x=x), target=["x"], horizon=4, context=10).recipe())
    assert recipes[0] == recipes[1] != recipes[2]


def test_a_recipe_is_json(problem):
    recipe = problem.recipe()
    assert json.loads(json.dumps(recipe)) == recipe


@pytest.mark.skipif(not ETT.exists(), reason="needs ../shared/data/ETTh1.csv")
def test_electricity_transformers_are_cut_as_in_the_literature():
    problem = Series.read(ETT, target=["OT"], horizon=96, split="8640,2880,2880")
    frame = polars.read_csv(ETT)["OT"].to_numpy()
    scaled = (frame - frame[:8640].mean()) / frame[:8640].std()
    assert problem.season == 24
    assert problem.question.context == 168
    assert problem.question.cycles == ("day",)  # weeks are not seen in an oil's temperature
    wrong = np.stack(
        [scaled[11_520 + step : 14_400 - 96 + 1 + step] - scaled[11_519 : 14_400 - 96] for step in range(96)]
    )
    np.testing.assert_allclose(problem.naive("test")["MSE, last value"], (wrong**2).mean(), rtol=1e-4)
    assert sum(len(batch.x) for batch in problem.held_out("test", Sizes(8, 1, 1))) == 2880 - 96 + 1


def test_a_network_learns_what_is_known_ahead(tmp_path):
    plan = noise(600, 1)
    file = table(tmp_path, x=plan + 0.1 * noise(600, 2), plan=plan)
    problem = Series.read(file, target=["x"], known=["plan"], horizon=6, context=8)
    torch.manual_seed(0)
    network = Network(Architecture(problem.shape, "gru", 16, lag=3))
    draw, optimizer = problem.training(Sizes(32, 14, 14)), torch.optim.Adam(network.parameters(), lr=1e-2)
    for number in range(150):
        batch = draw(number)
        optimizer.zero_grad()
        problem.loss(network(batch.x, batch.asked)[0], batch.y).backward()
        optimizer.step()
    scores = judged(network, problem, problem.held_out("test", Sizes(32, 14, 14)))
    assert scores["MSE"] < 0.25 * problem.naive("test")["MSE"]  # noise: 0.01; the mean of all values: 0.5 of naive
    assert 0.6 < scores["coverage 80 %"] < 0.95


@pytest.mark.parametrize("times", [{}, {"time": range(0, 3000, 10)}])
def test_steps_may_be_counted_where_there_are_no_times(tmp_path, times):
    dated = Series.read(table(tmp_path, x=noise(300)), target=["x"], horizon=4, context=10)
    polars.DataFrame({**times, "x": noise(300)}).write_parquet(tmp_path / "counted.parquet")
    file, time = tmp_path / "counted.parquet", next(iter(times), None)
    counted = Series.read(file, target=["x"], horizon=4, context=10, time=time)
    assert dated.question.cycles == counted.question.cycles == ()
    sizes = Sizes(batch=3, window=14, hop=14)
    assert told(counted.training(sizes)(0)) == told(dated.training(sizes)(0))
