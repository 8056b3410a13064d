"""What moves while work goes on: one line with a bar for whoever watches a terminal, and for everybody sentences."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from longreach.report.aloud import say
from longreach.report.screen import Screen
from longreach.report.words import safe, safe_lines

if TYPE_CHECKING:
    from rich.text import Text

    from longreach.report.sheet import Sheet

BAR, SHORT = 20, 10  # columns of the bar; in a narrow terminal
NARROW = 60  # columns below which the line says less
A_SECOND = 4  # how often the line is drawn


class Live:
    """A line on stderr that is drawn over and over: bar, count, time, and what goes on; a context.

    total   of what is done; 0: nobody knows, and there is no bar
    done    of it already
    unit    False: shares of a whole, shown as percent
    below   writes what stands under the line
    Shown   where stderr is a terminal that can draw over a line; gone afterwards. The cursor stays where it can be
            seen, so that no way to end a process, kill -9 included, leaves a terminal without one
    Else    sentences alone, one a line; of those nothing either if `quiet`
    """

    def __init__(
        self,
        total: float = 0,
        *,
        done: float = 0,
        unit: bool = True,
        quiet: bool = False,
        below: "Callable[[Sheet], None] | None" = None,
    ):
        self._total, self._first, self._done, self._unit = total, done, done, unit
        self._quiet, self._below, self._text = quiet, below, ""
        self._began = time.monotonic()
        self._stream = sys.stderr
        self._rich: Any = None

    def __enter__(self) -> Self:
        self._began, self._stream = time.monotonic(), sys.stderr
        if not self._quiet and Screen.of(self._stream).redraws:
            from rich.console import Console
            from rich.live import Live as Drawn

            color = Screen.of(self._stream).color
            console = Console(
                file=self._stream,
                force_terminal=True,
                color_system="standard" if color else None,
                no_color=not color,
                legacy_windows=False,
                _environ={},  # the terminal's own width, also after it has changed
            )
            self._rich = Drawn(
                get_renderable=self._drawn,
                console=console,
                transient=True,
                refresh_per_second=A_SECOND,
                redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # a pipe gets what is meant for it
            )
            self._rich.start()
            console.show_cursor(True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._rich is not None:
            drawn, self._rich = self._rich, None
            drawn.stop()

    @property
    def is_drawn(self) -> bool:
        """Whether somebody sees the line."""
        return self._rich is not None

    def at(self, done: float, text: str | None = None) -> None:
        """So much is done; and what goes on, if that is something else now."""
        self._done = done
        self._text = self._text if text is None else text

    def said(self, sentence: str) -> None:
        """A line that stays."""
        told = safe_lines(sentence)
        if self._rich is not None:
            self._rich.console.print(told, markup=False, highlight=False)
        elif not self._quiet:
            say("\n".join(map(_wrapped, told.split("\n"))) if Screen.of(sys.stderr).redraws else told)

    def _drawn(self) -> Any:
        """Anew each time: a terminal may have become narrower."""
        from rich.console import Group

        from longreach.report.sheet import Sheet, shown

        screen = Screen.of(self._stream)
        lines = [self.line(screen)]
        if self._below is not None:
            sheet = Sheet(screen)
            self._below(sheet)
            lines += sheet.lines
        for line in lines:
            line.no_wrap, line.overflow = True, "crop"
            line.plain = shown(line.plain, screen)
        return Group(*lines)

    def line(self, screen: Screen) -> "Text":
        """Bar, count, time, what goes on: as much of it as fits."""
        from longreach.report.sheet import Sheet

        narrow = screen.width < NARROW
        sheet = Sheet(screen)
        spans = [*(_bar(self._done / self._total, SHORT if narrow else BAR) if self._total else ())]
        told = f"{self._done:.0f}/{self._total:.0f}" if self._unit else f"{100 * self._done:.0f}%"
        parts = [told] if self._total else []
        parts += [self._time(narrow), safe(self._text)]
        sheet.line(*spans, (("  " if spans else "") + "  ".join(part for part in parts if part), "plain"))
        return sheet.lines[0]

    def _time(self, narrow: bool) -> str:
        passed, taken = time.monotonic() - self._began, self._done - self._first
        if not self._total or taken <= 0 or self._done >= self._total:
            return clock(passed)
        left = f"{clock(passed / taken * (self._total - self._done))} left"
        return left if narrow else f"{clock(passed)}, {left}"


def _wrapped(line: str) -> str:
    """Between words, where it is wider than the terminal."""
    from longreach.report.sheet import Sheet

    sheet = Sheet(Screen.of(sys.stderr))
    sheet.paragraph(line, first="")
    return sheet.text().rstrip("\n")


def _bar(share: float, columns: int) -> list[tuple[str, str]]:
    done = round(columns * min(1.0, max(0.0, share)))
    return [("━" * done, "strong"), ("─" * (columns - done), "line")]


def clock(seconds: float) -> str:
    """2:05, or 1:02:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
