"""Pre-training layer by layer: what the layers know after it, when it happens, and a net that learns by it alone."""

import copy
import pickle

import pytest
import torch
from torch import nn

from longreach import nn as ours
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import undo
from longreach.remedies.layerwise_pretraining import _transposed, layerwise_pretraining

PLACE = {"dtype": torch.float64}


def deep(depth, width, inputs=2, activation=nn.Sigmoid):
    hidden = [part for _ in range(depth - 1) for part in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Linear(inputs, width), activation(), *hidden, nn.Linear(width, 3))


def rings(count):
    """Points on three rings in the plane, and which one."""
    ring, angle = torch.randint(3, (count,)), 2 * torch.pi * torch.rand(count)
    radius = ring + 1 + 0.1 * torch.randn(count)
    return torch.stack((angle.cos(), angle.sin()), dim=1) * radius[:, None], ring


def accuracy_after_training(remedy):
    torch.manual_seed(0)
    model = remedy(deep(6, 32))
    x, y = rings(2000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(8):
        for rows in torch.randperm(2000).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return (model(x).argmax(1) == y).double().mean().item()


def test_a_deep_net_of_sigmoids_that_stays_at_chance_learns_after_it():
    assert accuracy_after_training(lambda model: model) < 0.4
    assert accuracy_after_training(layerwise_pretraining) > 0.95


def explained(target, h):
    """Share of the variance of a target that a linear map tells from h, of which 1 % of a unit's range is noise."""
    h = h + 0.01 * torch.randn_like(h)
    h = torch.cat((h, torch.ones_like(h[:, :1])), dim=1)
    residue = target - h @ torch.linalg.lstsq(h, target).solution
    return 1 - (residue.var() / target.var()).item()


def test_what_the_net_is_given_is_to_be_read_from_its_top_layer():
    torch.manual_seed(0)
    model, x = deep(6, 20), torch.randn(500, 2)
    assert explained(x, model[:-1](x)) < 0.1
    layerwise_pretraining(model, batches=1)(x)
    assert explained(x, model[:-1](x)) > 0.9


def test_it_comes_before_the_last_of_its_batches_is_computed_and_draws_nothing():
    torch.manual_seed(0)
    model, x = layerwise_pretraining(layerwise_pretraining(deep(3, 8), batches=2, updates=5)), torch.randn(40, 2)
    drawn, start = torch.random.get_rng_state(), copy.deepcopy(model.state_dict())
    first = model(x)
    with torch.no_grad():
        model(x)
    model.eval()(x)
    model.train()
    assert all(torch.equal(own, start[name]) for name, own in model.state_dict().items())
    second = model(x)
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert not torch.equal(second, first)
    assert all(own.grad is None for own in model.parameters())
    learned = {name for name, own in model.state_dict().items() if not torch.equal(own, start[name])}
    assert learned == {f"{place}.{name}" for place in (0, 2, 4) for name in ("weight", "bias")}
    assert torch.equal(model(x), second)
    assert not model._forward_pre_hooks
    undo(model)
    assert torch.equal(model(x), first)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_undo_before_its_time_calls_it_off_and_a_copy_has_its_own(copied):
    torch.manual_seed(0)
    model, x = layerwise_pretraining(deep(3, 8), batches=2, updates=5), torch.randn(40, 2)
    model(x)
    copied, start = copied(model), copy.deepcopy(model.state_dict())
    undo(model)(x)
    assert all(torch.equal(own, start[name]) for name, own in model.state_dict().items())
    copied(x)
    assert not torch.equal(copied[0].weight, start["0.weight"])
    assert torch.equal(model[0].weight, start["0.weight"])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 5, **PLACE),
        nn.Conv1d(2, 4, 3, stride=2, padding=1, **PLACE),
        nn.Conv2d(4, 6, (3, 5), padding="same", groups=2, **PLACE),
        nn.Conv2d(2, 3, 3, padding="valid", dilation=2, **PLACE),
        nn.Conv3d(1, 2, 2, stride=(1, 2, 1), **PLACE),
    ],
    ids=str,
)
def test_the_decoder_is_the_transposed_map(layer):
    shapes = {2: (7, 3), 3: (7, layer.weight.shape[1], 9), 4: (7, 4, 9, 8), 5: (7, 1, 4, 5, 6)}
    shape = list(shapes[layer.weight.dim()])
    shape[1] = layer.weight.shape[1] * getattr(layer, "groups", 1)
    x = torch.randn(shape, **PLACE, requires_grad=True)
    y = layer(x)
    v = torch.randn_like(y)
    (expected,) = torch.autograd.grad((v * y).sum(), x)
    torch.testing.assert_close(_transposed(layer, layer.weight, v, x.shape), expected)


class Pictures(nn.Module):
    """Convolutions, something between them that is no module, and a head."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3), nn.Tanh()
        self.stages = nn.ModuleList([nn.Sequential(self.first, nn.Tanh()), nn.Sequential(self.second, self.act)])
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stages[0](x), 2)
        return self.head(self.stages[1](x).mean((2, 3)))


def test_convolutions_learn_too():
    torch.manual_seed(0)
    model, x = Pictures(), torch.rand(60, 1, 8, 8)
    start = copy.deepcopy(model.state_dict())
    layerwise_pretraining(model, batches=2, updates=20)(x[:30])
    model(x[30:])
    moved = {name for name, own in model.state_dict().items() if not torch.equal(own, start[name])}
    assert {"first.weight", "second.weight"} <= moved
    assert "head.weight" not in moved


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_each_layer_of_a_recurrent_stack_comes_to_know_its_next_input(kind):
    """Each value is near that of four steps before. What is below is x, then h of the first layer."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(1, 12, num_layers=2, batch_first=True)
    x = torch.randn(20, 60, 1)
    for t in range(4, 60):
        x[:, t] = x[:, t - 4] + 0.1 * x[:, t]

    def known():
        one = getattr(nn, kind)(1, 12, batch_first=True)
        one.load_state_dict({k: v for k, v in layer.state_dict().items() if "_l0" in k})
        below, above = one(x)[0].detach(), layer(x)[0].detach()
        pairs = ((x[:, 6:], below[:, 5:-1]), (below[:, 6:], above[:, 5:-1]))
        return [explained(given.flatten(0, 1), h.flatten(0, 1)) for given, h in pairs]

    before = known()
    layerwise_pretraining(layer, batches=2, updates=300)
    layer(x[:10])
    layer(x[10:])
    after = known()
    assert all(1 - new < 0.5 * (1 - old) for old, new in zip(before, after, strict=True))
    assert min(after) > 0.96


def test_what_it_does_not_fit():
    for model in (
        nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)),
        nn.LSTM(2, 3),
        ours.GRU(2, 3, num_layers=2, bidirectional=True),
    ):
        with pytest.raises(NotApplicable, match="expected two linear maps with activation modules behind them"):
            layerwise_pretraining(model)
    with pytest.raises(ArgumentError, match="expected whole numbers above 0, got 0 and 200"):
        layerwise_pretraining(deep(3, 4), batches=0)
