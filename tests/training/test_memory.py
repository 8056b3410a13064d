"""What is measured before training, on data whose need is known."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from longreach.batch import Batch
from longreach.training.memory import needed, pairs_of, prescribe
from longreach.training.plan import Settings
from longreach.training.problem import Advice, Problem, Shape, Sizes

STEPS = 60


class Echo(Problem):
    """The last answer is the input of `lag` steps before, or pure noise."""

    kind = "echo"

    def __init__(self, lag: int | None, *, carries: bool = False, answers: float = float("inf"), steps: int = STEPS):
        self.lag, self.carries, self._answers, self._steps = lag, carries, answers, steps

    @property
    def shape(self) -> Shape:
        return Shape(1, 1)

    @property
    def answers(self) -> float:
        return self._answers

    @property
    def longest(self) -> int:
        return self._steps

    def advice(self) -> Advice:
        return Advice(batch=16)

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        def batch(number: int) -> Batch:
            generator = torch.Generator().manual_seed(1000 * sizes.seed + number)
            steps = sizes.window if self.carries else self._steps
            x = torch.randn(sizes.batch, steps, 1, generator=generator)
            asked = torch.zeros(sizes.batch, steps, dtype=torch.bool)
            asked[:, -1] = True
            noise = torch.randn(sizes.batch, 1, generator=generator)
            y = noise if self.lag is None else x[:, -1 - self.lag] + 0.1 * noise
            return Batch(x, y, asked)

        return batch

    def held_out(self, part, sizes: Sizes) -> Iterable[Batch]:
        return [self.training(sizes)(10**6)]

    def loss(self, answer: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(answer, y)

    def scores(self, answer: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {}

    def recipe(self) -> dict:
        return {}


@pytest.mark.parametrize("lag", [3, 50])
def test_the_need_of_the_data_is_found(lag):
    found = needed(Echo(lag), 16, Settings())
    assert found.lag == lag
    assert found.is_far == (lag > 32)
    assert found.told.startswith(f"the data need {lag} of 59 steps, of an input; less than ")


def test_noise_needs_nothing():
    found = needed(Echo(None), 16, Settings(deep=False))
    assert found.lag == 0
    assert found.told.startswith("no need of memory was found, and a share of")


@pytest.mark.parametrize(("lag", "cell"), [(3, "lstm"), (50, "min-gru")])
def test_the_cell_is_chosen_by_where_the_need_lies(lag, cell):
    plan = prescribe(Echo(lag), Settings())
    assert plan.architecture.cell == cell
    assert plan.need == lag
    assert plan.reach is not None
    assert plan.reach >= lag
    assert any("reaches" in reason for reason in plan.reasons)


def test_every_choice_can_be_overridden():
    asked = Settings(
        cell="gru", hidden=7, layers=2, lag=9, dropout=0.3, batch=5, lr=0.5, weight_decay=0.1, steps=11, patience=2
    )
    plan = prescribe(Echo(50), asked)
    own = plan.architecture
    assert (own.cell, own.hidden, own.layers, own.lag, own.dropout) == ("gru", 7, 2, 9, 0.3)
    assert (plan.sizes.batch, plan.lr, plan.weight_decay, plan.updates, plan.patience) == (5, 0.5, 0.1, 11, 2)
    assert any("(asked for)" in reason for reason in plan.reasons)


def test_a_window_holds_the_need():
    assert prescribe(Echo(50, carries=True, steps=512), Settings(deep=False)).sizes.window == 128
    assert prescribe(Echo(200, carries=True, steps=512), Settings(deep=False)).sizes.window == 256
    plan = prescribe(Echo(3, carries=True, steps=512), Settings(hop=20, window=40, deep=False))
    assert (plan.sizes.window, plan.sizes.hop) == (40, 20)


def test_the_width_fits_the_answers():
    assert prescribe(Echo(3, answers=1e9), Settings(deep=False)).architecture.hidden == 512
    assert prescribe(Echo(3, answers=4_000), Settings(deep=False)).architecture.hidden == 32  # 4,513 weights
    assert prescribe(Echo(3, answers=10), Settings(deep=False)).architecture.hidden == 32


class Ragged(Echo):
    """Sequences of unequal lengths, zeros behind them; asked at the end of each and once before."""

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        def batch(number: int) -> Batch:
            generator = torch.Generator().manual_seed(number)
            x = torch.randn(sizes.batch, 10, 1, generator=generator)
            asked = torch.zeros(sizes.batch, 10, dtype=torch.bool)
            for row in range(sizes.batch):
                end = 4 + row % 7
                x[row, end:] = 0
                asked[row, [2, end - 1]] = True
            return Batch(x, torch.randn(int(asked.sum()), 1, generator=generator), asked)

        return batch


def test_sequences_end_together():
    problem = Ragged(1, steps=10)
    (first, *_) = pairs_of(problem, 14, 0)
    batch = problem.training(Sizes(14, 10, 10))(0)
    every = torch.cat(
        [problem.training(Sizes(14, 10, 10))(number).y for number in range(len(pairs_of(problem, 14, 0)))]
    )
    answers = iter(batch.y[:, 0])
    for row in range(14):
        end = 4 + row % 7
        assert first.lengths[row] == end
        np.testing.assert_array_equal(first.inputs[row, 10 - end :, 0], batch.x[row, :end, 0])
        expected = np.zeros(10)
        for step in (2, end - 1):
            expected[10 - end + step] = (every.mean() - next(answers)) / every.std(correction=0)
        np.testing.assert_allclose(first.errors[row, :, 0], expected, rtol=1e-4, atol=1e-5)
