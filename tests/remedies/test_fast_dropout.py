"""Fast dropout: its closed forms against a million draws, and layers against dropout with masks."""

import copy
import pickle

import pytest
import torch
from torch import nn

from longreach import nn as ours
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import undo
from longreach.remedies.fast_dropout import MOMENTS, Dropped, Moments, Noise, dropped, fast_dropout

PLACE = {"dtype": torch.float64}
COUNT = 1_000_000
F = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
GRID = [(mean, deviation) for mean in (-3.0, -1.0, 0.0, 0.4, 2.0) for deviation in (0.1, 1.0, 3.0)]


def test_a_dropped_sum_has_the_moments_of_its_draws():
    weight, p = torch.randn(3, 6, **PLACE), 0.3
    mean, variance = torch.randn(6, **PLACE), torch.rand(6, **PLACE)
    units = mean + variance.sqrt() * torch.randn(COUNT, 6, **PLACE)
    sums = (units * (torch.rand(COUNT, 6) >= p) / (1 - p)) @ weight.T
    found = dropped(Moments(mean, variance), weight, p)
    deviation = sums.var(0).sqrt()
    assert ((found.mean - sums.mean(0)).abs() < 4 * deviation / COUNT**0.5).all()
    torch.testing.assert_close(found.variance, sums.var(0), rtol=0.01, atol=0)


def test_it_is_the_form_of_the_literature_but_for_its_division():
    weight, mean, variance, q = torch.randn(3, 6, **PLACE), torch.randn(6, **PLACE), torch.rand(6, **PLACE), 0.7
    found = dropped(Moments(mean, variance), weight, 1 - q)
    undivided = q * (1 - q) * mean**2 + q * (1 - q) * variance + q**2 * variance
    torch.testing.assert_close(q * found.mean, q * weight @ mean)
    torch.testing.assert_close(q**2 * found.variance, weight**2 @ undivided)


@pytest.mark.parametrize(("mean", "deviation"), GRID)
@pytest.mark.parametrize("activation", F)
def test_an_activation_has_the_moments_of_its_draws(activation, mean, deviation):
    draws = F[activation](mean + deviation * torch.randn(COUNT, **PLACE))
    found = MOMENTS[activation](Moments(torch.tensor(mean, **PLACE), torch.tensor(deviation**2, **PLACE)))
    error = 5 * draws.std().item() / COUNT**0.5 + 1e-6  # of the draws
    wide = {"relu": (0, 0), "sigmoid": (0.001, 0.003), "tanh": (0.03, 0.05)}
    of_mean, of_deviation = wide[activation] if deviation > 1 else (0, 4e-4)
    assert abs(found.mean.item() - draws.mean().item()) <= of_mean + error
    assert abs(found.variance.sqrt().item() - draws.std().item()) <= of_deviation + error


@pytest.mark.parametrize("activation", F)
def test_what_is_certain_passes_as_it_is_with_its_slope(activation):
    a = torch.linspace(-2, 2, 8, **PLACE, requires_grad=True)
    found = MOMENTS[activation](Moments(a, torch.zeros(8, **PLACE)))
    torch.testing.assert_close(found.mean, F[activation](a), rtol=0, atol=1e-6)
    (slope,) = torch.autograd.grad(found.mean.sum(), a)
    torch.testing.assert_close(slope, torch.autograd.grad(F[activation](a).sum(), a)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", F)
def test_gradients_of_the_moments(activation):
    mean, variance = torch.randn(6, **PLACE, requires_grad=True), (0.1 + torch.rand(6, **PLACE)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, v: MOMENTS[activation](Moments(m, v)), (mean, variance))
    weight = torch.randn(3, 6, **PLACE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, v, w: dropped(Moments(m, v), w, 0.3), (mean, variance, weight))


def test_a_linear_map_gives_samples_with_the_moments_of_dropout_but_for_the_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 40, **PLACE), nn.ReLU(), nn.Linear(40, 2, **PLACE))
    x = torch.randn(1, 3, **PLACE)
    h, certain = model[:2](x), model(x)
    drawn = torch.random.get_rng_state()
    fast_dropout(fast_dropout(model, p=0.4))
    assert torch.equal(model[0](x), nn.functional.linear(x, model[0].weight, model[0].bias))
    samples = model(x.expand(20_000, 3))
    assert torch.equal(drawn, torch.random.get_rng_state())
    masked = model[2].eval()(nn.functional.dropout(h.expand(20_000, 40), 0.4))
    torch.testing.assert_close(samples.mean(0), certain[0], rtol=0, atol=5 * samples.std().item() / 20_000**0.5)
    torch.testing.assert_close(samples.std(0), masked.std(0), rtol=0.03, atol=0)
    assert torch.equal(model.eval()(x), certain)
    assert torch.equal(undo(model).train()(x), certain)


@pytest.mark.parametrize("activation", F)
def test_a_recurrent_layer_passes_on_the_moments_of_dropout_at_every_step(activation):
    torch.manual_seed(0)
    layer = ours.RNN(3, 100, nonlinearity=activation, **PLACE)
    x, p, count = torch.randn(5, 1, 3, **PLACE), 0.2, 4000
    plain, names = layer(x)[0], list(layer.state_dict())
    w_ih, w_hh, b_ih, b_hh = (own.detach().clone() for own in layer.parameters())
    h = torch.zeros(count, 100, **PLACE)
    for x_t in x:  # with masks
        h = F[activation](x_t @ w_ih.T + b_ih + nn.functional.dropout(h, p) @ w_hh.T + b_hh)
    fast_dropout(fast_dropout(layer, p=p))
    samples = layer(x.expand(5, count, 3))[0][-1]
    spread = h.std(0).mean().item()
    # the draws of both are off by 0.02, and units are not independent of each other
    assert (samples.mean(0) - h.mean(0)).abs().mean() < 0.05 * spread
    assert (samples.std(0) - h.std(0)).abs().mean() < 0.1 * spread
    torch.testing.assert_close(layer.eval()(x)[0], plain)
    undo(layer).train()
    assert list(layer.state_dict()) == names
    assert torch.equal(layer(x)[0], plain)


def test_of_a_cell_the_gradient_is_that_of_the_moments_it_is_made_of():
    torch.manual_seed(0)
    cell = Dropped(3, 4, inner=ours.cells.Elman, p=0.3, noise=Noise(), **PLACE)
    x, before = torch.randn(2, 3, **PLACE), Moments(torch.randn(2, 4, **PLACE), torch.rand(2, 4, **PLACE))
    inner = cell.inner
    after = cell(cell.project(x), before)
    sums = x @ inner.weight_ih.T + inner.bias_ih + inner.bias_hh + before.mean @ inner.weight_hh.T
    variance = (0.3 / 0.7 * (before.mean**2 + before.variance) + before.variance) @ (inner.weight_hh**2).T
    expected = MOMENTS["tanh"](Moments(sums, variance))
    for own, truth in zip(after, expected, strict=True):
        torch.testing.assert_close(own, truth)
        grads = [torch.autograd.grad(of.sum(), inner.weight_hh, retain_graph=True)[0] for of in (own, truth)]
        torch.testing.assert_close(*grads)


def test_training_with_it_reads_a_sequence_to_its_end_and_draws_anew():
    torch.manual_seed(0)
    model = fast_dropout(nn.RNN(3, 8))
    x = torch.randn(6, 4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = model(x)[0]
    assert not torch.equal(first, model(x)[0])
    first.square().mean().backward()
    optimizer.step()
    assert all(own.grad is not None and own.grad.isfinite().all() for own in model.parameters())
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.isfinite(copied(x)[0]).all()


def test_what_it_does_not_fit():
    for model in (nn.LSTM(3, 4), nn.Linear(3, 4), ours.RNN(3, 4, nonlinearity="elu")):
        with pytest.raises(NotApplicable, match="expected a linear map behind another layer"):
            fast_dropout(model)
    with pytest.raises(ArgumentError, match="p: expected a share, 0 < p < 1, got 1"):
        fast_dropout(nn.RNN(3, 4), p=1)
