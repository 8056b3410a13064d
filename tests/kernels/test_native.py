"""Every instruction set that this processor has, and the plain ones: the same numbers, whatever runs."""

import subprocess
import sys

import pytest
import torch
from tests.kernels.scans import FAMILIES, WALKS, assert_same, problem, results

from longreach import kernels
from longreach.kernels import native, reference

MODULES = native.modules()


@pytest.fixture(params=MODULES)
def module(request, monkeypatch):
    """The scans compiled for one instruction set, in the place of the best."""
    monkeypatch.setattr(native, "_best", lambda: MODULES[request.param])


@pytest.fixture(params=[1, 3])
def threads(request):
    torch.set_num_threads(request.param)


def check(name, **options):
    given = problem(name, **options)
    got, expected = results(getattr(kernels, given.family), given), results(getattr(reference, given.family), given)
    assert_same(got, expected, rtol=1e-9, atol=1e-9)


def test_the_portable_scans_are_always_there():
    assert "portable" in MODULES


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("module", "threads")
def test_every_instruction_set_agrees_with_the_reference(name, walk):
    check(name, **walk)


# hidden sizes around those of vectors and of panels of vectors; batches around those of tiles
@pytest.mark.parametrize(("batch", "hidden"), [(1, 1), (7, 8), (17, 33), (5, 65), (29, 17), (1, 130)])
@pytest.mark.parametrize("name", ["tanh", "leaky tanh", "gru", "peephole", "cornn", "lem"])
@pytest.mark.usefixtures("module")
def test_tiles_and_tails(name, batch, hidden):
    check(name, steps=3, batch=batch, hidden=hidden)


# sequences enough for the LSTM's scan to take the input in
MANY = {"lengths": [5] * 9 + [3] * 8 + [1] * 3}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("walk", [{}, {"reverse": True}, {"resets": True, "cut": 2, "clip": 0.3, "reverse": True}])
@pytest.mark.usefixtures("module")
def test_the_input_inside_the_scan(walk, bias):
    check("lstm", batch=20, inputs=4, hidden=7, bias=bias, **MANY, **walk)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("batch", [3, 20])
@pytest.mark.usefixtures("module")
def test_without_a_backward_pass_the_values_are_the_same(name, batch):
    given = problem(name, batch=batch, hidden=17, probed=False)
    scan, arguments = getattr(kernels, given.family), {**given.tensors, **given.options}
    with torch.no_grad():
        alone = scan(**arguments)
    expected = getattr(reference, given.family)(**arguments)
    torch.testing.assert_close(alone, expected, rtol=1e-9, atol=1e-9)


# float64 weights that no second-level cache holds: streamed; few sequences in tall tiles, more in wide ones
@pytest.mark.parametrize("batch", [3, 16, 31])
@pytest.mark.parametrize("name", ["tanh", "gru", "lstm", "cornn", "lem"])
@pytest.mark.usefixtures("module")
def test_weights_that_no_cache_holds(name, batch):
    hidden = {"tanh": 601, "gru": 349, "lstm": 301, "cornn": 426, "lem": 349}[name]
    check(name, steps=3, batch=batch, hidden=hidden)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ["tanh", "gru", "lstm", "cornn", "lem"])
def test_the_same_threads_give_the_same_bits(name, count):
    given = problem(name, batch=13, hidden=40)
    scan = getattr(kernels, given.family)
    alone = results(scan, given)
    torch.set_num_threads(count)
    once = results(scan, given)
    for _ in range(5):
        assert_same(results(scan, given), once, rtol=0, atol=0)
    assert_same(once, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.usefixtures("module")
def test_functions_of_one_variable_to_a_few_roundings(dtype):
    x = torch.cat([torch.linspace(-100, 100, 4001), torch.linspace(-1e-3, 1e-3, 101), torch.tensor([0.0])]).to(dtype)
    one, h0 = torch.zeros(1, 1, dtype=dtype), torch.zeros(len(x), 1, dtype=dtype)
    for activation in ("tanh", "sigmoid", "elu", "selu"):
        y, _ = kernels.elman(x[:, None], None, one, None, None, h0, activation=activation)
        truth = reference.ACTIVATIONS[activation](x.double() if dtype == torch.float32 else x)
        normal = truth.abs() >= torch.finfo(dtype).tiny  # the others are flushed
        error = (y[:, 0].double() - truth.double()).abs() / truth.double().abs()
        assert error[normal & (truth != 0)].max() <= 4 * torch.finfo(dtype).eps


@pytest.mark.usefixtures("module")
def test_denormal_numbers_are_flushed_inside_and_kept_outside():
    tiny = torch.tensor([1e-39])
    x, w = torch.full((4, 1), 1e-39), torch.eye(1)
    h, _ = kernels.elman(x, None, w, None, None, torch.zeros(1, 1), activation="identity")
    assert h.abs().max() == 0
    assert (tiny * 1.0).item() != 0


@pytest.mark.usefixtures("module")
def test_norms_do_not_underflow_where_the_gradient_does_not():
    given = problem("identity", steps=2, batch=1, hidden=4, dtype=torch.float32)
    probe = given.tensors["probe"].requires_grad_()
    tensors = {name: tensor for name, tensor in given.tensors.items() if name != "probe"}
    h, _ = kernels.elman(**tensors, probe=probe, activation="identity")
    h.backward(torch.full_like(h, 1e-30) * torch.tensor([[0.0], [1.0]]))
    assert probe.grad[0, 1].item() == pytest.approx(2e-30, rel=1e-6)


@pytest.mark.parametrize("real", [torch.float32, torch.float64])
@pytest.mark.usefixtures("threads")
def test_nan_and_infinity_flow_and_nothing_hangs(real):
    for bad in (float("nan"), float("inf"), -float("inf")):
        given = problem("lstm", dtype=real)
        given.tensors["x"][5, 1] = bad
        got, expected = results(kernels.lstm, given), results(reference.lstm, given)
        for name in ("output 0", "gradient of x"):
            torch.testing.assert_close(got[name], expected[name], equal_nan=True, rtol=1e-4, atol=1e-5)


WITHOUT = """
import sys, warnings
for name in ("avx512", "avx2", "portable"):
    sys.modules[f"longreach.kernels._{name}"] = None  # as if there had been no compiler
warnings.simplefilter("always")
import torch
from longreach import nn
with warnings.catch_warnings(record=True) as heard:
    layer, twin = nn.LSTM(3, 4), torch.nn.LSTM(3, 4)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(5, 2, 3)
    for _ in range(2):
        torch.testing.assert_close(layer(x)[0], twin(x)[0])
        nn.LSTM(3, 4, cut=2)(x)[0].sum().backward()
print([str(w.message) for w in heard if "longreach" in str(w.message)])
"""


def test_without_a_compiler_the_layers_are_right_and_say_once_that_they_are_slow():
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert ran.stdout.count("without its compiled scans") == 1
