"""What a stream can show: how wide, in colours or not, which letters, and whether a line may be drawn over."""

import os
from dataclasses import dataclass
from typing import Self, TextIO

NARROWEST, WIDEST, USUAL = 40, 100, 80  # columns; beyond the widest, lines of prose become hard to read
NO_TERMINAL = ("dumb", "unknown")  # values of TERM for what shows letters and no more


@dataclass(frozen=True)
class Screen:
    """How to write for somebody.

    width    columns that a line may have
    color    with ANSI escapes for colours
    ascii    nothing but ASCII, for terminals that can show no more
    redraws  a line may be drawn over: somebody watches
    """

    width: int = USUAL
    color: bool = False
    ascii: bool = False
    redraws: bool = False

    @classmethod
    def of(cls, stream: TextIO | None) -> Self:
        """What `stream` can show.

        A terminal has its own width, and colours unless NO_COLOR (no-color.org) is set or TERM is "dumb". A pipe or a
        file gets 80 columns, plain: what programs read does not change with the window. So does None, a stream that
        was closed by whoever started us.
        """
        is_terminal = stream is not None and stream.isatty()
        can_draw = is_terminal and os.environ.get("TERM") not in NO_TERMINAL
        return cls(
            width=min(max(_columns(stream), NARROWEST), WIDEST) if stream is not None and is_terminal else USUAL,
            color=can_draw and not os.environ.get("NO_COLOR"),
            ascii=not (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf"),
            redraws=can_draw,
        )


def _columns(stream: TextIO) -> int:
    """The width of a terminal; 80 where it does not tell."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL
    except (OSError, ValueError):
        return USUAL
