"""The report on a terminal: the picture first, then one verdict in words, then what to do, then the small print."""

import io
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.stacks import asked
from longreach.diagnosis.verdict import HEALTHY, Diagnosis
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.depth import Depth
from longreach.record import Record
from longreach.report import depth_chart
from longreach.report.chart import draw
from longreach.report.places import Place, gravest_first
from longreach.report.sentences import (
    deep_tested,
    duration,
    lost,
    nothing_to_draw,
    ran,
    remembered,
    tested,
    without_finding,
)
from longreach.report.words import REMEDIES, heading, safe

NARROWEST, WIDEST = 40, 100  # beyond that, lines of prose become hard to read
TABLE = 72  # columns from which the table of layers has one line a layer
MOST_LAYERS = 8  # lines in the table of layers; the gravest come first
MOST_NOTES = 8
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
    "plain": "",
}
ASCII = str.maketrans("▁▂▃▄▅▆▇█▔▲─┴└·≥", "__..:::#-^-+`->")


def render(diagnosis: Diagnosis, *, width: int = 80, color: bool = False, ascii: bool = False) -> str:
    """The whole report as text that ends in a newline; no line is wider than `width` (at least 40).

    color   with ANSI escapes for colours
    ascii   nothing but ASCII, for terminals that can show no more
    """
    page = Page(min(max(width, NARROWEST), WIDEST), color)
    places = gravest_first(diagnosis)
    _title(page, diagnosis.record)
    depth = _depth(diagnosis)
    if depth is not None:
        _depth_picture(page, depth)
    elif places:
        _picture(page, places[0])
    if places:
        _table(page, places)
    _verdict(page, diagnosis)
    _others(page, diagnosis)
    _small_print(page, diagnosis.record, places)
    text = page.text()
    return text.translate(ASCII).encode("ascii", "replace").decode("ascii") if ascii else text


class Page:
    """Lines of a fixed width, wrapped and coloured by rich, without markup and whatever the environment says."""

    def __init__(self, width: int, color: bool):
        self.width = width
        self.lines: list[Text] = []
        self.console = Console(
            file=io.StringIO(),
            width=width,
            color_system="standard" if color else None,
            force_terminal=color,
            no_color=not color,
            legacy_windows=False,
            _environ={},
        )

    def line(self, *spans: tuple[str, str]) -> None:
        """One line of spans (text, style); cut at the right edge."""
        text = Text.assemble(*((part, STYLES[style]) for part, style in spans))
        text.rstrip()
        text.truncate(self.width, overflow="ellipsis")
        self.lines.append(text)

    def paragraph(self, prose: str, *, first: str = "  ", style: str = "plain", label: str = "label") -> None:
        """Wrapped prose; `first`, which may hold a label, stands before it and indents all of it."""
        rest = " " * len(first)
        body = Text(prose, STYLES[style])
        for number, line in enumerate(body.wrap(self.console, self.width - len(rest))):
            text = Text.assemble((rest if number else first, STYLES[label]), line)
            text.rstrip()
            self.lines.append(text)

    def gap(self) -> None:
        """An empty line."""
        self.lines.append(Text())

    def text(self) -> str:
        """Everything so far."""
        with self.console.capture() as capture:
            for line in self.lines:
                self.console.print(line, no_wrap=True, overflow="ignore", crop=False, highlight=False, soft_wrap=True)
        return capture.get()


def _title(page: Page, record: Record) -> None:
    script = record.run.get("script")
    page.line(("longreach", "strong"), (f"  {safe(script)}" if script else "", "label"))
    page.gap()


def _picture(page: Page, place: Place) -> None:
    layer = place.layer
    kind = f"  {safe(layer.kind)}, {counted(layer.hidden, 'output' if layer.whole else 'unit')}"
    page.line(("  ", "plain"), (place.name, "strong"), (kind, "label"))
    rows = draw(layer, page.width)
    if not rows:
        page.paragraph(nothing_to_draw(layer))
        page.gap()
        return
    page.gap()
    for row in rows:
        page.line(*row)
    page.gap()
    if layer.reach:
        end = percent(layer.reach.threshold)
        text = f"how much of a gradient sent back survives k steps; it ends at {end}"
        if layer.whole:
            text = f"the part of an output that hangs on inputs k steps back or more; ends at {end}"
        page.paragraph(text, first="  reach  ", label="reach")
    text = "how much the error depends on the input k steps back, so far unused"
    page.paragraph(text, first="  need   ", label="need")
    page.gap()


def _depth(diagnosis: Diagnosis) -> Depth | None:
    """The network or tree to draw in the place of a layer: where the gravest finding is there, or no layer is."""
    found, gravest = diagnosis.record.depth, diagnosis.gravest
    if gravest is not None and gravest.code in ("LR201", "LR202"):
        found = tuple(depth for depth in found if depth.module == gravest.where) or found
    elif diagnosis.record.layers:
        return None
    return max(found, key=lambda depth: depth.steps, default=None)


def _depth_picture(page: Page, depth: Depth) -> None:
    rows = depth_chart.draw(depth, page.width)
    if not rows:
        return
    for row in rows:
        page.line(*row)
    page.gap()
    way = "from the root of a tree to its leaves" if depth.axis == "hops" else "from the highest layer to the lowest"
    page.paragraph(f"how much is left of a gradient on its way {way}", first="  depth  ", label="reach")
    page.gap()


def _table(page: Page, places: list[Place]) -> None:
    """One line a layer: `rnn   reach 11   need 140   of 149 steps   LR101 vanishing-in-time`."""
    shown = places[:MOST_LAYERS]
    narrow = page.width < TABLE
    rows = [_cells(place, "of {} steps") for place in shown]
    widths = _widths(rows)
    if narrow or sum(widths) + 14 > page.width:
        rows = [_cells(place, "of {}") for place in shown]
        widths = _widths(rows)
    widths[0] = min(widths[0], max(12, page.width - sum(widths[1:]) - 14))
    for place, row in zip(shown, rows, strict=True):
        styles = ("plain", "reach", "need", "label", place.finding.severity if place.finding else "plain")
        if narrow:
            page.line(("  ", "plain"), (row[0], "plain"))
            page.line(*_columns(row[1:4], widths[1:4], styles[1:4], "  "), ("  " + row[4][:5], styles[4]))
        else:
            page.line(*_columns(row, widths, styles, "   "))
    if len(places) > len(shown):
        page.line((f"  and {counted(len(places) - len(shown), 'layer')} more", "label"))
    page.gap()


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _columns(row: Sequence[str], widths: Sequence[int], styles: Sequence[str], between: str) -> list[tuple[str, str]]:
    """The cells of a row, each of its width, with room between them."""
    cells = [(between + _fitted(cell, size), style) for cell, size, style in zip(row, widths, styles, strict=True)]
    cells[0] = ("  " + cells[0][0][len(between) :], cells[0][1])
    return cells


def _fitted(text: str, width: int) -> str:
    """Text in exactly `width` cells; of what is too long the end stays, which tells layers apart."""
    while cell_len(text) > width:
        text = "…" + text[2:]
    return set_cell_size(text, width)


def _cells(place: Place, horizon: str) -> tuple[str, ...]:
    """Name, reach, need, horizon, finding."""
    reach, need, finding = place.layer.reach, asked(place.layer), place.finding
    return (
        place.name,
        f"reach {reach.lag}" if reach else "reach ?",
        "need ?" if need is None else "need none" if need.lag is None else f"need {need.lag}",
        horizon.format(reach.horizon) if reach else "",
        safe(f"{finding.code} {finding.name}") if finding else "",
    )


def _verdict(page: Page, diagnosis: Diagnosis) -> None:
    gravest = diagnosis.gravest
    if gravest is None:
        verdict, text = without_finding(diagnosis)
        page.line(("  verdict  ", "plain"), (verdict, "healthy" if verdict == HEALTHY else "strong"))
        page.paragraph(text)
        page.gap()
        return
    same = [finding for finding in diagnosis.findings if finding.code == gravest.code]
    _finding(page, "verdict", same)
    if gravest.remedies:
        page.line(("  what may help", "strong"))
        size = min(24, max(len(remedy) for remedy in gravest.remedies))
        for remedy in gravest.remedies:
            first = f"    {_fitted(safe(remedy), size)}  "
            page.paragraph(REMEDIES.get(remedy, ""), first=first, label="plain", style="label")
        page.gap()


def _others(page: Page, diagnosis: Diagnosis) -> None:
    """The other findings, one paragraph a kind."""
    kinds: dict[str, list[Finding]] = {}
    for finding in diagnosis.findings:
        kinds.setdefault(finding.code, []).append(finding)
    for code, findings in kinds.items():
        if diagnosis.gravest and code != diagnosis.gravest.code:
            _finding(page, "also", findings)


def _finding(page: Page, label: str, same: list[Finding]) -> None:
    """One paragraph for findings of one code: the first in full, the others by place."""
    first = same[0]
    title = ((f"  {label}  ", "plain"), (safe(heading(first.name)), first.severity))
    details = f"  {safe(first.code)}, {first.severity}, in {safe(first.where)}"
    if page.width < TABLE:
        page.line(*title)
        page.line((details, "label"))
    else:
        page.line(*title, (" " + details, "label"))
    page.paragraph(safe(first.summary, 2000))
    if len(same) > 1:
        page.paragraph(f"The same in {_enumerated([finding.where for finding in same[1:]])}.")
    if first.remedies and label == "also":
        page.paragraph(f"What may help: {_enumerated(list(first.remedies), 8)}.")
    page.gap()


def _enumerated(names: list[str], most: int = 4) -> str:
    shown = [safe(name, 60) for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _small_print(page: Page, record: Record, places: list[Place]) -> None:
    need = places[0].layer.need if places else None
    if need:
        page.paragraph(tested(need), first="  tested    ", style="label")
    if places and places[0].layer.deep:
        page.paragraph(deep_tested(places[0].layer.deep), first="  deep      ", style="label")
    if places and places[0].layer.memory:
        page.paragraph(remembered(places[0].layer.memory), first="  memory    ", style="label")
    page.paragraph(ran(record), first="  run       ", style="label")
    if record.loss and record.loss.values:
        page.paragraph(lost(record.loss), first="  loss      ", style="label")
    page.paragraph(
        f"{percent(record.overhead)} of the time, {duration(record.overhead * record.seconds)}",
        first="  watching  ",
        style="label",
    )
    blind = [f"{place.name}: {safe(place.layer.blind)}" for place in places if place.layer.blind]
    notes = [*(safe(note) for note in record.notes), *blind]
    for note in notes[:MOST_NOTES]:
        page.paragraph(note, first="  note      ", style="label")
    if len(notes) > MOST_NOTES:
        page.paragraph(f"and {len(notes) - MOST_NOTES} more", first="  note      ", style="label")
