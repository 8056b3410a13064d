"""Shapes in annotations are checked while the tests run; one thread, so that tests side by side do not fight."""

import pytest
import torch
from jaxtyping import install_import_hook

# operators.py is left out: what torch.compile traces cannot be wrapped
install_import_hook(
    ["longreach.probes", "longreach.kernels.reference", "longreach.kernels.walk"],
    "beartype.beartype",
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
