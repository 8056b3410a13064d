"""Each check of longreach.testing finds the fault it is there for, and a user's cell that has none passes."""

import jaxtyping
import pytest
import torch
from torch import nn

from longreach import testing
from longreach.kernels import elman
from longreach.nn.cell import Cell
from longreach.nn.cells import Elman
from longreach.testing import Case, check_cell


class Echo(Cell):
    """The cell of the page on how to write one."""

    def __init__(self, input_size, hidden_size, *, device=None, dtype=None):
        super().__init__(hidden_size)
        self.U = nn.Parameter(torch.randn(hidden_size, input_size, device=device, dtype=dtype))
        self.w = nn.Parameter(torch.ones((), device=device, dtype=dtype))

    def forward(self, x, h):
        return torch.tanh(x @ self.U.T + self.w * h)


class Pair(Echo):
    """A state that is a plain tuple."""

    def start(self, batch, *, like):
        return like.new_zeros(batch, self.hidden_size), like.new_zeros(batch)

    def forward(self, x, state):
        h, total = state
        h = super().forward(x, h) + 0.1 * total[:, None]
        return h, total + h.sum(1)


@pytest.fixture(autouse=True)
def _as_for_users(monkeypatch):
    """Annotations unchecked: what checks them cannot be traced by torch.compile."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("cell", [Echo, Pair])
def test_a_users_cell_passes(cell):
    check_cell(cell, input_size=3, hidden_size=2)


def test_a_twin_is_compared():
    def twin(cell):
        return lambda x: torch.stack([h.cumsum(0) for h in (x @ cell.U.T).unbind(1)], 1)

    with pytest.raises(AssertionError, match="output of the cell and of its twin"):
        check_cell(Echo, twin=twin)


class Narrow(Echo):
    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **{**options, "dtype": torch.float32})


class Severed(Echo):
    def forward(self, x, h):
        return super().forward(x, h.detach())


class Sociable(Echo):
    def forward(self, x, h):
        return super().forward(x, h + h.mean(0))


class Foreseeing(Echo):
    def project(self, x):
        return x - x.mean(0)


class Forgetful(Echo):
    def forward(self, x, h):
        return super().forward(x, torch.zeros_like(h))


class Secretive(Echo):
    """Part of the state is kept in the cell."""

    steps = 0

    def forward(self, x, h):
        self.steps += 1
        return super().forward(x, h) / self.steps


class Restless(Echo):
    """Draws at every step from a generator that torch does not know of when it recomputes."""

    def forward(self, x, h):
        self.generator = getattr(self, "generator", torch.Generator().manual_seed(0))
        return super().forward(x, h) + torch.rand(h.shape, generator=self.generator) * self.training


class Unpicklable(Echo):
    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.f = lambda x: x


class Squeezing(Echo):
    def forward(self, x, h):
        return super().forward(x, h).squeeze(0)


class Compact(Echo):
    def forward(self, x, h):
        return super().forward(x, h.view(-1).view(h.shape))


class Soothing(Echo):
    def forward(self, x, h):
        return super().forward(x.nan_to_num(), h)


class Untraceable(Echo):
    def forward(self, x, h):
        return super().forward(x, h if h.sum() > 0 else 2 * h)


class Careless(Elman):
    """A scan that knows of no keyword but the layout."""

    ignored = ("resets", "cut", "clip")

    def scan(self, x, state, **steps):
        kept = {name: value for name, value in steps.items() if name not in self.ignored}
        return elman(x, *self.weights(), state, **kept)


class Boasting(Elman):
    """Norms that are twice what they are."""

    def scan(self, x, state, **steps):
        probe = steps.pop("probe")
        return super().scan(x, state, **steps, probe=None if probe is None else probe * 2)


class Overclipped(Elman):
    def scan(self, x, state, **steps):
        return super().scan(x, state, **{**steps, "clip": min(steps["clip"], 1e-3)})


class OneWay(Elman):
    def scan(self, x, state, **steps):
        return super().scan(x, state, **{**steps, "reverse": False})


class Wide(Echo):
    """A state in another shape than its start."""

    def start(self, batch, *, like):
        return like.new_zeros(batch, 1)


class Batchless(Echo):
    """Its output joins two rows."""

    def output(self, state):
        return state[::2]


FAULTS = [
    (Wide, "keeps_the_shape_of_its_state", r"expected an entry of the state of \(3, 1\) after a step, got \(3, 4\)"),
    (Batchless, "gives_the_shapes_it_promises", "is invalid for input of size"),
    (Squeezing, "takes_odd_sizes", "same number of dimensions"),
    (Compact, "takes_strided_input", "view size is not compatible"),
    (Narrow, "keeps_dtype", "expected so of cells.0.U"),
    (Severed, "gradient_agrees_with_finite_differences", "finite differences: .*Jacobian mismatch"),
    (Sociable, "packed_sequences_are_sequences_alone", "sequence 0 packed and alone"),
    (Foreseeing, "packed_is_padded_and_masked", "padded and masked"),
    (Sociable, "rows_do_not_see_each_other", "expected no sequence to see another"),
    (Foreseeing, "does_not_see_the_future", "expected no step to see a later one"),
    (Forgetful, "sees_the_past", "expected the last output to depend on earlier inputs"),
    (Secretive, "chunks_are_the_whole", "whole and in chunks"),
    (Careless, "cutting_is_detaching", "cut=2"),
    (Careless, "resets_are_separate_sequences", "with resets, and separate"),
    (Restless, "recomputes_what_it_did_not_keep", "with and without checkpoint_every"),
    (Unpicklable, "survives_copies", "deepcopy and pickle: expected no error"),
    (Soothing, "lets_nan_flow", "expected NaN at its step"),
    (Untraceable, "compiles_whole", "fullgraph"),
    (Careless, "scan_agrees_with_step", "the scan and the loop over the step"),
    (OneWay, "backwards_is_the_flipped_sequence", "the first of a flipped sequence"),
    (Overclipped, "clipping_binds_what_a_step_sends_back", "clipped by hand"),
    (Boasting, "norms_are_those_of_retained_gradients", "norms of the gradients of h"),
]


@pytest.mark.parametrize(("cell", "check", "message"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_is_found(cell, check, message):
    with pytest.raises((AssertionError, RuntimeError), match=message):
        getattr(testing, check)(Case(cell))


def test_every_check_is_tried():
    checks = {check.__name__ for check in (*testing.OF_NETWORKS, *testing.OF_CELLS)}
    assert checks == {check for _, check, _ in FAULTS} | {"agrees_with_its_twin"}
