"""Text from elsewhere made fit for a page: escaped, on one line, short, with the whole where a mouse rests."""

import math

from markupsafe import Markup, escape

from longreach.report.words import safe

LONGEST = 160  # characters of a name or an argument; a sentence may have more
WHOLE = 1000  # of what a mouse can bring up


def shown(text: object, longest: int = LONGEST) -> Markup:
    """Text that steers neither browser nor writing direction; of what is too long the beginning, the whole as title."""
    short, whole = safe(text, longest), safe(text, max(longest, WHOLE))
    if short == whole:
        return escape(short)
    return Markup('<span title="{}">{}…</span>').format(whole, short)


def brief(text: object, longest: int = LONGEST) -> str:
    """The same for an attribute, or where nothing can be brought up: without the rest."""
    short = safe(text, longest)
    return short if short == safe(text, longest + 1) else f"{short}…"


def number(value: object) -> str:
    """A value of a table: numbers to four digits, nothing as "none"."""
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
