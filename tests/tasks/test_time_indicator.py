"""The time indicator: one step in d, at a phase that nobody knows, and noise that nobody is blamed for."""

import pytest
import torch

from longreach.tasks import TimeIndicator


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("lag", [2, 7, 40])
def test_every_lag_steps_comes_an_indicator(lag):
    n = 200 * lag
    x, y, asked, _ = TimeIndicator(lag, noise=0.3).draw(n, generator())
    series, following = x[..., 0], y.view(n, -1)
    assert torch.equal(asked.nonzero()[:, 1].view(n, -1)[0], torch.arange(lag - 1, 3 * lag))
    assert torch.equal(series[:, lag:], following[:, :-1])  # the next value, at every asked step
    is_one = series == 1
    assert torch.equal(is_one[:, lag:], is_one[:, :-lag])
    assert (is_one.sum(dim=1) == 3).all()
    noise = series[~is_one]
    assert noise.abs().max() <= 0.3
    assert abs(noise.double().var().item() - 0.3**2 / 3) < 0.001
    phase = torch.bincount(is_one.long().argmax(dim=1), minlength=lag)
    assert (phase - 200).abs().max() < 5 * 200**0.5


@pytest.mark.parametrize(("lag", "noise"), [(5, 0.1), (5, 0.6), (40, 0.2)])
def test_chance_is_the_loss_of_the_best_constant(lag, noise):
    task, n = TimeIndicator(lag, noise), 20_000
    y = task.draw(n, generator()).y
    loss = {
        c: task.loss(torch.full((len(y), 1), c, dtype=torch.float64), y.double()).item()
        for c in (noise + (1 - noise) / lag + step for step in (-0.02, 0.0, 0.02))
    }
    least = list(loss.values())[1]
    assert least == min(loss.values())
    share = (y == 1).double().view(n, -1).mean(dim=1)  # the loss of a constant is linear in it
    assert abs(least - task.chance) < 4 * share.std().item() / n**0.5 * (1 - noise) ** 2 + 1e-9


def test_a_naive_loss_and_its_gradient():
    task = TimeIndicator(6, noise=0.2)
    batch = task.draw(3, generator())
    answer = torch.randn(len(batch.y), 1, dtype=torch.float64, requires_grad=True)
    expected = 0.0
    for given, y in zip(answer[:, 0].tolist(), batch.y[:, 0].tolist(), strict=True):
        expected += ((given - 1) if y == 1 else max(abs(given) - 0.2, 0)) ** 2 / len(batch.y)
    assert task.loss(answer, batch.y.double()).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda a: task.loss(a, batch.y.double()), answer)


def test_the_answer_one_is_no_way_out_and_neither_is_noise():
    task = TimeIndicator(6)
    batch = task.draw(20, generator())
    for constant in (0.0, 0.5, 1.0):
        assert task.wrong(torch.full_like(batch.y, constant), batch).all()
    told = torch.where(batch.y == 1, 1.0, 0.0)
    assert not task.wrong(told, batch).any()
    assert task.loss(told, batch.y) == 0
