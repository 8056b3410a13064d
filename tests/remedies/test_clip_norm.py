"""Clipping of the whole gradient at a given norm."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from longreach import remedies
from longreach.errors import ArgumentError
from longreach.remedies.clip_norm import clip_norm


def weights_with(*gradients):
    """Parameters with these gradients."""
    found = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    for own, gradient in zip(found, gradients, strict=True):
        own.grad = torch.tensor(gradient)
    return found


def test_the_direction_is_kept_and_the_norm_is_the_limit():
    first, second = weights_with([3.0, 0.0], [0.0, -4.0])
    optimizer = clip_norm(torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], lr=1.0), max_norm=2.0)
    optimizer.step()
    assert_close(first.grad, torch.tensor([1.2, 0.0]))
    assert_close(second.grad, torch.tensor([0.0, -1.6]))
    assert_close(first.detach(), torch.tensor([-1.2, 0.0]))
    assert_close(second.detach(), torch.tensor([0.0, 0.8]))


def test_a_short_gradient_keeps_its_bits():
    (own,) = weights_with([0.1, 0.7])
    optimizer = clip_norm(torch.optim.SGD([own]))
    optimizer.step()
    assert own.grad.equal(torch.tensor([0.1, 0.7]))


def test_a_gradient_whose_squares_overflow():
    (own,) = weights_with([3e30, -4e30])
    clip_norm(torch.optim.SGD([own])).step()
    assert_close(own.grad, torch.tensor([0.6, -0.8]))


def test_without_any_gradient_nothing_happens():
    optimizer = clip_norm(torch.optim.Adam([nn.Parameter(torch.ones(2))]))
    optimizer.step()
    assert not optimizer.state


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_left_for_guard(bad):
    (own,) = weights_with([bad, 2.0])
    clip_norm(torch.optim.SGD([own], lr=0.0)).step()
    assert_close(own.grad, torch.tensor([bad, 2.0]), equal_nan=True)


def test_every_call_of_a_closure_is_clipped():
    own = nn.Parameter(torch.tensor([30.0, 40.0]))
    seen = []

    def closure():
        own.grad = None
        loss = own.square().sum() / 2
        loss.backward()
        return loss

    for optimizer in (torch.optim.SGD([own], lr=1.0), torch.optim.LBFGS([own], lr=1.0, max_iter=3)):
        clip_norm(optimizer, max_norm=5.0)
        with torch.no_grad():
            own.copy_(torch.tensor([30.0, 40.0]))
        assert optimizer.step(closure).item() == 1250.0
        seen.append(own.grad.norm().item())
        optimizer.step(closure=closure)
    assert seen == pytest.approx([5.0, 5.0], rel=1e-5)


def test_sparse_gradients_are_counted_once_an_entry():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 1, 3])).sum().backward()  # rows of 2 and of 1
    clip_norm(torch.optim.SGD(table.parameters(), lr=1.0)).step()
    expected = torch.tensor([[0.0, 0], [2, 2], [0, 0], [1, 1], [0, 0]]) / 10**0.5
    assert_close(table.weight.grad.to_dense(), expected)


@pytest.mark.parametrize("fused", [True, False])
def test_a_loss_scale_is_no_part_of_the_norm(fused):
    own = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = clip_norm(torch.optim.SGD([own], lr=1.0, fused=fused), max_norm=2.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(own.square().sum() / 2).backward()
    scaler.step(optimizer)
    assert_close(own.detach(), torch.tensor([1.5, 2.0]))


def test_twice_is_once_the_smaller_norm_holds_and_undo():
    (own,) = weights_with([3.0, 4.0])
    optimizer = torch.optim.SGD([own], lr=1.0)
    assert clip_norm(clip_norm(optimizer, max_norm=2.0), max_norm=4.0) is optimizer
    assert remedies.applied(optimizer) == ("clip-norm",)
    optimizer.step()
    assert_close(own.grad, torch.tensor([1.2, 1.6]))
    clip_norm(optimizer, max_norm=1.0).step()
    assert_close(own.grad, torch.tensor([0.6, 0.8]))
    remedies.undo(optimizer)
    own.grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    assert own.grad.equal(torch.tensor([3.0, 4.0]))
    assert not optimizer._optimizer_step_pre_hooks


def test_a_norm_that_is_none():
    with pytest.raises(ArgumentError, match="max_norm: expected a norm above 0, got 0"):
        clip_norm(torch.optim.SGD([nn.Parameter(torch.ones(1))]), max_norm=0)
