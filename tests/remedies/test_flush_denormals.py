"""Denormal numbers as zeros."""

import pytest
import torch

from longreach import remedies
from longreach.errors import NotApplicable
from longreach.remedies.flush_denormals import flush_denormals


@pytest.fixture(autouse=True)
def _as_before():
    yield
    torch.set_flush_denormal(False)


def tiny():
    return (torch.full((3,), 1e-30) * 1e-10).tolist()


def test_numbers_below_the_smallest_normal_one_are_zero_until_undone():
    denormal = tiny()
    assert all(number > 0 for number in denormal)
    assert flush_denormals(None) is None
    assert flush_denormals(None) is None
    assert remedies.applied(None) == ("flush-denormals",)
    assert tiny() == [0.0] * 3
    assert (torch.full((3,), 1e-20) * 1e-17).all()  # 1e-37 is normal
    remedies.undo(None)
    assert tiny() == denormal
    assert remedies.applied(None) == ()


def test_where_they_were_zero_before_undo_leaves_them():
    torch.set_flush_denormal(True)
    flush_denormals(None)
    remedies.undo(None)
    assert tiny() == [0.0] * 3


def test_a_processor_that_cannot(monkeypatch):
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: False)
    with pytest.raises(NotApplicable, match="flush-denormals: expected a processor that can take denormal numbers"):
        flush_denormals(None)
