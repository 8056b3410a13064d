"""A bar on stderr for work that takes a while; nothing where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, *, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """Gives a function to be told the share that is done, in [0, 1]; the bar is gone after the block."""
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
