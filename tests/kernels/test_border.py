"""Reports and clips of a gradient between two steps."""

import pytest
import torch
from torch import Tensor

from longreach.kernels import border


def test_nothing_asked_for_adds_nothing():
    h = torch.randn(3, 4, requires_grad=True)
    assert border.report(h, None) is h
    assert border.clip((h,), float("inf"))[0] is h


def test_report_gives_the_norm_of_all_that_arrives():
    h, probe = torch.randn(3, 4, requires_grad=True), torch.zeros(3, requires_grad=True)
    seen = border.report(h, probe)
    (seen.sin().sum() + (3 * seen).sum()).backward()
    torch.testing.assert_close(h.grad, h.cos() + 3)
    torch.testing.assert_close(probe.grad, h.grad.norm(dim=1))


def test_clip_scales_the_rows_of_all_states_together():
    h, c = torch.randn(3, 4, requires_grad=True), torch.randn(3, 2, 5, requires_grad=True)
    error = torch.tensor([0.01, 1.0, 100.0])
    handed = border.clip((h, c), 0.5)
    sum((entry.flatten(1).sum(1) * error).sum() for entry in handed).backward()
    norms = torch.cat((h.grad, c.grad.flatten(1)), dim=1).norm(dim=1)
    torch.testing.assert_close(norms, (error * 14**0.5).clamp(max=0.5))
    torch.testing.assert_close(h.grad[1], c.grad[1, 0, :4])  # its direction is kept


@pytest.mark.parametrize(
    ("rows", "norms"),
    [
        ([3e-30, 4e-30], 5e-30),
        ([3e30, -4e30], 5e30),
        ([0.0, 0.0], 0.0),
        ([float("inf"), 1.0], float("inf")),
        ([float("nan"), 1.0], float("nan")),
    ],
)
def test_row_norms_neither_underflow_nor_overflow(rows, norms):
    torch.testing.assert_close(
        border.row_norms(torch.tensor([rows])), torch.tensor([norms]), atol=0, rtol=1e-6, equal_nan=True
    )


def test_row_norms_of_complex_states():
    torch.testing.assert_close(border.row_norms(torch.tensor([[3j, 4 + 0j]])), torch.tensor([5.0]))


def both(h: Tensor, c: Tensor, probe: Tensor, largest: float = 0.5) -> Tensor:
    h, c = border.clip((h, c), largest)
    h = border.report(h, probe)
    return (h.sin() * c).sum()


def arguments() -> tuple[Tensor, ...]:
    return torch.randn(3, 4).double(), torch.randn(3, 4).double(), torch.zeros(3).double()


def test_gradients_and_norms_have_gradients_where_nothing_is_clipped():
    h, c, probe = (tensor.requires_grad_() for tensor in arguments())

    def first(h, c):
        return torch.autograd.grad(both(h, c, probe, 1e6), (h, c, probe), create_graph=True)

    torch.autograd.gradcheck(first, (h, c))


def test_vmap_of_the_gradient_is_a_gradient_for_each():
    many = [torch.stack([tensor, 2 * tensor, -tensor]) for tensor in arguments()]
    gradient = torch.func.grad(both, argnums=(0, 1, 2))
    got = torch.func.vmap(gradient)(*many)
    each = [gradient(*(tensor[n] for tensor in many)) for n in range(3)]
    torch.testing.assert_close(got, tuple(torch.stack(column) for column in zip(*each, strict=True)))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
def test_compiles_without_a_graph_break():
    leaves = [tensor.requires_grad_() for tensor in arguments()]
    expected = torch.autograd.grad(both(*leaves), leaves)
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)


def test_clips_a_state_of_one_number_and_one_without_a_gradient():
    h, age = torch.ones(3, 4, dtype=torch.float64, requires_grad=True), torch.ones(3, dtype=torch.float64)
    number = torch.ones(3, dtype=torch.float64, requires_grad=True)
    clipped = border.clip((h, age, number), 1.0)
    (clipped[0].sum() + 2 * clipped[2].sum() + clipped[1].sum()).backward()
    # 4 ones, a one that nobody wants, and a two: 9 in squares
    torch.testing.assert_close(h.grad, torch.full_like(h, 1 / 3))
    torch.testing.assert_close(number.grad, torch.full_like(number, 2 / 3))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
def test_compiles_from_a_start_without_a_gradient():
    weight = torch.ones(4, dtype=torch.float64, requires_grad=True)
    start = torch.ones(3, 4, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)

    def steps(weight):
        h, age = start
        for _ in range(2):
            h, age = border.clip((h, age), 0.1)
            h, age = torch.tanh(weight * h) + age, age + 1
        return h.sum()

    compiled = torch.compile(steps, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        torch.autograd.grad(compiled(weight), weight), torch.autograd.grad(steps(weight), weight)
    )
