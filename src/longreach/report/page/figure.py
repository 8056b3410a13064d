"""One figure of the page: what is drawn, what to see in it, and the numbers behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A drawing that plotly.js makes in the reader's browser.

    name     unique on the page: letters, digits and hyphens; also the name of the CSV file
    title    what it shows, in few words
    look     one line: what to see in it, with this run's own numbers
    said     the same for those who cannot see it: what the axes are, how the curves run, where they end
    traces   plotly's traces, as plain data
    layout   plotly's layout, as plain data, with its height in pixels; fonts, colours and margins are the page's
    columns  headings of the numbers, with units
    rows     the numbers, one per point; NaN and infinities stay what they are, and become words by `plain`

    Text     title, look, said, columns and rows are plain text: the page escapes them. Text within traces and layout
             has been made safe for plotly already, which takes `<b>`, `<a href>` and entities for HTML (`text.shown`)
    Colours  are left to the page, for they differ in dark and light. A trace says what it is in `meta["role"]`; shapes
             and annotations of the layout say it as their `name`. The page sets the colours of line, marker, error
             bars and text, and of a fill the same, thinner:
               reach   how far gradients get: gain, reach
               need    what the data ask for
               signal  what the loss of this run sends back
               quiet   lines to compare with: thresholds, bands, zero, the horizon
               event   something that happened
               broken  NaN, infinities, what has no place on the axis
               main    the curve that a figure is about; of a proof, the winner
               beside  the one to compare it with: validation, the gradient as used, the control
               many    one of several curves of equal rank; `meta["place"]`, from 0, says which
               given   it has its colours, and keeps them: heat maps, and what lies on them
             No two traces of a figure are told apart by colour alone: dash, symbol, width or place differ, too.
    """

    name: str
    title: str
    look: str
    said: str
    traces: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
