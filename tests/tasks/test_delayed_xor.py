"""Delayed XOR: two far bits decide, and neither of them alone says anything."""

import math

import pytest
import torch

from longreach.tasks import DelayedXOR


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("length", "delay"), [(3, 1), (21, 10), (50, 7)])
def test_the_answer_is_the_xor_of_two_bits(length, delay):
    x, y, asked, _ = DelayedXOR(length, delay).draw(20, generator())
    answers = iter(y.tolist())
    for bits, at in zip(x[..., 0].long().tolist(), asked.tolist(), strict=True):
        for t in range(length):
            assert at[t] == (t >= 2 * delay)
            if at[t]:
                assert next(answers) == bits[t - delay] ^ bits[t - 2 * delay]


def test_no_single_bit_tells_anything():
    task, n = DelayedXOR(30, 5), 40_000
    x, y, _, _ = task.draw(n, generator())
    sign, answer = 2 * x[..., 0].double() - 1, 2 * y.view(n, -1).double() - 1
    alone = (sign * answer[:, -1:]).mean(dim=0)
    assert (alone.abs() < 5 / n**0.5).all()
    assert torch.equal(-sign[:, -6] * sign[:, -11], answer[:, -1])  # both together tell all


def test_chance_is_a_uniform_answer():
    task = DelayedXOR(30)
    y = task.draw(100, generator()).y
    assert task.loss(torch.zeros(len(y), 2, dtype=torch.float64), y).item() == pytest.approx(math.log(2), rel=1e-12)
    assert task.chance == math.log(2)
