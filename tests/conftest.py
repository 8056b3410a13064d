"""Shapes in annotations are checked while the tests run; one thread, so that tests side by side do not fight."""

import pytest
import torch
from jaxtyping import install_import_hook

# operators.py and recurrent.py are left out: what torch.compile traces cannot define functions that are wrapped
KERNELS = [f"longreach.kernels.{name}" for name in ("reference", "walk", "linear", "diagonal")]
CELLS = ["longreach.nn.cell", "longreach.nn.cells", "longreach.nn.gates", "longreach.testing"]
install_import_hook(["longreach.probes", *KERNELS, *CELLS], "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
