"""LR303 collapsed-weights: zeros, clones, shrunk matrices and matrices of one rank."""

from dataclasses import replace

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, record, weight

from longreach.diagnosis.collapsed_weights import collapsed_weights

ZERO = weight(size_start=0.0, size=0.0, rank_start=0.0, rank=0.0, clones=0.0)
CLONED = weight(rank_start=1.0, rank=1.0, clones=1.0)
ALIKE = weight(rank_start=0.0, size_start=0.0, rank=1.2, clones=0.5)
SHRUNK = weight(size=0.0099)
ONE_RANK = weight(rank=1.4)


def found(*weights, loss=CHANCE, chance=None):
    return collapsed_weights(replace(record(loss=loss), weights=weights, chance=chance))


@pytest.mark.parametrize(
    ("matrix", "kind", "severity"),
    [
        (ZERO, "zero", "critical"),
        (CLONED, "cloned", "critical"),
        (ALIKE, "alike from the start", "critical"),
        (SHRUNK, "shrunk", "warning"),
        (ONE_RANK, "of one rank", "warning"),
    ],
)
def test_fires(matrix, kind, severity):
    (finding,) = found(weight("other.weight"), matrix)
    assert (finding.code, finding.severity, finding.where) == ("LR303", severity, "fc.weight")
    assert finding.evidence["kind"] == kind
    assert found(matrix, loss=LEARNT) == ()


@pytest.mark.parametrize(
    "matrix",
    [
        weight(),
        weight(size=0.0101),
        weight(rank=1.6),
        weight(rank_start=3.9, rank=1.2),
        weight(clones=1 - 2e-6),
        weight(clones=1.0, rank=1.0, rank_start=1.0, shape=(1, 32)),
        replace(ALIKE, rank=1.6),  # began at zero, as residual branches do
        replace(ALIKE, shape=(32, 8)),  # LoRA
    ],
)
def test_silent(matrix):
    assert found(matrix) == ()


def test_where_a_little_is_learned_only_what_cannot_be_meant_counts():
    little = 0.17 / 0.7  # the run stands at 70 % of chance
    for matrix in (ZERO, CLONED, ALIKE):
        (finding,) = found(matrix, chance=little)
        assert finding.severity == "warning"
    assert found(SHRUNK, ONE_RANK, chance=little) == ()


def test_one_finding_for_all_matrices_the_gravest_kind_first():
    (finding,) = found(SHRUNK, replace(ZERO, parameter="a"), replace(ZERO, parameter="b"))
    assert finding.where == "a"
    assert finding.evidence["matrices"] == 2
    assert "The same holds for 1 more." in finding.summary
