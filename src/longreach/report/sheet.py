"""Lines for a terminal: all that longreach says there is written on such a sheet, in one set of colours."""

import io
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from longreach.report.chart import Span
from longreach.report.screen import Screen
from longreach.report.words import safe

STYLES = {
    "reach": "cyan",
    "beyond": "bright_black",
    "need": "magenta",
    "line": "bright_black",
    "label": "bright_black",
    "broken": "red",
    "critical": "bold red",
    "warning": "bold yellow",
    "info": "bold green",
    "healthy": "bold green",
    "strong": "bold",
    "added": "green",
    "removed": "red",
    "plain": "",
}
ASCII = str.maketrans("▁▂▃▄▅▆▇█▔▲─┴└·≥━…░▒▓▀│┤", "__..:::#-^-+`->=.-=%'||")
Cell = str | Span  # text, or text and its style


class Sheet:
    """Lines of a fixed width, wrapped and coloured by rich, without markup and whatever the environment says."""

    def __init__(self, screen: Screen):
        self.screen, self.width = screen, screen.width
        self.lines: list[Text] = []
        self._console = Console(
            file=io.StringIO(),
            width=screen.width,
            color_system="standard" if screen.color else None,
            force_terminal=screen.color,
            no_color=not screen.color,
            legacy_windows=False,
            _environ={},
        )

    def line(self, *spans: Span) -> None:
        """One line; cut at the right edge."""
        text = Text.assemble(*((part, STYLES[style]) for part, style in spans))
        text.rstrip()
        text.truncate(self.width, overflow="ellipsis")
        self.lines.append(text)

    def paragraph(self, prose: str, *, first: str = "  ", style: str = "plain", label: str = "label") -> None:
        """Wrapped prose; `first`, which may hold a label, stands before it and indents all of it."""
        rest = " " * len(first)
        body = Text(prose, STYLES[style])
        for number, line in enumerate(body.wrap(self._console, max(8, self.width - len(rest)))):
            text = Text.assemble((rest if number else first, STYLES[label]), line)
            text.rstrip()
            self.lines.append(text)

    def whole(self, text: str, style: str = "plain") -> None:
        """A line that is there to be copied: uncut, however long; what could steer a terminal is shown, not sent."""
        text = text.expandtabs()
        self.lines.append(Text(safe(text, len(text)), STYLES[style]))

    def gap(self) -> None:
        """An empty line."""
        self.lines.append(Text())

    def table(
        self, head: Sequence[Cell], rows: Sequence[Sequence[Cell]], *, indent: int = 0, left: bool = False
    ) -> None:
        """Names, and numbers under headings; a name that leaves no room for its numbers stands above them.

        left  cells begin below the heading, instead of ending there, and stand closer
        Where not even the numbers fit beside each other, each row is a paragraph: `arm   loss 0.1, reach 8`
        """
        names = [_span(row[0]) for row in (head, *rows)]
        cells = [[_span(cell) for cell in row[1:]] for row in (head, *rows)]
        widths = [max(cell_len(text) for text, _ in column) for column in zip(*cells, strict=True)]
        between = " " if left else "  "
        room = self.width - indent - sum(widths) - len(between) * len(widths)
        if room < 2:
            self._stacked(names, cells, indent)
            return
        room = min(room, max(cell_len(name) for name, _ in names))
        for (name, style), row in zip(names, cells, strict=True):
            style = "label" if row is cells[0] and style == "plain" else style
            if cell_len(name) > room:
                self.paragraph(name, first=" " * indent, style=style)
                name = ""
            spans = [(" " * indent + set_cell_size(name, room), style)]
            for (text, own), width in zip(row, widths, strict=True):
                padding = " " * (width - cell_len(text))
                own = "label" if row is cells[0] and own == "plain" else own
                spans.append((between + (text + padding if left else padding + text), own))
            if name or any(text for text, _ in row):
                self.line(*spans)

    def _stacked(self, names: list[Span], cells: list[list[Span]], indent: int) -> None:
        """A row a paragraph; a cell without a heading, the verdict, stands beside the name."""
        if names[0][0]:
            self.paragraph(names[0][0], first=" " * indent, style="label")
        headings = [text for text, _ in cells[0]]
        for (name, style), row in zip(names[1:], cells[1:], strict=True):
            beside = [cell for cell, heading in zip(row, headings, strict=True) if cell[0] and not heading]
            if cell_len(name) + indent + sum(2 + cell_len(text) for text, _ in beside) <= self.width:
                self.line((" " * indent + name, style), *(("  " + text, own) for text, own in beside))
            else:
                self.paragraph(name, first=" " * indent, style=style)
                for text, own in beside:
                    self.paragraph(text, first=" " * (indent + 2), style=own)
            told = [f"{head} {text}" for (text, _), head in zip(row, headings, strict=True) if text and head]
            if told:
                self.paragraph(", ".join(told), first=" " * (indent + 2))

    def text(self) -> str:
        """Everything so far, each line with its end."""
        with self._console.capture() as capture:
            for line in self.lines:
                self._console.print(line, no_wrap=True, overflow="ignore", crop=False, highlight=False, soft_wrap=True)
        return shown(capture.get(), self.screen)


def shown(text: str, screen: Screen) -> str:
    """Text in the letters that a screen has."""
    return text.translate(ASCII).encode("ascii", "replace").decode("ascii") if screen.ascii else text


def fitted(text: str, width: int) -> str:
    """Text in exactly `width` cells; of what is too long the end stays, which tells layers apart."""
    while cell_len(text) > width:
        text = "…" + text[2:]
    return set_cell_size(text, width)


def _span(cell: Cell) -> Span:
    return (cell, "plain") if isinstance(cell, str) else cell
