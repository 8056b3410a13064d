"""The templates of the live page, beside those of the page of a run: every string escaped."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from longreach.report.page import html

if TYPE_CHECKING:
    from jinja2 import Environment

HERE, PAGE = Path(__file__).parent / "html", html.HERE


@functools.cache
def templates() -> "Environment":
    """Those of this room, and those of the page of a run."""
    from jinja2 import FileSystemLoader

    return html.templates().overlay(loader=FileSystemLoader([HERE, PAGE]))
