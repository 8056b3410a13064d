"""Shapes in annotations are checked here too, and images to train on that are made up."""

import gzip

import numpy as np
import pytest
from jaxtyping import install_import_hook

install_import_hook("longreach.tasks", "beartype.beartype")


@pytest.fixture(scope="session")
def mnist(tmp_path_factory):
    """A folder with the four files of MNIST: 40 images to train on and 25 to test on, of random bytes."""
    folder, random = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for half, count in (("train", 40), ("t10k", 25)):
        write_idx(folder / f"{half}-images-idx3-ubyte.gz", random.integers(0, 256, (count, 28, 28)))
        write_idx(folder / f"{half}-labels-idx1-ubyte.gz", random.integers(0, 10, count))
    return folder


def write_idx(path, values):
    header = bytes([0, 0, 8, values.ndim]) + b"".join(length.to_bytes(4, "big") for length in values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))
