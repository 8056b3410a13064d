"""Shapes in annotations are checked while the tests run; one thread, so that tests side by side do not fight."""

import pytest
import torch
from jaxtyping import install_import_hook

# left out is what torch.compile traces and what defines functions in there: their wrapping cannot be traced
KERNELS = ["longreach.kernels.reference", "longreach.kernels.walk"]
CELLS = [
    "longreach.nn.cell",
    "longreach.nn.cells",
    "longreach.nn.gates",
    "longreach.nn.inputgated",
    "longreach.testing",
]
install_import_hook(["longreach.probes", *KERNELS, *CELLS], "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
