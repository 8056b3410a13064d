from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.view.serving import Served


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts servers, and stops them when the test is over."""
    started: list[Served] = []

    def serve(folder: Path, **how) -> Served:
        started.append(Served(folder, **how))
        return started[-1]

    yield serve
    for one in started:
        one.stop()
