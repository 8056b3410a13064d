"""Clipping at a threshold that the run itself tells."""

import math
import statistics

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from longreach import remedies
from longreach.errors import ArgumentError
from longreach.remedies.clip_auto import _clippers, clip_auto, clipping
from longreach.remedies.threshold import MEMORY


def fed(optimizer, own, length, direction=(0.6, 0.8)):
    """One step with a gradient of this length; gives the length that was left of it."""
    own.grad = length * torch.tensor(direction)
    optimizer.step()
    return own.grad.norm().item()


def an_adam(lr=1e-3):
    own = nn.Parameter(torch.ones(2))
    return clip_auto(torch.optim.Adam([own], lr=lr)), own


def test_calm_gradients_keep_their_bits():
    optimizer, own = an_adam()
    for step in range(50):
        fed(optimizer, own, 1.0 + 0.5 * math.sin(step))
        assert own.grad.equal((1.0 + 0.5 * math.sin(step)) * torch.tensor([0.6, 0.8]))
    assert clipping(optimizer).bound == 0
    assert clipping(optimizer).threshold == pytest.approx(10.0, rel=0.1)


def test_one_spike_is_cut_to_ten_times_the_usual_in_its_direction():
    optimizer, own = an_adam()
    for _ in range(20):
        fed(optimizer, own, 2.0)
    fed(optimizer, own, 1e6, direction=(-0.8, 0.6))
    assert_close(own.grad, torch.tensor([-16.0, 12.0]))
    assert fed(optimizer, own, 2.0) == 2.0
    assert clipping(optimizer) == remedies.Clipping(
        steps=22, bound=1, share=1 / 22, threshold=clipping(optimizer).threshold
    )


def test_a_burst_lowers_the_threshold_and_calm_raises_it():
    optimizer, own = an_adam()
    for _ in range(100):
        fed(optimizer, own, 1.0)
    left = [fed(optimizer, own, 1000.0) for _ in range(20)]
    # the first is no burst yet; then 30 % less each time, and never less than half of the usual
    assert left[:4] == pytest.approx([10.0, 10.0, 7.0, 4.9], rel=1e-4)
    assert left[-1] == pytest.approx(0.5, rel=1e-4)
    for calm in range(1, 200):
        fed(optimizer, own, 0.4)
        assert clipping(optimizer).threshold <= 10.0
        if calm == 18:
            assert clipping(optimizer).threshold == pytest.approx(0.5 * 1.02**17)  # of a median of 1


def test_norms_that_are_not_finite_do_not_enter():
    optimizer, own = an_adam()
    for length in (1.0, math.nan, math.inf, 1.0):
        fed(optimizer, own, length)
    assert math.isnan(fed(optimizer, own, math.nan))
    assert clipping(optimizer).threshold == 10.0
    assert clipping(optimizer).steps == 5
    assert clipping(optimizer).bound == 0


def test_memory_is_bounded_and_what_was_usual_is_forgotten_unlike_in_autoclip():
    """A run whose gradients are 1000 at first, and 1 later on: AutoClip's history is of both, for ever.

    Its 10th percentile shortens nine of ten gradients that nothing is wrong with; its highest never forgets.
    """
    optimizer, own = an_adam()
    history: list[float] = []
    theirs = 0
    lengths = [1000.0 + step % 7 for step in range(1000)] + [1.0 + step % 7 for step in range(1000)]
    for length in lengths:
        history.append(length)
        theirs += (
            length > statistics.quantiles([*history, length], n=10, method="inclusive")[0] if len(history) > 1 else 0
        )
        fed(optimizer, own, length)
    assert len(history) == 2000
    assert len(_clippers[optimizer]._rule._norms) == MEMORY
    assert theirs > 1000
    assert clipping(optimizer).bound == 0
    assert fed(optimizer, own, 1000.0) == pytest.approx(40.0, rel=1e-4)  # ten times the median of 1 to 7
    assert statistics.quantiles(history, n=2)[0] > 500  # where half of all that AutoClip knows lies above


def test_with_sgd_a_step_is_short_beside_the_weights():
    own, other = nn.Parameter(torch.full((2,), 30.0)), nn.Parameter(torch.full((2,), 40.0))
    optimizer = clip_auto(torch.optim.SGD([own, other], lr=0.1, momentum=0.9))
    size = (own.detach().square().sum() + other.detach().square().sum()).sqrt().item()
    assert fed(optimizer, own, 1e5) == pytest.approx(0.01 * 0.1 * size / 0.1, rel=1e-4)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    fed(optimizer, own, 1.0)  # whatever its length: it moves nothing
    nought = nn.Parameter(torch.zeros(2))
    assert fed(clip_auto(torch.optim.SGD([nought], lr=0.1)), nought, 100.0) == pytest.approx(100.0)


def test_without_any_gradient_nothing_happens():
    optimizer, _ = an_adam()
    optimizer.step()
    assert clipping(optimizer) == remedies.Clipping(0, 0, 0.0, math.inf)


class Cue(nn.Module):
    """A tanh network of recurrent gain 4, which is to tell the sign of the first of 20 inputs."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.RNN(2, 32, batch_first=True), nn.Linear(32, 2)
        nn.init.normal_(self.rnn.weight_hh_l0, std=4 / 32**0.5)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def learnt(treat, seed):
    torch.manual_seed(seed)
    model = Cue()
    optimizer = treat(torch.optim.SGD(model.parameters(), lr=0.5))
    losses = []
    for _ in range(500):
        label = torch.randint(2, (64,))
        x = 0.1 * torch.randn(64, 20, 2)
        x[:, 0, 0] += 2.0 * label - 1
        loss = nn.functional.cross_entropy(model(x), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return statistics.mean(losses[-50:])


def test_an_exploding_network_learns_with_it_and_breaks_without():
    """Chance is ln 2 = 0.69: without clipping the first steps saturate all units, and stay there in most runs."""
    without = [learnt(lambda optimizer: optimizer, seed) for seed in range(6)]
    treated = [learnt(clip_auto, seed) for seed in range(6)]
    assert sum(loss > 0.69 for loss in without) >= 5
    assert sum(loss < 0.01 for loss in treated) >= 5


def test_twice_is_once_undo_and_what_was_not_treated():
    own = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([own])
    assert clip_auto(clip_auto(optimizer)) is optimizer
    assert remedies.applied(optimizer) == ("clip-auto",)
    remedies.undo(optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    with pytest.raises(ArgumentError, match="clipping: expected an optimizer with clip-auto, got one without"):
        clipping(optimizer)
