"""Checkpoints along time: values, gradients and norms of the whole pass, with less kept."""

import pytest
import torch
from tests.nn.test_layers import HIDDEN, INPUTS, B, laid_out, values_and_gradients

import longreach.nn as ours
from longreach.nn.checkpointing import checkpointed
from longreach.nn.stack import State

STEPS = 6
OPTIONS = {
    "plain": {},
    "cuts within segments": {"cut": 2},
    "segments within cuts": {"cut": 4},
    "clip": {"clip": 0.2},
    "both directions": {"bidirectional": True, "cut": 2, "clip": 0.2},
    "stacked": {"num_layers": 2, "bidirectional": True, "cut": 3},
}


@pytest.mark.parametrize("every", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("layout", ["time first", "packed"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_nothing_changes_but_what_is_kept(kind, options, layout, every):
    layer = getattr(ours, kind)(INPUTS, HIDDEN, **options).double()
    x = torch.randn(STEPS, B, INPUTS).double().requires_grad_()
    h = torch.randn(layer.num_layers * (1 + layer.bidirectional), B, HIDDEN).double().requires_grad_()
    hx = (h, torch.randn_like(h).requires_grad_()) if kind == "LSTM" else h
    resets = laid_out(torch.rand(STEPS, B) < 0.2, layout)
    runs = []
    for steps in (0, every):
        layer.checkpoint_every = steps
        with ours.observe() as seen:
            output, _ = layer(laid_out(x, layout), hx, resets=resets)
        (output if layout == "time first" else output.data).square().sum().backward()
        (norms,) = seen.values()
        runs.append((values_and_gradients(layer, x, hx, layout, resets=resets), norms.rows))
    torch.testing.assert_close(runs[1], runs[0])


def bytes_kept(layer, x):
    """What one forward pass saves for the backward pass; not the arguments that a checkpoint holds itself."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output, _ = layer(x)
    loss = output.sum()  # alive until here
    assert loss.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_what_lies_between_the_borders_is_not_kept(kind):
    steps, every = 144, 12
    x = torch.randn(steps, 8, 4)
    layer, lean = (getattr(ours, kind)(4, 32, checkpoint_every=n) for n in (0, every))
    weights = sum(parameter.nbytes for parameter in layer.parameters())
    # input, weights and output, but nothing that the steps within a segment have saved
    assert bytes_kept(lean, x) <= x.nbytes + weights + steps * 8 * 32 * 4
    assert bytes_kept(lean, x) < bytes_kept(layer, x) / 2


def test_random_numbers_are_drawn_again():
    def noisy(x: torch.Tensor, state: State, **_: object) -> tuple[torch.Tensor, State]:
        noise = torch.rand_like(x)
        return x * noise, (state[0] * 2,)

    x = torch.ones(6, 1, requires_grad=True)
    output, _ = checkpointed(noisy, 2)(x, (torch.ones(1, 1, requires_grad=True),))
    output.sum().backward()
    torch.testing.assert_close(x.grad, output.detach())  # the derivative of x·noise is the same noise


def test_without_gradients_nothing_is_segmented():
    calls = []

    def counting(x: torch.Tensor, state: State, **_: object) -> tuple[torch.Tensor, State]:
        calls.append(len(x))
        return x, state

    with torch.no_grad():
        checkpointed(counting, 2)(torch.ones(6, 1), (torch.ones(1, 1),))
    assert calls == [6]
