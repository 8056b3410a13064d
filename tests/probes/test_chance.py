"""The loss of the best constant answer, against the loss of that answer."""

import math

import pytest
import torch
import torch.nn.functional as F

from longreach.probes.chance import chance_level


def test_cross_entropy():
    logits, classes = torch.randn(6000, 4, requires_grad=True), torch.arange(6000) % 3
    assert chance_level(F.cross_entropy(logits, classes)) == pytest.approx(math.log(3), rel=1e-3)


def test_ignored_targets_do_not_count():
    logits, classes = torch.randn(50, 4, 6, requires_grad=True), torch.arange(300).view(50, 6) % 4
    ignored = torch.where(classes == 0, -100, classes)
    assert chance_level(F.cross_entropy(logits, ignored)) == pytest.approx(math.log(3), rel=0.01)
    assert chance_level(F.cross_entropy(logits, torch.full_like(classes, -100))) is None


def test_the_entropy_of_few_targets_is_corrected_for_being_few():
    """The entropy of 16 targets falls 3 / 32 short of ln 4; half of it is won back, since no batch may exceed ln 4."""
    logits = torch.randn(16, 4, requires_grad=True)
    found = [chance_level(F.cross_entropy(logits, torch.randint(4, (16,)))) for _ in range(400)]
    assert math.log(4) - 3 / 64 < sum(found) / len(found) <= math.log(4)


def test_squared_error_is_the_variance_of_each_output():
    target = torch.randn(500, 3).double() * torch.tensor([1.0, 2, 3]) + 100
    loss = F.mse_loss(torch.randn(500, 3, requires_grad=True).double(), target)
    assert chance_level(loss) == pytest.approx(float(target.var(dim=0).mean()))


@pytest.mark.parametrize("logits", [False, True])
def test_binary_cross_entropy(logits):
    given, target = torch.randn(800, 2, requires_grad=True), torch.zeros(800, 2)
    target[:200, 0] = 1
    loss = (
        F.binary_cross_entropy_with_logits(given, target) if logits else F.binary_cross_entropy(given.sigmoid(), target)
    )
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert chance_level(loss) == pytest.approx(entropy / 2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: F.mse_loss(x, torch.zeros(8, 4), reduction="sum"),
        lambda x: F.cross_entropy(x, torch.zeros(8).long(), weight=torch.ones(4)),
        lambda x: F.cross_entropy(x, torch.zeros(8).long()) + x.square().mean(),
        lambda x: (x - 1).square().mean(),
        lambda x: F.mse_loss(x[:1], torch.zeros(1, 4)),
        lambda x: x.detach().sum(),
    ],
)
def test_losses_that_do_not_tell(loss):
    assert chance_level(loss(torch.randn(8, 4, requires_grad=True))) is None


def test_a_loss_that_is_divided_or_scaled_by_a_number():
    x, y = torch.randn(40, 3, requires_grad=True), torch.randn(40, 3)
    loss = F.mse_loss(x, y)
    chance = chance_level(loss)
    assert chance is not None
    assert chance_level(loss / 4) == pytest.approx(chance / 4)
    assert chance_level(0.5 * loss * torch.tensor(65536.0)) == pytest.approx(chance * 32768)
    assert chance_level(loss * x.sum()) is None
