"""What cells promise of a gradient on its way back, where theory says it in closed form."""

import pytest
import torch

from longreach.nn.cells import GRU, Antisymmetric, Dilated, Elman, IndRNN, LayerNorm, Leaky, Orthogonal, Skip
from longreach.nn.observing import observe
from longreach.nn.recurrent import Recurrent


def norms(network, steps, loss=lambda output: output[-1].sum()):
    """‖∂L/∂hₜ‖ for every t; the input is zero."""
    x = torch.zeros(steps, 1, 2, dtype=torch.float64)
    with observe(network) as seen:
        output, _ = network(x)
    loss(output).backward()
    (found,) = seen.values()
    return found.steps["h"][0]


def test_orthogonal_identity_keeps_every_norm_after_steps_of_the_optimiser():
    network = Recurrent(Orthogonal, 2, 6, activation="identity", dtype=torch.float64)
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    for _ in range(3):
        network(torch.randn(5, 4, 2, dtype=torch.float64))[0].square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    W = network.cells[0].weight_hh
    torch.testing.assert_close(W.T @ W, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-12)
    found = norms(network, 200)
    torch.testing.assert_close(found, torch.full_like(found, 6**0.5), rtol=1e-10, atol=0)


def test_a_leaky_unit_without_weights_keeps_1_minus_a_a_step():
    network = Recurrent(Leaky, 2, 4, a=0.1, dtype=torch.float64)
    with torch.no_grad():
        network.cells[0].weight_hh.zero_()
    lags = torch.arange(49, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(norms(network, 50), 2 * 0.9**lags)


def test_indrnn_keeps_the_power_of_u():
    network = Recurrent(IndRNN, 2, 1, activation="identity", dtype=torch.float64)
    u = network.cells[0].u.item()
    lags = torch.arange(29, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(norms(network, 30), u**lags)


def test_an_antisymmetric_step_is_near_a_rotation():
    """Eigenvalues of the Jacobian at h = 0: 1 - εγ ± iεω."""
    cell = Antisymmetric(2, 6, epsilon=0.1, gamma=0.01, bias=False, dtype=torch.float64)
    zero = torch.zeros(1, 6, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda h: cell(torch.zeros_like(h), h), zero).view(6, 6)
    values = torch.linalg.eigvals(jacobian)
    torch.testing.assert_close(values.real, torch.full((6,), 1 - 0.1 * 0.01, dtype=torch.float64))


def test_a_dilation_reaches_back_in_its_own_steps_alone():
    found = norms(Recurrent(Dilated, 2, 3, inner=Elman, lag=4, dtype=torch.float64), 14)
    assert [t for t, norm in enumerate(found.tolist()) if norm] == [1, 5, 9, 13]


def test_a_skip_connection_is_a_short_way():
    """With no other way, h₀ of 12 steps is four steps of 3 away."""
    network = Recurrent(Skip, 2, 3, inner=Elman, lag=3, dtype=torch.float64)
    cell = network.cells[0]
    with torch.no_grad():
        cell.inner.weight_hh.zero_()
        cell.inner.bias_ih.zero_()
        cell.inner.bias_hh.zero_()
        cell.weight_skip.copy_(0.5 * torch.eye(3))
    expected = [0.5**n * 3**0.5 if k == 0 else 0.0 for n, k in (divmod(12 - t, 3) for t in range(13))]
    torch.testing.assert_close(norms(network, 13), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("inner", [Elman, GRU])
def test_layer_norm_does_not_see_the_size_of_its_weights(inner):
    network = Recurrent(LayerNorm, 2, 4, inner=inner, dtype=torch.float64)
    x = 100 * torch.randn(5, 3, 2, dtype=torch.float64)
    start = 100 * torch.randn(1, 3, 4, dtype=torch.float64)
    first, _ = network(x[:1], start)
    with torch.no_grad():
        network.cells[0].inner.weight_hh.mul_(3)
        network.cells[0].inner.weight_ih.mul_(3)
    torch.testing.assert_close(network(x[:1], start)[0], first, rtol=1e-6, atol=1e-6)
