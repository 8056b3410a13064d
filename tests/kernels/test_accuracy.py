"""The gate: a scan may be as wrong as torch's layer in the same type, twice over, both held against float64.

No tolerance is picked by hand. What is narrow is made first and then widened: all three see the same numbers. An error
is a root mean square over all entries: the largest of a few is the luck of one rounding. Draws count by the geometric
mean of their ratios: a draw whose scan is chaotic makes any rounding thousands of times larger, in either of the two.
"""

import math

import pytest
import torch
from tests.kernels.scans import problem, results
from torch import nn

from longreach import kernels
from longreach.kernels import reference

LAYERS = {
    "rnn tanh": (kernels.elman, nn.RNN, {"nonlinearity": "tanh"}, {"activation": "tanh"}),
    "rnn relu": (kernels.elman, nn.RNN, {"nonlinearity": "relu"}, {"activation": "relu"}),
    "gru": (kernels.gru, nn.GRU, {}, {}),
    "lstm": (kernels.lstm, nn.LSTM, {}, {}),
}
NAMES = ("h", "h_n", "c_n")


def with_gradients(run, layer, x, start, errors):
    """Everything that a layer gives, and the gradients of everything it was given."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, *layer.parameters(), *start)]
    x, *weights = leaves[: len(leaves) - len(start)]
    outputs = run(x, weights, leaves[len(leaves) - len(start) :])
    gradients = torch.autograd.grad(outputs, leaves, [error.to(x.dtype) for error in errors])
    names = ("x", *(name for name, _ in layer.named_parameters()), "h0", "c0")
    values = dict(zip(NAMES, outputs, strict=False))
    return values | {f"gradient of {name}": value for name, value in zip(names, gradients, strict=False)}


def torchs(layer):
    """torch's layer as a function of its weights, in their type."""

    def run(x, weights, start):
        state = tuple(entry[None] for entry in start)
        given = dict(zip(dict(layer.named_parameters()), weights, strict=True))
        y, end = torch.func.functional_call(layer, given, (x, state if len(state) == 2 else state[0]))
        return y.flatten(0, 1), *(entry[0] for entry in (end if len(state) == 2 else (end,)))

    return run


def ours(scan, options):
    return lambda x, weights, start: scan(x.flatten(0, 1), *weights, *start, **options)


def root_mean_square(draws):
    return float(torch.cat([draw.detach().double().flatten() for draw in draws]).square().mean().sqrt())


def draw(name, batch, inputs, hidden, steps, gain):
    """Ours, torch's, and the truth: values and gradients of one layer with random weights and inputs."""
    scan, kind, torch_options, options = LAYERS[name]
    layer = kind(inputs, hidden, **torch_options)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(gain)
    x = torch.randn(steps, batch, inputs)
    start = [torch.randn(batch, hidden) for _ in range(2 if name == "lstm" else 1)]
    errors = [torch.randn(steps * batch, hidden), *(torch.randn(batch, hidden) for _ in start)]
    mine = with_gradients(ours(scan, options), layer, x, start, errors)
    theirs = with_gradients(torchs(layer), layer, x, start, errors)
    layer, x, start = layer.double(), x.double(), [entry.double() for entry in start]
    return mine, theirs, with_gradients(torchs(layer), layer, x, start, errors)


@pytest.mark.parametrize("gain", [1.0, 0.3], ids=["as torch begins", "forgetful"])
@pytest.mark.parametrize("steps", [1, 2, 31, 257])
@pytest.mark.parametrize(("batch", "inputs", "hidden"), [(1, 3, 7), (5, 9, 33), (3, 17, 67)])
@pytest.mark.parametrize("name", LAYERS)
def test_no_more_than_twice_torchs_error(name, batch, inputs, hidden, steps, gain):
    assert_no_worse([draw(name, batch, inputs, hidden, steps, gain) for _ in range(5)])


def assert_no_worse(draws):
    """Of draws (ours, theirs, truth): that our error is, in the geometric mean over draws, at most twice theirs."""
    for key in draws[0][0]:
        ratios = []
        for ours, torchs, true in draws:
            mine, theirs = (root_mean_square([given[key] - true[key]]) for given in (ours, torchs))
            rounding = torch.finfo(torch.float32).eps * root_mean_square([true[key]])
            ratios.append((mine + rounding) / (theirs + rounding) if mine > theirs else 1.0)
        assert math.prod(ratios) <= 2.0 ** len(ratios), key


@pytest.mark.parametrize("steps", [2, 257])
@pytest.mark.parametrize(("batch", "inputs", "hidden"), [(5, 9, 33), (3, 17, 67)])
@pytest.mark.parametrize("name", ["peephole", "cornn", "lem"])
def test_no_more_than_twice_the_error_of_a_loop(name, batch, inputs, hidden, steps):
    """Where torch has no layer: against the reference, in the same type."""
    shape = {"steps": steps, "batch": batch, "inputs": inputs, "hidden": hidden, "dtype": torch.float32}
    draws = []
    for _ in range(5):
        given = problem(name, **shape)
        scan, loop = getattr(kernels, given.family), getattr(reference, given.family)
        draws.append((results(scan, given), results(loop, given), results(loop, given.to(torch.float64))))
    assert_no_worse(draws)
