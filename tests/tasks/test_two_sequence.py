"""The two-sequence problem: the sign of the first inputs decides, noise has the stated variance, guessing is enough."""

import pytest
import torch

from longreach.tasks import TwoSequence

MANY = 40_000
VARIANTS = pytest.mark.parametrize("variant", ["3a", "3b", "3c"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def steps_of(batch):
    return batch.asked.long().argmax(dim=1) + 1


@VARIANTS
@pytest.mark.parametrize("informative", [1, 3])
def test_the_first_inputs_tell_the_class(variant, informative):
    task = TwoSequence(30, variant, informative)
    batch = task.draw(MANY, generator())
    told = batch.x[:, :informative, 0]
    first = batch.y[:, 0] == 1 if variant != "3c" else told[:, 0] > 0
    if variant == "3b":
        off = told - torch.where(first, 1.0, -1.0)[:, None]
        assert off.mean().abs() < 5 * (0.2 / off.numel()) ** 0.5
        assert abs(off.var().item() - 0.2) < 5 * 0.2 * (2 / off.numel()) ** 0.5
    else:
        assert torch.equal(told, torch.where(first, 1.0, -1.0)[:, None].expand_as(told))
    assert abs(first.double().mean().item() - 0.5) < 5 * 0.5 / MANY**0.5
    assert sorted(set(steps_of(batch).tolist())) == [30, 31, 32, 33]


@VARIANTS
def test_the_rest_is_noise_of_variance_a_fifth_whatever_the_class(variant):
    task = TwoSequence(30, variant)
    batch = task.draw(MANY, generator())
    rest = batch.x[:, 3:30, 0].double()
    for of_class in (rest[batch.x[:, 0, 0] > 0], rest[batch.x[:, 0, 0] < 0]):
        n = of_class.numel()
        assert of_class.mean().abs() < 5 * (0.2 / n) ** 0.5
        assert abs(of_class.var().item() - 0.2) < 5 * 0.2 * (2 / n) ** 0.5


@VARIANTS
def test_chance_is_the_error_of_one_half(variant):
    task = TwoSequence(30, variant)
    y = task.draw(MANY, generator()).y.double()
    error = (y - 0.5) ** 2
    assert abs(error.mean().item() - task.chance) <= 4 * error.std().item() / MANY**0.5


def test_targets_of_3c_are_means_under_noise():
    task = TwoSequence(30, "3c")
    batch = task.draw(MANY, generator())
    for sign, mean in ((1, 0.2), (-1, 0.8)):
        y = batch.y[batch.x[:, 0, 0] == sign].double()
        assert abs(y.mean().item() - mean) < 5 * (0.1 / len(y)) ** 0.5
        assert abs(y.var().item() - 0.1) < 5 * 0.1 * (2 / len(y)) ** 0.5
    means = torch.where(batch.x[:, 0] > 0, 0.2, 0.8)
    assert not task.wrong(means + 0.099, batch).any()
    assert task.wrong(means - 0.101, batch).all()


@pytest.mark.parametrize("variant", ["3a", "3b"])
def test_a_fifth_is_near_enough(variant):
    task = TwoSequence(30, variant)
    batch = task.draw(100, generator())
    assert not task.wrong(batch.y - 0.199, batch).any()
    assert task.wrong(batch.y + 0.201, batch).all()


def test_even_the_best_reader_errs_sometimes_where_the_one_informative_input_is_noisy():
    # 3b with N = 1: the sign of one input of +-1 + N(0, 0.2) is the other one in P(N(0, 1) > 1/sqrt(0.2)) = 1.27 %
    task = TwoSequence(30, "3b", 1)
    batch = task.draw(MANY, generator())
    share = task.wrong((batch.x[:, 0] > 0).float(), batch).double().mean().item()
    assert abs(share - 0.0126736) < 5 * (0.0127 / MANY) ** 0.5
    assert share < task.allowed == 6 / 256
