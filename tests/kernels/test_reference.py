"""The specification against torch's layers, against a naive twin, and against theory."""

import pytest
import torch
from tests.kernels import naive
from tests.kernels.scans import FAMILIES, LENGTHS, STATES, WALKS, WEIGHTS, assert_same, fixed, problem, results
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from longreach.kernels import reference

TORCH = {
    "tanh": lambda: nn.RNN(3, 5, bidirectional=True),
    "relu": lambda: nn.RNN(3, 5, bidirectional=True, nonlinearity="relu"),
    "gru": lambda: nn.GRU(3, 5, bidirectional=True),
    "lstm": lambda: nn.LSTM(3, 5, bidirectional=True),
}


def scan(family):
    return getattr(reference, family)


@pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
@pytest.mark.parametrize("name", TORCH)
def test_both_directions_are_those_of_torchs_layer(name, packed):
    layer = TORCH[name]().double()
    family, options = FAMILIES[name]
    x = torch.randn(LENGTHS[0], len(LENGTHS), 3, dtype=torch.float64)
    start = tuple(torch.randn(2, len(LENGTHS), 5, dtype=torch.float64) for _ in range(1 + (family == "lstm")))
    sequences = pack_padded_sequence(x, torch.tensor(LENGTHS)) if packed else x
    output, ends = layer(sequences, start if family == "lstm" else start[0])
    rows, sizes = (sequences.data, sequences.batch_sizes) if packed else (x.flatten(0, 1), None)
    output, ends = output.data if packed else output.flatten(0, 1), ends if family == "lstm" else (ends,)
    gradients = torch.autograd.grad((output * fixed(output)).sum(), list(layer.parameters()))

    both = []
    for direction, suffix in enumerate(("", "_reverse")):
        weights = [getattr(layer, f"{weight}_l0{suffix}") for weight in WEIGHTS]
        options = {**options, "batch_sizes": sizes, "reverse": bool(direction)}
        h, *end = scan(family)(rows, *weights, *(entry[direction] for entry in start), **options)
        both.append(h)
        for got, expected in zip(end, ends, strict=True):
            torch.testing.assert_close(got, expected[direction])
    ours = torch.cat(both, dim=1)
    torch.testing.assert_close(ours, output)
    torch.testing.assert_close(torch.autograd.grad((ours * fixed(ours)).sum(), list(layer.parameters())), gradients)


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_values_gradients_and_norms_are_those_of_the_naive_twin(name, walk):
    given = problem(name, **WALKS[walk])
    assert_same(results(scan(given.family), given), results(naive.scan(given.family), given))


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm", "cornn", "lem"])
def test_without_biases_and_with_an_input_that_is_projected_already(name):
    for options in (
        {"bias": False},
        {"projected": True},
        {"projected": True, "bias": False},
        {"hidden": 1, "inputs": 1},
    ):
        given = problem(name, **options)
        assert_same(results(scan(given.family), given), results(naive.scan(given.family), given))


@pytest.mark.parametrize("name", ["leaky prelu", "gru", "peephole", "cornn", "lem"])
def test_gradients_of_first_and_second_order_agree_with_finite_differences(name):
    given = problem(name, steps=3, batch=2, inputs=2, hidden=2, probed=False)
    names = list(given.tensors)

    def run(*tensors):
        return scan(given.family)(**dict(zip(names, tensors, strict=True)), **given.options)

    tensors = [tensor.requires_grad_() for tensor in given.tensors.values()]
    torch.autograd.gradcheck(run, tensors)
    torch.autograd.gradgradcheck(run, tensors)


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm", "cornn", "lem"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_clipped_pass_in_chunks_is_the_clipped_pass(name, reverse):
    given = problem(name, steps=6, batch=3, clip=0.3, probed=False, reverse=reverse)
    chunks = scan_in_chunks(given.family, rows=9, reverse=reverse)
    assert_same(results(chunks, given), results(scan(given.family), given))


def scan_in_chunks(family, *, rows, reverse):
    def run(x, **options):
        parts, state = [], [options.pop(name) for name in STATES[family]]
        chunks = x.split(rows)
        for chunk in reversed(chunks) if reverse else chunks:
            h, *state = scan(family)(x=chunk, **dict(zip(STATES[family], state, strict=True)), **options)
            parts.append(h)
        return torch.cat(parts[::-1] if reverse else parts), *state

    return run


def test_resets_begin_a_sequence_of_its_own():
    given = problem("lstm", steps=7, batch=1, probed=False)
    weights = [given.tensors[name] for name in WEIGHTS]
    x, h0, c0 = (given.tensors[name] for name in ("x", "h0", "c0"))
    resets = torch.tensor([False, False, False, True, False, False, False])
    h, h_n, c_n = reference.lstm(x, *weights, h0, c0, resets=resets)
    first, _, _ = reference.lstm(x[:3], *weights, h0, c0)
    second, *end = reference.lstm(x[3:], *weights, torch.zeros_like(h0), torch.zeros_like(c0))
    torch.testing.assert_close(h, torch.cat((first, second)))
    torch.testing.assert_close([h_n, c_n], end)


@pytest.mark.parametrize("reverse", [False, True])
def test_norms_of_a_linear_network_are_powers_of_its_gain(reverse):
    """W = r Q with Q orthogonal: what is sent back from one end arrives k steps away with rᵏ of its norm."""
    steps, gain = 12, 1e-5
    q, _ = torch.linalg.qr(torch.randn(4, 4))
    probe = torch.zeros(1, 2 * steps, requires_grad=True)
    zero = torch.zeros(2, 4)
    h, _ = reference.elman(
        torch.randn(2 * steps, 4), None, gain * q, None, None, zero, activation="identity", reverse=reverse, probe=probe
    )
    error = torch.randn(2, 4)
    (h.view(steps, 2, 4)[0 if reverse else -1] * error).sum().backward()
    lags = torch.arange(steps, dtype=torch.float64)
    expected = error.double().norm(dim=1) * gain ** (lags if reverse else lags.flip(0))[:, None]
    norms = probe.grad.view(steps, 2).double()
    normal = expected > 1e-37  # float32 ends there; the squares end at 1e-19, lag 4
    assert normal.sum() >= 14
    torch.testing.assert_close(norms[normal], expected[normal], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm", "cornn", "lem"])
@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
def test_without_steps_or_sequences_the_state_is_handed_through(name, steps, batch):
    given = problem(name, steps=steps, batch=batch)
    for sizes in (None, torch.full((steps if batch else 0,), batch)):
        h, *end = scan(given.family)(**given.tensors, **given.options, batch_sizes=sizes)
        assert h.shape == (steps * batch, 5)
        torch.testing.assert_close(end, [given.tensors[key] for key in STATES[given.family]])


@pytest.mark.parametrize("name", ["tanh", "relu", "gru", "lstm"])
def test_nan_flows_along_its_own_sequence_alone(name):
    given = problem(name, steps=5, batch=2)
    given.tensors["x"][4] = float("nan")  # step 2 of sequence 0
    h, *_ = scan(given.family)(**given.tensors, **given.options)
    assert torch.equal(h.view(5, 2, -1).isnan().any(2).nonzero(), torch.tensor([[2, 0], [3, 0], [4, 0]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["tanh", "prelu", "gru", "lstm"])
def test_halves_are_computed_in_float32_and_rounded_once(name, dtype):
    given = problem(name, dtype=dtype)
    got, wide = results(scan(given.family), given), results(scan(given.family), given.to(torch.float32))
    for key in (key for key in got if key.startswith("output")):
        assert torch.equal(got[key], wide[key].to(dtype)), key
