"""Products by oneDNN are those of torch.mm, as exact, whatever lies how in memory."""

import pytest
import torch

from longreach.kernels import product as home
from longreach.kernels.product import NARROW, PIECE, product


@pytest.fixture(params=[True, False], ids=["onednn", "mkl"])
def either(request, monkeypatch):
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(home, "mkl_is_slow", lambda: request.param)


def error(found: torch.Tensor, true: torch.Tensor) -> float:
    return float((found.double() - true).square().mean().sqrt() / true.square().mean().sqrt())


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("inner", [1, NARROW, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, 5000])
@pytest.mark.parametrize("with_bias", [False, True])
def test_is_as_exact_as_torch(inner, with_bias):
    a, b, bias = torch.randn(70, inner), torch.randn(inner, 90), torch.randn(90) if with_bias else None
    true = a.double() @ b.double() + (0 if bias is None else bias.double())
    plain = a @ b if bias is None else a @ b + bias
    assert error(product(a, b, bias), true) <= 2 * error(plain, true) + torch.finfo(torch.float32).eps


@pytest.mark.usefixtures("either")
def test_of_parts_and_transposes():
    whole, other = torch.randn(1200, 300), torch.randn(1200, 64)
    true = whole[100:, ::2].double().t() @ other[100:].double()
    assert error(product(whole[100:, ::2].t(), other[100:]), true) < 1e-6
    assert error(product(other[100:].t(), whole[100:, ::2]), true.t()) < 1e-6


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(("rows", "inner", "columns"), [(0, 64, 64), (64, 0, 64), (64, 64, 0), (NARROW - 1, 600, 64)])
def test_of_nothing_and_of_little(rows, inner, columns):
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    torch.testing.assert_close(product(a, b), a @ b)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("inner", [64, 3 * PIECE])
def test_is_in_memory_of_its_own(inner):
    a, b = torch.randn(64, inner), torch.randn(inner, 64)
    kept = a.clone(), b.clone()
    product(a, b).fill_(torch.nan)
    assert torch.equal(a, kept[0])
    assert torch.equal(b, kept[1])


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so(odd):
    a, b = torch.ones(64, 2 * PIECE), torch.ones(2 * PIECE, 64)
    a[3, -1] = odd
    found = product(a, b)
    assert not found[3].isfinite().any()
    assert torch.equal(found[4], torch.full((64,), 2.0 * PIECE))


@pytest.mark.usefixtures("either")
def test_float64_is_torchs_own():
    a, b = torch.randn(100, 100, dtype=torch.float64), torch.randn(100, 100, dtype=torch.float64)
    assert torch.equal(product(a, b), a @ b)
