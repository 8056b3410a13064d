"""Sentences for whoever watches the terminal."""

import os
import sys


def say(text: str) -> None:
    """A line on stderr; nothing where nobody listens."""
    if sys.stderr is None:  # closed by whoever started us
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # Nobody listens any more (`2>&1 | head`, a terminal that is gone), so there is nobody to tell; from here on to
        # nowhere, or Python's own last flush would fail as well and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
