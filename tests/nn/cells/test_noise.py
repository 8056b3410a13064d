"""Cells that draw, or look at the batch, while they train."""

import pytest
import torch

from longreach.nn.cells import GRU, LSTM, BatchNorm, Elman, Leaky, Variational, Zoneout
from longreach.nn.recurrent import Recurrent


def sequence(steps=6, batch=5, features=3):
    return torch.randn(steps, batch, features, dtype=torch.float64)


def weights_into(inner, plain):
    plain.load_state_dict(inner.state_dict())
    return plain


def test_zoneout_of_all_and_of_nothing():
    x = sequence()
    frozen = Recurrent(Zoneout, 3, 4, inner=LSTM, rate=1.0, dtype=torch.float64)
    assert not frozen(x)[0].any()
    free = Recurrent(Zoneout, 3, 4, inner=LSTM, rate=0.0, dtype=torch.float64)
    plain = Recurrent(LSTM, 3, 4, dtype=torch.float64)
    weights_into(free.cells[0].inner, plain.cells[0])
    torch.testing.assert_close(free(x)[0], plain(x)[0])


def test_zoneout_keeps_a_share_of_the_units_anew_at_every_step():
    network = Recurrent(Zoneout, 3, 200, inner=GRU, rate=0.3, dtype=torch.float64)
    output, _ = network(sequence(20))
    kept = output[1:] == output[:-1]
    assert 0.29 < kept.double().mean() < 0.31
    assert 0.08 < (kept[1:] & kept[:-1]).double().mean() < 0.1  # 0.3², if steps do not know of each other


def test_zoneout_in_evaluation_is_the_leaky_integrator():
    network = Recurrent(Zoneout, 3, 4, inner=Elman, rate=0.3, dtype=torch.float64).eval()
    leaky = Recurrent(Leaky, 3, 4, a=0.7, dtype=torch.float64)
    weights_into(network.cells[0].inner, leaky.cells[0])
    x = sequence()
    torch.testing.assert_close(network(x)[0], leaky(x)[0])


@pytest.mark.parametrize("inner", [Elman, GRU, LSTM])
def test_variational_masks_are_one_for_a_sequence(inner):
    """A twin with weights of its own for every sequence: columns of dropped units are zero, the others twice."""
    network = Recurrent(Variational, 3, 4, inner=inner, p_input=0.5, p_state=0.5, dtype=torch.float64)
    x = sequence(batch=2)
    torch.manual_seed(7)
    output, _ = network(x)
    torch.manual_seed(7)
    of_input = torch.empty(2, 3, dtype=torch.float64).bernoulli_(0.5) * 2
    of_state = torch.empty(2, 4, dtype=torch.float64).bernoulli_(0.5) * 2
    for b in range(2):
        plain = Recurrent(inner, 3, 4, dtype=torch.float64)
        weights_into(network.cells[0].inner, plain.cells[0])
        with torch.no_grad():
            plain.cells[0].weight_ih.mul_(of_input[b])
            plain.cells[0].weight_hh.mul_(of_state[b])
        torch.testing.assert_close(plain(x[:, b])[0], output[:, b])


def test_variational_in_evaluation_is_the_inner_cell():
    network = Recurrent(Variational, 3, 4, inner=GRU, dtype=torch.float64).eval()
    plain = Recurrent(GRU, 3, 4, dtype=torch.float64)
    weights_into(network.cells[0].inner, plain.cells[0])
    x = sequence()
    torch.testing.assert_close(network(x)[0], plain(x)[0])


def by_batch(module, a):
    mean = sum(a) / len(a)
    return module.weight * (a - mean) / torch.sqrt(sum((a - mean) ** 2) / len(a) + 1e-5)


def test_batch_norm_in_training_takes_the_statistics_of_the_step():
    network = Recurrent(BatchNorm, 3, 4, inner=LSTM, max_length=6, dtype=torch.float64)
    cell, x = network.cells[0], sequence().requires_grad_()
    h = c = torch.zeros(5, 4, dtype=torch.float64)
    expected = []
    for step in x:
        from_x, from_h = (
            by_batch(cell.norm_x, step @ cell.inner.weight_ih.T),
            by_batch(cell.norm_h, h @ cell.inner.weight_hh.T),
        )
        i, f, g, o = (from_x + from_h + cell.bias).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(by_batch(cell.norm_c, c) + cell.bias_c)
        expected.append(h)
    output, _ = network(x)
    torch.testing.assert_close(output, torch.stack(expected))
    of_twin = torch.autograd.grad(torch.stack(expected).square().sum(), [x, *network.parameters()])
    torch.testing.assert_close(torch.autograd.grad(output.square().sum(), [x, *network.parameters()]), of_twin)


def test_batch_norm_averages_the_statistics_of_each_step_once():
    """With recomputation too; steps behind the last go into the last."""
    x = sequence()
    for every in (0, 2):
        network = Recurrent(BatchNorm, 3, 4, inner=Elman, max_length=4, checkpoint_every=every, dtype=torch.float64)
        network(x)[0].sum().backward()
        norm, weight = network.cells[0].norm_x, network.cells[0].inner.weight_ih
        mean = torch.zeros(4, 4, dtype=torch.float64)
        var = torch.ones(4, 4, dtype=torch.float64)
        for t, step in enumerate(x @ weight.detach().T):
            t = min(t, 3)
            mean[t] = 0.9 * mean[t] + 0.1 * step.mean(0)
            var[t] = 0.9 * var[t] + 0.1 * step.var(0)
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, var)


def test_batch_norm_goes_on_counting_in_the_next_chunk():
    network = Recurrent(BatchNorm, 3, 4, inner=Elman, max_length=9, dtype=torch.float64)
    x = sequence()
    _, state = network(x[:4])
    assert state.age.tolist() == [[[4.0]] * 5]
    network(x[4:], state)
    moved = (network.cells[0].norm_x.running_mean != 0).any(1).tolist()
    assert moved == [True] * 6 + [False] * 3


def test_a_sequence_alone_takes_running_statistics():
    network = Recurrent(BatchNorm, 3, 4, inner=Elman, max_length=9, dtype=torch.float64)
    network(sequence())
    x = sequence(batch=1)
    alone, _ = network(x)
    torch.testing.assert_close(alone, network.eval()(x)[0])
