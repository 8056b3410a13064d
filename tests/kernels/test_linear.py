"""The linear and the diagonal recurrence against a naive loop: values, every gradient, norms; and against theory."""

from functools import partial

import pytest
import torch
from tests.kernels.scans import LENGTHS, WALKS, fixed

from longreach.errors import ArgumentError
from longreach.kernels import native
from longreach.kernels.diagonal import SLOPES, diagonal, diagonal_scan
from longreach.kernels.linear import linear, linear_scan
from longreach.kernels.reference import ACTIVATIONS

H = 3


@pytest.fixture(autouse=True, params=["compiled", "plain"])
def _backend(request, monkeypatch):
    if request.param == "plain":  # what other devices get
        monkeypatch.setattr(native, "built", lambda: False)


def naive(step, x, start, *, batch_sizes=None, reverse=False, resets=None, cut=0, clip=torch.inf, seen=None):
    """One sequence and one step at a time; `seen` takes up the norms of dL/dh."""
    sizes = [len(start)] * (len(x) // len(start)) if batch_sizes is None else batch_sizes.tolist()
    first = [sum(sizes[:t]) for t in range(len(sizes))]
    rows, ends = [None] * len(x), []
    for b in range(len(start)):
        h = start[b]
        steps = [t for t, size in enumerate(sizes) if size > b]
        for n, t in enumerate(reversed(steps) if reverse else steps):
            row, edge = first[t] + b, t + 1 if reverse else t
            h = h.detach() if cut and n and edge % cut == 0 else h
            h = torch.zeros_like(h) if resets is not None and resets[row] else h
            h = h * 1
            if h.requires_grad and clip < torch.inf:
                h.register_hook(lambda grad: grad * (clip / grad.norm()).clamp(max=1))
            h = rows[row] = step(row, h)
            if h.requires_grad:
                h.register_hook(lambda grad, row=row: seen.__setitem__(row, grad.norm()))
        ends.append(h)
    return torch.stack(rows), torch.stack(ends)


def draw(*shape, dtype=torch.float64, scale=1.0):
    return (torch.randn(*shape, dtype=dtype) * scale).requires_grad_()


def walk_of(*, lengths=None, resets=False, steps=LENGTHS[0], **options):
    count = sum(lengths) if lengths else steps * len(LENGTHS)
    if lengths:
        options["batch_sizes"] = torch.tensor([sum(length > t for length in lengths) for t in range(max(lengths))])
    if resets:
        options["resets"] = torch.rand(count) < 0.3
    return count, options


def assert_same_with_gradients(run, twin, inputs, options, rows):
    probe, seen = torch.zeros(1, rows, dtype=torch.float64, requires_grad=True), torch.zeros(rows, dtype=torch.float64)
    results = []
    for outputs in (run(**options, probe=probe), twin(**options, seen=seen)):
        loss = sum((output * fixed(output.real).to(output.dtype)).sum().abs() for output in outputs)
        results.append([*outputs, *torch.autograd.grad(loss, inputs, retain_graph=True)])
        if probe.grad is None:
            probe.grad = torch.autograd.grad(loss, probe)[0]
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(probe.grad[0], seen, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("constant", [False, True], ids=["per step", "constant"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("walk", [*WALKS, "long", "long reverse cut"])
def test_linear_is_its_loop(walk, dtype, constant):
    long = {"steps": 37, "reverse": "reverse" in walk, "cut": 5 if "cut" in walk else 0}  # 6 blocks of 6 and a step
    rows, options = walk_of(**WALKS.get(walk, long))
    x, a = draw(rows, H, dtype=dtype), draw(*([] if constant else [rows]), H, dtype=dtype, scale=0.7)
    h0 = draw(len(LENGTHS), H, dtype=dtype)

    def step(row, h):
        return (a if constant else a[row]) * h + x[row]

    assert_same_with_gradients(
        lambda **options: linear(x, a, h0, **options),
        lambda **options: naive(step, x, h0, **options),
        (x, a, h0),
        options,
        rows,
    )


@pytest.mark.parametrize("activation", SLOPES)
@pytest.mark.parametrize("walk", WALKS)
def test_diagonal_is_its_loop(walk, activation):
    rows, options = walk_of(**WALKS[walk])
    x, u, h0 = draw(rows, H), draw(H), draw(len(LENGTHS), H)
    assert_same_with_gradients(
        lambda **options: diagonal(x, u, h0, activation=activation, **options),
        lambda **options: naive(lambda row, h: ACTIVATIONS[activation](u * h + x[row]), x, h0, **options),
        (x, u, h0),
        options,
        rows,
    )


def test_second_derivatives():
    x, a, u, h0 = draw(24, 2), draw(24, 2), draw(2), draw(2, 2)
    torch.autograd.gradcheck(linear, (x, a, h0))
    torch.autograd.gradgradcheck(linear, (x, a, h0))
    torch.autograd.gradgradcheck(lambda *given: diagonal(*given, activation="tanh"), (x, u, h0))


SCANS = [linear, diagonal, partial(diagonal, activation="tanh", reverse=True)]


def several(scan):
    """Four problems that share their factors."""
    factors = draw(24, 2) if scan is linear else draw(2)
    return (draw(4, 24, 2), factors, draw(4, 2, 2)), (0, None, 0)


@pytest.mark.parametrize("scan", SCANS)
def test_vmap_is_one_after_the_other(scan):
    (x, factors, h0), dims = several(scan)
    for got, *expected in zip(torch.vmap(scan, dims)(x, factors, h0), *map(scan, x, [factors] * 4, h0), strict=True):
        torch.testing.assert_close(got, torch.stack(expected))


@pytest.mark.parametrize("scan", SCANS)
def test_gradients_of_several_problems_at_once(scan):
    (x, factors, h0), dims = several(scan)
    got = torch.vmap(torch.func.grad(lambda *given: scan(*given)[0].square().sum(), (0, 1, 2)), dims)(x, factors, h0)
    each = [torch.autograd.grad(scan(x[n], factors, h0[n])[0].square().sum(), (x, factors, h0)) for n in range(4)]
    expected = (sum(one[0] for one in each), torch.stack([one[1] for one in each]), sum(one[2] for one in each))
    torch.testing.assert_close(got, expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")  # torch's own forward mode
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("cut", [0, 3])
def test_forward_derivatives_are_those_of_the_loop(scan, cut):
    (x, factors, h0), _ = several(scan)
    inputs = tuple(tensor.detach() for tensor in (x[0], factors, h0[0]))
    tangents = tuple(torch.randn_like(tensor) for tensor in inputs)

    def by_hand(x, factors, h0):
        f = {"relu": torch.relu, "tanh": torch.tanh}[getattr(scan, "keywords", {}).get("activation", "relu")]
        reverse = getattr(scan, "keywords", {}).get("reverse", False)

        def step(row, h):
            return factors[row] * h + x[row] if scan is linear else f(factors * h + x[row])

        return naive(step, x, h0, cut=cut, reverse=reverse)

    got = torch.func.jvp(partial(scan, cut=cut), inputs, tangents)
    torch.testing.assert_close(got, torch.func.jvp(by_hand, inputs, tangents))


@pytest.mark.parametrize("sizes", [None, torch.tensor([4, 4, 3, 3, 1])])
@pytest.mark.parametrize("reverse", [False, True])
def test_operators_are_what_torch_asks_of_operators(sizes, reverse):
    rows = 36 if sizes is None else int(sizes.sum())
    x, a, h0 = draw(rows, 2).detach(), draw(rows, 2).detach(), draw(4, 2).detach()
    torch.library.opcheck(linear_scan, (x, a, None, h0, sizes, reverse))
    torch.library.opcheck(diagonal_scan, (x, a, a / 2, h0, "elu", sizes, reverse))


def test_factors_of_zero_and_one_and_a_long_way_between_them():
    """hₜ = xₜ after a zero, the running sum with ones: exactly, where a quotient of products would be 0 / 0."""
    x = torch.arange(1.0, 10_001.0, dtype=torch.float64)[:, None]
    a = torch.ones_like(x)
    h, _ = linear(x, a, torch.zeros(1, 1, dtype=torch.float64))
    assert torch.equal(h, x.cumsum(0))
    a[5_000:] = 1e-200
    a[7_000] = 0.0
    h, _ = linear(x, a, torch.zeros(1, 1, dtype=torch.float64))
    assert torch.equal(h[5_001:], x[5_001:])


def test_a_gradient_falls_as_the_power_of_the_factor():
    x = torch.zeros(200, 1, dtype=torch.float64, requires_grad=True)
    h, _ = linear(x, torch.full((1,), 0.9, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))
    h[-1].sum().backward()
    torch.testing.assert_close(
        x.grad[:, 0], 0.9 ** torch.arange(199.0, -1, -1, dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_unknown_activation():
    with pytest.raises(ArgumentError, match=r"activation: expected one of tanh, relu, .*, got 'softmax'"):
        diagonal(torch.zeros(2, 1), torch.zeros(1), torch.zeros(1, 1), activation="softmax")
