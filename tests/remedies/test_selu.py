"""selu: activation and start belong together."""

import torch
from torch import nn

from longreach import remedies


def test_mean_0_and_variance_1_last_through_fifty_layers():
    layers = [part for _ in range(50) for part in (nn.Linear(300, 300), nn.Tanh())]
    model = remedies.selu(nn.Sequential(*layers, nn.Linear(300, 1)).double())
    with torch.no_grad():
        outputs = model[:-1](torch.randn(500, 300, dtype=torch.float64))
    # Klambauer et al. 2017, theorem 1: the fixed point attracts; the spread is that of 300 random weights
    assert abs(outputs.mean()) < 0.1
    assert 0.8 < outputs.var() < 1.25


def test_the_same_without_the_start_fades():
    layers = [part for _ in range(50) for part in (nn.Linear(300, 300), nn.SELU())]
    with torch.no_grad():
        assert nn.Sequential(*layers)(torch.randn(500, 300)).var(0).mean() < 0.01


def test_recurrent_layers_and_readouts_keep_their_weights():
    model = nn.ModuleList([nn.RNN(3, 5), nn.Linear(5, 1)])
    before = {name: own.clone() for name, own in model.named_parameters()}
    remedies.selu(model)
    assert all(torch.equal(own, before[name]) for name, own in model.named_parameters())


def test_the_script_draws_what_it_would_have_drawn():
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    remedies.selu(model)
    assert torch.equal(torch.rand(4), expected)
