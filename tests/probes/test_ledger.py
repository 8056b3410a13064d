"""What is known of every step: norms, clipping, loss scales, jumps; against torch's own numbers, in float64."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_  # a name that was imported before any watch

from longreach.probes.arrivals import Arrivals
from longreach.quantities.clipping import NORM, OWN, VALUE
from longreach.watching import Watch


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Linear(3, 6), nn.Linear(6, 1)

    def forward(self, x):
        return self.high(torch.tanh(self.low(x)))


def batch(step):
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def trained(steps=20, *, clip=None, loss=None, lr=1e-3, accumulate=1):
    """The watch's record, and (norm before, norm after) of every step by hand."""
    torch.manual_seed(0)
    net = Net().double()
    optimizer, norms = torch.optim.SGD(net.parameters(), lr), []
    with Watch(net, optimizer, budget=1.0) as watch:
        for step in range(steps):
            optimizer.zero_grad()
            for part in range(accumulate):
                found = net(batch(step * accumulate + part)).square().mean() if loss is None else loss(net, step)
                (found / accumulate).backward()
            before = _norm(net)
            if clip is not None:
                clip(net.parameters())
            norms.append((before, _norm(net)))
            optimizer.step()
    assert not [note for note in watch.store.notes() if "stopped" in note or "could not be followed" in note]
    return watch.record(), norms


def _norm(net):
    return math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_norms_before_and_after_clipping(accumulate):
    record, norms = trained(clip=partial(clip_grad_norm_, max_norm=0.02), accumulate=accumulate)
    assert record.gradients is not None
    for step, before, after in zip(
        record.gradients.steps, record.gradients.before, record.gradients.after, strict=True
    ):
        assert before == pytest.approx(norms[step][0], rel=1e-12)
        assert math.isnan(after) or after == pytest.approx(norms[step][1], rel=1e-12)
    assert not math.isnan(record.gradients.after[0])


def test_every_call_of_clip_grad_norm_is_counted_wherever_its_name_comes_from():
    for clip in (clip_grad_norm_, nn.utils.clip_grad_norm_, nn.utils.clip_grad.clip_grad_norm_):
        record, norms = trained(clip=partial(clip, max_norm=0.1))
        found = record.clipping
        assert found is not None
        assert (found.by, found.limit) == (NORM, 0.1)
        assert 18 <= found.calls <= 20  # the first tenth is left out, if counts were stored within it
        late = [before for before, _ in norms[-found.calls :]]
        bound = [before for before in late if before > 0.1]
        assert found.bound == len(bound) / len(late)
        factors = [math.log(norm / 0.1) for norm in bound]
        assert found.factor == pytest.approx(math.exp(sum(factors) / len(factors)), rel=1e-9)


def test_clipping_of_entries_shows_in_the_norm():
    record, _ = trained(clip=lambda parameters: nn.utils.clip_grad_value_(parameters, 1e-4))
    assert record.clipping is not None
    assert (record.clipping.by, record.clipping.limit, record.clipping.bound) == (VALUE, 1e-4, 1.0)
    assert record.clipping.factor > 10


def test_clipping_by_hand_shows_in_the_norm():
    def clip(parameters):
        parameters = list(parameters)
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in parameters))
        for p in parameters:
            p.grad.mul_(min(1.0, 1e-3 / norm))

    record, norms = trained(clip=clip)
    assert record.clipping is not None
    assert (record.clipping.by, record.clipping.bound) == (OWN, 1.0)
    assert record.clipping.limit == pytest.approx(1e-3)
    assert min(b for b, _ in norms) <= 1e-3 * record.clipping.factor <= max(b for b, _ in norms)
    assert trained()[0].clipping is None


def test_a_jump_and_whose_gradient_rose_first():
    def loss(net, step):
        # at step 60 the gradient of the lower layer becomes a hundred times larger, at step 62 the loss as well
        kept = net.low(batch(step))
        scale = 100.0 if step >= 60 else 1.0
        kept = kept * scale - (kept * (scale - 1)).detach()
        return net.high(torch.tanh(kept)).square().mean() * (100.0 if step >= 62 else 1.0)

    record, _ = trained(100, loss=loss, lr=0.0)
    (spike,) = record.spikes
    assert (spike.step, spike.over) == (62, False)
    assert spike.lasted == 38
    assert (spike.module, spike.rose) == ("low", 60)
    assert spike.factor > 10


def test_losses_and_norms_are_those_without_a_scaler():
    def run(scaler):
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), 1e-2)
        with Watch(net, optimizer, budget=1.0) as watch:
            for step in range(12):
                optimizer.zero_grad()
                loss = net(batch(step).float()).square().mean()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        assert not watch.store.notes() or "could not" not in watch.store.notes()[0]
        return watch.record()

    plain = run(torch.amp.GradScaler("cpu", enabled=False))
    scaled = run(torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=4))
    assert plain.loss_scale is None
    assert scaled.loss_scale is not None
    assert (scaled.loss_scale.steps, scaled.loss_scale.skipped, scaled.loss_scale.scale) == (12, 0, 2.0**18)
    assert scaled.loss == plain.loss  # powers of two round nothing
    assert plain.gradients is not None
    assert scaled.gradients is not None
    assert scaled.gradients.before == pytest.approx(plain.gradients.before, rel=1e-5)
    assert scaled.gradients.after == pytest.approx(plain.gradients.after, rel=1e-5, nan_ok=True)
    assert scaled.clipping is None


def test_a_sum_of_scaled_losses_and_lists_of_them():
    net, scaler = Net(), torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    with Watch(net, optimizer, budget=1.0) as watch:
        one, two = net(torch.zeros(2, 3)).sum() * 0 + 1.0, net(torch.zeros(2, 3)).sum() * 0 + 2.0
        (scaler.scale(one) + scaler.scale(two)).backward()
        scaler.step(optimizer)
        again = [net(torch.zeros(2, 3)).sum() * 0 + value for value in (1.0, 2.0)]
        torch.autograd.backward(scaler.scale(again))
        optimizer.step()
    assert watch.store.losses() == [(0, 3.0), (1, 1.0)]


def test_numbers_come_out_in_order_and_with_their_tags():
    arrivals = Arrivals()
    assert arrivals.take() == []
    arrivals.put("a", torch.tensor([1.0, 2.0]))
    arrivals.put("b", torch.tensor(3.0))
    assert arrivals.take() == [("a", [1.0, 2.0]), ("b", [3.0])]
    assert arrivals.take(wait=True) == []


def test_everything_is_put_back():
    names = [(torch.amp.GradScaler, "scale"), (torch.amp.GradScaler, "step"), (nn.utils, "clip_grad_value_")]
    names += [(nn.utils.clip_grad, "_clip_grads_with_norm_"), (nn.utils.clip_grad, "clip_grad_value_")]
    before = [getattr(home, name) for home, name in names]
    with Watch():
        assert all(getattr(home, name) is not real for (home, name), real in zip(names, before, strict=True))
    assert all(getattr(home, name) is real for (home, name), real in zip(names, before, strict=True))
