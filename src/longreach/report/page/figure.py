"""One figure of the page: what is drawn, what to see in it, and the numbers behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROLES = ("reach", "need", "beyond", "limit", "alarm", "good", "ink", "muted", "grid", "paper")  # colours: page.css


@dataclass(frozen=True)
class Figure:
    """A drawing that plotly.js makes in the reader's browser.

    name     unique on the page: letters, digits and hyphens; also the name of the CSV file
    title    what it shows, in few words
    look     one line: what to see in it, with this run's own numbers
    said     the same for those who cannot see it: what the axes are, how the curves run, where they end
    traces   plotly's traces, as plain data
    layout   plotly's layout, as plain data; fonts and margins are the page's
    Colours  by what they stand for, so that they follow the reader's theme: a value under a key that ends in "color"
             may be one of ROLES, or "reach/0.2" to let a fifth of it show; without a colour a trace gets the next one
             of the page's series
    columns  headings of the numbers, with units
    rows     the numbers, one per point
    """

    name: str
    title: str
    look: str
    said: str
    traces: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
