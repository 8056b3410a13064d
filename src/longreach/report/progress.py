"""A bar on stderr for work that takes a while; nothing where nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from longreach.report.live import Live


@contextmanager
def progress(what: str, *, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """Gives a function to be told the share that is done, in [0, 1]; the bar is gone after the block."""
    with Live(1.0, unit=False, quiet=not shown) as live:
        live.at(0.0, what)
        yield live.at
