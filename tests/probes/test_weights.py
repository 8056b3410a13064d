"""Size, rank and sameness of matrices against singular values, and which matrices are looked at."""

import pytest
import torch
from torch import nn

import longreach
from longreach.probes.weights import measure
from longreach.quantities.weights import WeightSample


@pytest.mark.parametrize("shape", [(1, 5), (7, 1), (12, 9), (9, 12), (6, 2, 3, 3)])
def test_rank_and_size_are_those_of_the_singular_values(shape):
    weight = torch.randn(shape).double()
    energy = torch.linalg.svdvals(weight.flatten(1)) ** 2
    found = measure(weight, "w", 3)
    assert found.place == "w"
    assert found.step == 3
    assert found.rank == pytest.approx(float(energy.sum() ** 2 / energy.square().sum()), rel=1e-9)
    assert found.size == pytest.approx(float(weight.square().mean().sqrt()), rel=1e-9)


def test_the_rank_of_orthogonal_rows_is_their_number_whatever_their_size():
    for scale in (1e-30, 1.0, 1e30):
        found = measure(scale * torch.eye(5, 8, dtype=torch.float64), "w", 0)
        assert found.rank == pytest.approx(5)
        assert found.size == pytest.approx(scale / 8**0.5)


@pytest.mark.parametrize("turn", [False, True])
def test_clones_are_rows_or_columns_that_are_the_same(turn):
    one = torch.randn(1, 6).expand(4, 6)
    found = measure(one.T if turn else one, "w", 0)
    assert found.clones == pytest.approx(1)
    assert found.rank == pytest.approx(1)


def test_what_differs_by_a_hundredth_is_no_clone():
    weight = 1 + 0.01 * torch.randn(30, 30)
    assert 1 - 2e-4 < measure(weight, "w", 0).clones < 1 - 1e-6


def test_a_single_row_is_nobodys_clone():
    assert measure(torch.randn(1, 6), "w", 0).clones < 0.99


def test_zeros():
    found = measure(torch.zeros(3, 4), "w", 0)
    assert (found.size, found.rank, found.clones) == (0, 0, 0)


def test_large_matrices_are_thinned():
    assert measure(torch.randn(1000, 2000), "w", 0).shape == (63, 250)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.used, self.unused, self.frozen = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.frozen.requires_grad_(False)

    def forward(self, ids):
        return self.frozen(self.used(self.words(ids)))


def test_only_what_a_gradient_comes_to_is_looked_at():
    model = Mixed()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randint(5, (8,))).square().mean().backward()
            optimizer.step()
    assert set(watch.store.samples(WeightSample)) == {"used.weight"}
