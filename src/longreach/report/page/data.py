"""Figures as data that a page can carry: numbers that JSON does not know, and text that must not become markup."""

import json
import math
from typing import Any

from longreach.plain import plain
from longreach.report.page.figure import Figure

DIGITS = 7  # of a number: all that a float32 has; more would only make the page larger
# In a script element nothing is escaped by the browser, so that "</script>" would end it; as JSON these mean the same.
ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


def figure_data(figure: Figure) -> dict[str, Any]:
    """A figure as JSON can hold it: what is not finite is None in traces, a gap, and a word in rows: "nan", "-inf"."""
    data = {name: getattr(figure, name) for name in ("name", "title", "look", "said")}
    return data | {
        "traces": _drawable(list(figure.traces)),
        "layout": _drawable(figure.layout),
        "columns": list(figure.columns),
        "rows": _rounded(plain([list(row) for row in figure.rows])),
    }


def as_json(value: Any) -> str:
    """JSON that can stand in a script element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(ESCAPES)


def _drawable(value: Any) -> Any:
    if isinstance(value, float):
        return _rounded(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _drawable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_drawable(entry) for entry in value]
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return value
