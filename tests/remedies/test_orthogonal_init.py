"""orthogonal-init: every square starts as a rotation."""

import pytest
import torch
from torch import nn

from longreach import measure, remedies
from longreach import nn as ours
from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import Recurrent, cells

BUILDS = {
    "RNN": lambda: nn.RNN(3, 8, 2, bidirectional=True),
    "GRU": lambda: nn.GRU(3, 8, bias=False),
    "LSTM": lambda: nn.LSTM(3, 8, 2),
    "ours": lambda: ours.LSTM(3, 8),
    "LSTMCell": lambda: nn.LSTMCell(3, 8),
    "Recurrent": lambda: Recurrent(cells.GRU, 3, 8),
}


@pytest.mark.parametrize("name", BUILDS)
def test_every_square_is_gain_times_orthogonal_and_undo_brings_back_the_bits(name):
    model = BUILDS[name]().double()
    before = {key: own.clone() for key, own in model.state_dict().items()}
    assert remedies.orthogonal_init(model, gain=1.5) is model
    once = {key: own.clone() for key, own in model.state_dict().items()}
    squares = [block for key, own in once.items() if "weight_hh" in key for block in own.split(8)]
    for square in squares:
        torch.testing.assert_close(square.T @ square, 1.5**2 * torch.eye(8, dtype=torch.float64))
    assert len({square[0, 0].item() for square in squares}) == len(squares)  # each drawn for itself
    remedies.orthogonal_init(model, gain=1.5)
    assert all(torch.equal(own, once[key]) for key, own in model.state_dict().items())
    remedies.undo(model)
    assert all(torch.equal(own, before[key]) for key, own in model.state_dict().items())


def test_a_linear_network_carries_any_gradient_as_the_power_of_the_gain():
    layer = remedies.orthogonal_init(ours.RNN(3, 8, nonlinearity="identity", dtype=torch.float64), gain=0.9)
    h = torch.zeros(1, 1, 8, dtype=torch.float64, requires_grad=True)
    ended = layer(torch.randn(300, 1, 3, dtype=torch.float64), h)[1]
    v = torch.randn(1, 1, 8, dtype=torch.float64)
    (back,) = torch.autograd.grad(ended, h, v)
    torch.testing.assert_close(back.norm() / v.norm(), torch.tensor(0.9**300, dtype=torch.float64))


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.RNN(2, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


def test_a_quiet_tanh_network_reaches_farther():
    model, x = Last(), 0.1 * torch.randn(16, 100, 2)
    y = x[:, 0, :1]
    before = measure(model, (x, y), nn.functional.mse_loss).layers[0]
    after = measure(remedies.orthogonal_init(model), (x, y), nn.functional.mse_loss).layers[0]
    assert before.reach.lag < 20
    assert after.reach.lag >= 95


def test_the_script_draws_what_it_would_have_drawn():
    layer = nn.RNN(3, 5)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    remedies.orthogonal_init(layer)
    assert torch.equal(torch.rand(4), expected)


def test_what_cannot_be_started():
    with pytest.raises(NotApplicable, match=r"orthogonal-init: expected a torch RNN or GRU or LSTM.*got Linear"):
        remedies.orthogonal_init(nn.Linear(3, 5))
    with pytest.raises(ArgumentError, match=r"gain: expected a number above 0, got -1"):
        remedies.orthogonal_init(nn.RNN(3, 5), gain=-1)
    projected = nn.LSTM(3, 8, proj_size=4)
    before = projected.weight_hh_l0.clone()
    with pytest.raises(
        NotApplicable, match=r"orthogonal-init: expected a recurrent layer without a projection, got LSTM"
    ):
        remedies.orthogonal_init(projected)
    assert torch.equal(projected.weight_hh_l0, before)
