"""identity-init: what is held is kept, and the gradient with it."""

import pytest
import torch
from torch import nn

from longreach import measure, remedies
from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import RNN, Recurrent, cells


def carried(layer, x):
    """dh_T/dh_0 of one layer without gates, by autograd in float64."""
    h = torch.zeros(1, len(x[0]), layer.hidden_size, dtype=x.dtype, requires_grad=True)
    _, ended = layer(x, h)
    rows = [torch.autograd.grad(ended[0, 0, unit], h, retain_graph=True)[0][0, 0] for unit in range(layer.hidden_size)]
    return torch.stack(rows)


def test_a_unit_that_is_on_hands_its_gradient_on_whole():
    layer = remedies.identity_init(nn.RNN(3, 5, dtype=torch.float64))
    x = torch.rand(100, 1, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_ih_l0.abs_()  # all units on
    torch.testing.assert_close(carried(layer, x), torch.eye(5, dtype=torch.float64), rtol=0, atol=0)


def test_scale_is_the_rate_at_which_it_fades():
    layer = remedies.identity_init(nn.RNN(3, 5, dtype=torch.float64), scale=0.5)
    x = torch.rand(20, 1, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_ih_l0.abs_()
    torch.testing.assert_close(carried(layer, x), 0.5**20 * torch.eye(5, dtype=torch.float64))


class Summed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.RNN(2, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def test_reach_grows_from_a_few_steps_to_the_whole_sequence():
    model, x = Summed(), torch.rand(16, 200, 2)
    y = x[:, :, :1].sum(1)
    before = measure(model, (x, y), nn.functional.mse_loss).layers[0].reach
    after = measure(remedies.identity_init(model), (x, y), nn.functional.mse_loss).layers[0].reach
    assert before.lag < 20  # torch's start has |eigenvalues| < 0.58: 0.58^9 < 0.01
    assert after.lag >= 190
    remedies.undo(model)
    assert measure(model, (x, y), nn.functional.mse_loss).layers[0].reach == before


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.RNN(3, 5, 2, bidirectional=True, bias=False),
        lambda: nn.RNNCell(3, 5),
        lambda: Recurrent(cells.Elman, 3, 5, 2),
    ],
)
def test_every_square_is_the_identity_and_undo_brings_back_the_bits(build):
    model = build()
    before = {name: own.clone() for name, own in model.state_dict().items()}
    kept = [name for name in before if "weight_ih" in name]
    for _ in range(2):
        assert remedies.identity_init(model) is model
        state = model.state_dict()
        for name, value in state.items():
            if "weight_hh" in name:
                assert torch.equal(value, torch.eye(5))
            if "bias" in name:
                assert not value.any()
        assert all(torch.equal(state[name], before[name]) for name in kept)
    with torch.no_grad():
        for own in model.parameters():
            own.add_(1)
    remedies.undo(model)
    assert remedies.applied(model) == ()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_started():
    with pytest.raises(NotApplicable, match=r"identity-init: expected a torch RNN, its cell.*got GRU"):
        remedies.identity_init(nn.GRU(3, 5))
    with pytest.raises(ArgumentError, match=r"scale: expected a number above 0, got 0"):
        remedies.identity_init(nn.RNN(3, 5), scale=0)
    with pytest.raises(NotApplicable, match=r"expected recurrent weights that are parameters"):
        remedies.identity_init(remedies.orthogonal(nn.RNN(3, 5)))


def test_it_learns_to_add_over_150_steps():
    # Le, Jaitly & Hinton 2015, section 4.1; always to guess 1 has an error of 1/6
    steps, length = 2000, 150
    model = nn.ModuleList([RNN(2, 100, nonlinearity="relu"), nn.Linear(100, 1)])
    remedies.identity_init(model)
    optimizer = remedies.clip_norm(torch.optim.Adam(model.parameters(), lr=1e-4))
    losses, rows = [], torch.arange(20)
    for _ in range(steps):
        x = torch.stack([torch.rand(length, 20), torch.zeros(length, 20)], 2)
        x[torch.randint(length // 2, (20,)), rows, 1] = 1
        x[torch.randint(length // 2, length, (20,)), rows, 1] = 1
        loss = nn.functional.mse_loss(model[1](model[0](x)[1][0])[:, 0], (x[:, :, 0] * x[:, :, 1]).sum(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-200:]) / 200 < 1 / 12
