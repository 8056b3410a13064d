"""NARMA10 and Mackey-Glass, against loops over the published equations in float64; chance is their variance."""

import pytest
import torch

from longreach.tasks import NARMA10, MackeyGlass
from longreach.tasks.mackey_glass import integrated
from longreach.tasks.narma10 import imitated


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def narma10(u):
    """One sequence: y after each input, by the equation."""
    before, y = [0.0] * 9, [0.0]  # y at t = -9, ..., 0
    for t in range(len(u)):
        past = (before + y)[-10:]
        earlier = u[t - 9] if t >= 9 else 0.0
        y.append(0.3 * y[-1] + 0.05 * y[-1] * sum(past) + 1.5 * earlier * u[t] + 0.1)
    return y[1:]


def test_narma10_is_its_equation():
    u = 0.5 * torch.rand(4, 60, dtype=torch.float64, generator=generator())
    expected = torch.tensor([narma10(row.tolist()) for row in u], dtype=torch.float64)
    torch.testing.assert_close(imitated(u), expected, rtol=1e-12, atol=0)


def test_narma10_asks_for_what_its_input_makes():
    x, y, asked, _ = NARMA10(20).draw(5, generator())
    assert x.min() >= 0
    assert x.max() < 0.5
    assert (asked.nonzero()[:, 1].view(5, -1) == torch.arange(50, 70)).all()
    expected = torch.tensor([narma10(row.tolist())[50:] for row in x[..., 0].double()])
    torch.testing.assert_close(y.view(5, -1), expected, rtol=1e-5, atol=0)


def test_no_sequence_of_narma10_runs_away():
    task = NARMA10(1000)
    y = task.draw(400, generator()).y  # 1.8 % of them would leave [0, 1]
    assert (y >= 0).all()
    assert (y <= 1).all()


def mackey_glass(start, units):
    """One series by Euler's rule, 0.1 at a time: x at the times 1, 2, ..."""
    x = [start] * 171
    for _ in range(10 * units):
        delayed = x[-171]
        x.append(x[-1] + 0.1 * (0.2 * delayed / (1 + delayed**10) - 0.1 * x[-1]))
    return x[170 + 10 :: 10]


@pytest.mark.parametrize("units", [1, 17, 18, 100])
def test_mackey_glass_is_its_equation(units):
    start = torch.tensor([0.5, 0.9, 1.2], dtype=torch.float64)
    expected = torch.tensor([mackey_glass(one, units) for one in start.tolist()], dtype=torch.float64)
    torch.testing.assert_close(integrated(start, units), expected, rtol=1e-11, atol=0)


def test_mackey_glass_asks_for_what_comes_later():
    task = MackeyGlass(200, horizon=30)
    x, y, asked, _ = task.draw(4, generator())
    assert (asked.nonzero()[:, 1].view(4, -1) == torch.arange(100, 300)).all()
    assert torch.equal(y.view(4, -1)[:, :-30], x[:, 130:, 0])


def test_mackey_glass_is_chaotic_and_bounded():
    start = torch.tensor([0.9, 0.9 + 1e-9], dtype=torch.float64)
    x = integrated(start, 6000)
    assert (x[0, :200] - x[1, :200]).abs().max() < 1e-6
    assert (x[0, 4000:] - x[1, 4000:]).abs().max() > 0.1
    assert x[:, 300:].min() > 0.3
    assert x[:, 300:].max() < 1.4


@pytest.mark.parametrize(("task", "count"), [(NARMA10(200), 4000), (MackeyGlass(200), 2000)])
def test_chance_is_the_variance(task, count):
    y = task.draw(count, generator()).y.double().view(count, -1)
    off = ((y - y.mean()) ** 2).mean(dim=1)  # a sequence is one sample: its steps depend on each other
    assert abs(off.mean().item() - task.chance) < 4 * off.std().item() / count**0.5 + 0.0001  # of the printed digits


@pytest.mark.parametrize("task", [NARMA10(50), MackeyGlass(50)])
def test_wrong_above_a_tenth_of_the_standard_deviation(task):
    batch = task.draw(6, generator())
    off = 0.1 * task.chance**0.5
    assert not task.wrong(batch.y + 0.99 * off, batch).any()
    assert task.wrong(batch.y - 1.01 * off, batch).all()
    answer = batch.y.clone()
    answer[50:100] += 2 * off
    assert task.wrong(answer, batch).tolist() == [False, True, False, False, False, False]
