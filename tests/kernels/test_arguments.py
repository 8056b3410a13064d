"""What does not fit is refused before any work, with what was expected, what came, and what to do."""

import re

import pytest
import torch
from tests.kernels.scans import GATES, problem

from longreach import kernels
from longreach.errors import ArgumentError

SCANS = {name: getattr(kernels, name) for name in GATES}


def zeros(*shape, **kind):
    return torch.zeros(shape, **{"dtype": torch.float64, **kind})


# of 9 steps, 4 sequences, 3 inputs, 5 units
WRONG = [
    ("gru", {"x": zeros(36, 3, dtype=torch.int64)}, "x: expected a floating-point type, got torch.int64"),
    ("gru", {"x": zeros(9, 4, 3)}, r"expected rows \[N, I\] and \[G, H\], got \[9, 4, 3\] and \[15, 5\]"),
    ("gru", {"x": zeros(36, 2)}, r"weight_ih: expected \[15, 2\] to go with x \[36, 2\], got \[15, 3\]"),
    (
        "gru",
        {"weight_ih": None},
        r"x: expected \[N, 15\], what 3 x 5 gates .* got \[36, 3\]; give weight_ih or project",
    ),
    ("gru", {"weight_hh": zeros(20, 5)}, r"weight_hh: expected \[15, 5\] to go with x \[36, 3\], got \[20, 5\]"),
    ("lstm", {"bias_ih": zeros(5)}, r"bias_ih: expected \[20\] .* got \[5\]"),
    ("lstm", {"bias_hh": zeros(20, 1)}, r"bias_hh: expected \[20\] .* got \[20, 1\]"),
    ("lstm", {"h0": zeros(4, 6)}, r"h0: expected \[4, 5\] .* got \[4, 6\]"),
    ("lstm", {"h0": zeros(5)}, r"h0: expected \[5, 5\] .* got \[5\]"),
    ("peephole", {"peephole": zeros(5)}, r"peephole: expected \[15\] .* got \[5\]"),
    ("lstm", {"c0": zeros(3, 5)}, r"c0: expected \[4, 5\] .* got \[3, 5\]"),
    (
        "lstm",
        {"c0": zeros(4, 5, dtype=torch.float32)},
        "c0: expected torch.float64 on cpu, .* got torch.float32 on cpu",
    ),
    ("lstm", {"h0": zeros(4, 5, device="meta")}, "h0: expected torch.float64 on cpu, .* got torch.float64 on meta"),
    ("cornn", {"weight_hh": zeros(5, 5)}, r"weight_hh: expected \[2, 4\] .* got \[5, 5\]"),
    ("lem", {"weight_z": zeros(5, 4)}, r"weight_z: expected \[5, 5\] .* got \[5, 4\]"),
    ("lem", {"z0": zeros(3, 5)}, r"z0: expected \[4, 5\] .* got \[3, 5\]"),
    ("tanh", {"x": zeros(35, 3)}, "x: expected a multiple of 4 rows, .* got 35; .* give batch_sizes"),
    ("tanh", {"h0": zeros(0, 5)}, "x: expected a multiple of 0 rows"),
    (
        "tanh",
        {"batch_sizes": zeros(9)},
        r"batch_sizes: expected int64 \[T\] on the CPU, .* got torch.float64 \[9\] on cpu",
    ),
    ("tanh", {"batch_sizes": torch.full((8,), 4)}, r"add up to 36, .* got \[4, 4, 4, 4, 4, 4, 4, 4\]"),
    ("tanh", {"batch_sizes": torch.tensor([3] * 12)}, r"to begin with 4, .* got \[3, 3, 3\] \.\.\. 3, 12 steps"),
    ("tanh", {"batch_sizes": torch.tensor([4, 1, *[4] * 7, 3])}, "never to rise"),
    ("tanh", {"batch_sizes": torch.tensor([*[4] * 9, 0])}, "to stay above 0"),
    ("tanh", {"resets": zeros(36)}, r"resets: expected bool \[36\] on cpu, .* got torch.float64 \[36\]"),
    ("tanh", {"resets": zeros(9, dtype=torch.bool)}, r"resets: expected bool \[36\] on cpu, .* got torch.bool \[9\]"),
    ("tanh", {"probe": zeros(2, 36)}, r"probe: expected \[1, 36\] .* got \[2, 36\]"),
    ("lstm", {"probe": zeros(1, 36)}, r"probe: expected \[2, 36\] .* got \[1, 36\]"),
    ("tanh", {"cut": -1}, "cut: expected a number of steps, or 0 for never, got -1"),
    ("tanh", {"clip": 0.0}, "clip: expected a norm above 0, or inf for never, got 0.0"),
    ("tanh", {"clip": float("nan")}, "clip: expected a norm above 0, or inf for never, got nan"),
    ("tanh", {"activation": "swish"}, "activation: expected one of tanh, relu, .*, identity, got 'swish'"),
    ("tanh", {"activation": "prelu"}, "slope: expected with prelu, .* got activation='prelu' and no slope"),
    ("tanh", {"slope": zeros(1)}, "slope: expected with prelu, .* got activation='tanh' and a slope"),
    ("prelu", {"slope": zeros(3)}, r"slope: expected \[5\] .* got \[3\]"),
]


@pytest.mark.parametrize(("name", "wrong", "message"), WRONG, ids=[message[:40] for _, _, message in WRONG])
def test_what_does_not_fit_is_named(name, wrong, message):
    given = problem(name, probed=False)
    with pytest.raises(ArgumentError, match=message) as raised:
        SCANS[given.family](**{**given.tensors, **given.options, **wrong})
    assert re.search("expected .*got ", str(raised.value))


def test_a_slope_of_another_type_is_refused():
    given = problem("leaky prelu", probed=False)
    with pytest.raises(ArgumentError, match=r"slope: expected torch\.float64 on cpu"):
        kernels.elman(**{**given.tensors, **given.options, "slope": zeros(1, dtype=torch.float32)})


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm"])
def test_lengths_are_asked_for_under_compile_too(name):
    torch.compiler.reset()
    given = problem(name, probed=False)
    compiled = torch.compile(SCANS[given.family], fullgraph=True, backend="aot_eager")
    with pytest.raises(ArgumentError, match="add up to 36"):
        compiled(**given.tensors, **given.options, batch_sizes=torch.full((8,), 4))
