"""The templates of the live page, beside those of the page of a run: every string escaped."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from longreach.report.page.html import HERE as PAGE
from longreach.report.page.text import number, shown

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent / "html"


@functools.cache
def templates() -> "Environment":
    """Those of this room, and those of the page of a run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader([HERE, PAGE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"shown": shown, "number": number}
    return found
