"""The second control: what must not help."""

import math

import pytest
import torch
from torch import nn

from longreach import remedies
from longreach.errors import NotApplicable
from longreach.trial.random_change import random_change


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 8, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def bits(module):
    return {name: own.detach().clone() for name, own in module.named_parameters()}


def test_random_weights_keeps_the_numbers_and_moves_them():
    net = Net()
    before = bits(net)
    assert remedies.random_weights(net) is net
    for name, own in net.named_parameters():
        assert torch.equal(own.flatten().sort().values, before[name].flatten().sort().values)
        assert torch.equal(own, before[name]) == (own.dim() < 2)


def test_random_weights_twice_is_once_and_undone_to_the_bit():
    net = Net()
    before = bits(net)
    once = bits(remedies.random_weights(net))
    twice = bits(remedies.random_weights(net, draw=1))
    assert all(torch.equal(once[name], twice[name]) for name in once)
    remedies.undo(net)
    assert all(torch.equal(own, before[name]) for name, own in net.named_parameters())
    assert remedies.applied(net) == ()


def test_random_weights_of_another_draw_or_seed_are_others():
    def treated(seed, draw):
        torch.manual_seed(0)
        net = Net()
        torch.manual_seed(seed)
        return remedies.random_weights(net, draw=draw).head.weight.detach().clone()

    assert torch.equal(treated(0, 0), treated(0, 0))
    assert not torch.equal(treated(0, 0), treated(0, 1))
    assert not torch.equal(treated(0, 0), treated(1, 0))


@pytest.mark.parametrize("kind", ["weights", "steps"])
def test_nothing_is_drawn_from_the_scripts_generator(kind):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    torch.manual_seed(3)
    clean = torch.rand(4)
    torch.manual_seed(3)
    if kind == "weights":
        remedies.random_weights(net)
    else:
        remedies.random_steps(optimizer)
        net(torch.zeros(2, 5, 3)).sum().backward()
        optimizer.step()
    assert torch.equal(torch.rand(4), clean)


def test_random_weights_needs_a_matrix():
    with pytest.raises(NotApplicable, match=r"random-weights: expected a module with a weight matrix, got LayerNorm"):
        remedies.random_weights(nn.LayerNorm(4))


def test_random_steps_scale_the_whole_gradient_by_one_factor():
    a, b = nn.Parameter(torch.zeros(3, dtype=torch.float64)), nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = torch.optim.SGD([{"params": [a]}, {"params": [b]}], 1.0)
    assert remedies.random_steps(remedies.random_steps(optimizer)) is optimizer
    logs = []
    for _ in range(2000):
        before = a.detach().clone(), b.detach().clone()
        a.grad, b.grad = torch.ones_like(a), 2 * torch.ones_like(b)
        optimizer.step()
        factor = (before[0] - a.detach())[0].item()
        torch.testing.assert_close(before[0] - a.detach(), torch.full_like(a, factor))
        torch.testing.assert_close(before[1] - b.detach(), torch.full_like(b, 2 * factor))
        logs.append(math.log(factor))
    width = math.log(3)
    assert max(map(abs, logs)) <= width + 1e-9
    # uniform on [-ln 3, ln 3]: mean 0, variance width² / 3; five standard errors either way
    assert abs(sum(logs) / len(logs)) < 5 * width / math.sqrt(3 * len(logs))
    spread = sum(log * log for log in logs) / len(logs)
    assert abs(spread - width**2 / 3) < 5 * width**2 * math.sqrt(4 / 45 / len(logs))


def test_random_steps_are_undone():
    a = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([a], 1.0)
    remedies.undo(remedies.random_steps(optimizer))
    a.grad = torch.ones(1)
    optimizer.step()
    assert a.item() == -1.0


@pytest.mark.parametrize(
    ("tried", "names"),
    [
        (["identity-init"], ["random-weights"]),
        (["clip-norm"], ["random-steps"]),
        (["identity-init", "clip-norm"], ["random-weights", "random-steps"]),
        ([], ["random-weights"]),
    ],
)
def test_the_random_change_is_of_the_kind_of_what_is_tried(tried, names):
    assert [one.name for one in random_change([remedies.named(name) for name in tried])] == names


def test_controls_are_known_by_name_but_are_no_remedies():
    assert {one.name for one in remedies.CONTROLS} == {"random-weights", "random-steps"}
    assert all(remedies.named(one.name) is one and one not in remedies.REMEDIES for one in remedies.CONTROLS)
