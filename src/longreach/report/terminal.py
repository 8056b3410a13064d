"""The report on a terminal: the picture first, then one verdict in words, then what to do, then the small print."""

from collections.abc import Sequence

from rich.cells import cell_len

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.stacks import asked
from longreach.diagnosis.verdict import HEALTHY, Diagnosis
from longreach.diagnosis.wording import counted, percent
from longreach.quantities.depth import Depth
from longreach.record import Layer, Record
from longreach.report import depth_chart
from longreach.report.chart import draw
from longreach.report.places import Place, gravest_first
from longreach.report.screen import NARROWEST, WIDEST, Screen
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
from longreach.report.sheet import Sheet, fitted
from longreach.report.words import REMEDIES, heading, safe

TABLE = 72  # columns from which the table of layers has one line a layer
MOST_LAYERS = 8  # lines in the table of layers; the gravest come first
MOST_NOTES = 8


def render(diagnosis: Diagnosis, *, width: int = 80, color: bool = False, ascii: bool = False) -> str:
    """The whole report as text that ends in a newline; no line is wider than `width` (at least 40).

    color   with ANSI escapes for colours
    ascii   nothing but ASCII, for terminals that can show no more
    """
    sheet = Sheet(Screen(min(max(width, NARROWEST), WIDEST), color, ascii))
    script = diagnosis.record.run.get("script")
    sheet.line(("longreach", "strong"), (f"  {safe(script)}" if script else "", "label"))
    sheet.gap()
    write(sheet, diagnosis)
    return sheet.text()


def write(sheet: Sheet, diagnosis: Diagnosis) -> None:
    """The picture, the verdict, what to do, the small print."""
    picture(sheet, diagnosis)
    _verdict(sheet, diagnosis)
    _others(sheet, diagnosis)
    _small_print(sheet, diagnosis.record, gravest_first(diagnosis))


def picture(sheet: Sheet, diagnosis: Diagnosis) -> None:
    """Reach and need over the lag, or the gain over depth, of what is gravest; then one line a layer."""
    places, depth = gravest_first(diagnosis), _depth(diagnosis)
    if depth is not None:
        _depth_picture(sheet, depth)
    elif places:
        _picture(sheet, places[0])
    if places:
        _table(sheet, places)


def _picture(sheet: Sheet, place: Place) -> None:
    layer = place.layer
    if not chart(sheet, place.name, layer):
        return
    if layer.reach:
        end = percent(layer.reach.threshold)
        text = f"how much of a gradient sent back survives k steps; it ends at {end}"
        if layer.whole:
            text = f"the part of an output that hangs on inputs k steps back or more; ends at {end}"
        sheet.paragraph(text, first="  reach  ", label="reach")
    text = "how much the error depends on the input k steps back, so far unused"
    sheet.paragraph(text, first="  need   ", label="need")
    sheet.gap()


def chart(sheet: Sheet, name: str, layer: Layer) -> bool:
    """Reach and need of one layer under its name, or why there is nothing to draw; whether there was."""
    kind = f"  {safe(layer.kind)}, {counted(layer.hidden, 'output' if layer.whole else 'unit')}"
    sheet.line(("  ", "plain"), (name, "strong"), (kind, "label"))
    rows = draw(layer, sheet.width)
    if rows:
        sheet.gap()
        for row in rows:
            sheet.line(*row)
    else:
        sheet.paragraph(nothing_to_draw(layer))
    sheet.gap()
    return bool(rows)


def _depth(diagnosis: Diagnosis) -> Depth | None:
    """The network or tree to draw in the place of a layer: where the gravest finding is there, or no layer is."""
    found, gravest = diagnosis.record.depth, diagnosis.gravest
    if gravest is not None and gravest.code in ("LR201", "LR202"):
        found = tuple(depth for depth in found if depth.module == gravest.where) or found
    elif diagnosis.record.layers:
        return None
    return max(found, key=lambda depth: depth.steps, default=None)


def _depth_picture(sheet: Sheet, depth: Depth) -> None:
    rows = depth_chart.draw(depth, sheet.width)
    if not rows:
        return
    for row in rows:
        sheet.line(*row)
    sheet.gap()
    way = "from the root of a tree to its leaves" if depth.axis == "hops" else "from the highest layer to the lowest"
    sheet.paragraph(f"how much is left of a gradient on its way {way}", first="  depth  ", label="reach")
    sheet.gap()


def _table(sheet: Sheet, places: list[Place]) -> None:
    """One line a layer: `rnn   reach 11   need 140   of 149 steps   LR101 vanishing-in-time`."""
    shown = places[:MOST_LAYERS]
    narrow = sheet.width < TABLE
    rows = [_cells(place, "of {} steps") for place in shown]
    widths = _widths(rows)
    if narrow or sum(widths) + 14 > sheet.width:
        rows = [_cells(place, "of {}") for place in shown]
        widths = _widths(rows)
    widths[0] = min(widths[0], max(12, sheet.width - sum(widths[1:]) - 14))
    for place, row in zip(shown, rows, strict=True):
        styles = ("plain", "reach", "need", "label", place.finding.severity if place.finding else "plain")
        if narrow:
            sheet.line(("  ", "plain"), (row[0], "plain"))
            sheet.line(*_columns(row[1:4], widths[1:4], styles[1:4], "  "), ("  " + row[4][:5], styles[4]))
        else:
            sheet.line(*_columns(row, widths, styles, "   "))
    if len(places) > len(shown):
        sheet.line((f"  and {counted(len(places) - len(shown), 'layer')} more", "label"))
    sheet.gap()


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _columns(row: Sequence[str], widths: Sequence[int], styles: Sequence[str], between: str) -> list[tuple[str, str]]:
    """The cells of a row, each of its width, with room between them."""
    cells = [(between + fitted(cell, size), style) for cell, size, style in zip(row, widths, styles, strict=True)]
    cells[0] = ("  " + cells[0][0][len(between) :], cells[0][1])
    return cells


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


def _verdict(sheet: Sheet, diagnosis: Diagnosis) -> None:
    gravest = diagnosis.gravest
    if gravest is None:
        verdict, text = without_finding(diagnosis)
        sheet.line(("  verdict  ", "plain"), (verdict, "healthy" if verdict == HEALTHY else "strong"))
        sheet.paragraph(text)
        sheet.gap()
        return
    same = [finding for finding in diagnosis.findings if finding.code == gravest.code]
    _finding(sheet, "verdict", same)
    if gravest.remedies:
        sheet.line(("  what may help", "strong"))
        size = min(24, max(len(remedy) for remedy in gravest.remedies))
        for remedy in gravest.remedies:
            first = f"    {fitted(safe(remedy), size)}  "
            sheet.paragraph(REMEDIES.get(remedy, ""), first=first, label="plain", style="label")
        sheet.gap()


def _others(sheet: Sheet, diagnosis: Diagnosis) -> None:
    """The other findings, one paragraph a kind."""
    kinds: dict[str, list[Finding]] = {}
    for finding in diagnosis.findings:
        kinds.setdefault(finding.code, []).append(finding)
    for code, findings in kinds.items():
        if diagnosis.gravest and code != diagnosis.gravest.code:
            _finding(sheet, "also", findings)


def _finding(sheet: Sheet, label: str, same: list[Finding]) -> None:
    """One paragraph for findings of one code: the first in full, the others by place."""
    first = same[0]
    title = ((f"  {label}  ", "plain"), (safe(heading(first.name)), first.severity))
    details = f"  {safe(first.code)}, {first.severity}, in {safe(first.where)}"
    if sheet.width < TABLE:
        sheet.line(*title)
        sheet.line((details, "label"))
    else:
        sheet.line(*title, (" " + details, "label"))
    sheet.paragraph(safe(first.summary, 2000))
    if len(same) > 1:
        sheet.paragraph(f"The same in {_enumerated([finding.where for finding in same[1:]])}.")
    if first.remedies and label == "also":
        sheet.paragraph(f"What may help: {_enumerated(list(first.remedies), 8)}.")
    sheet.gap()


def _enumerated(names: list[str], most: int = 4) -> str:
    shown = [safe(name, 60) for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _small_print(sheet: Sheet, record: Record, places: list[Place]) -> None:
    need = places[0].layer.need if places else None
    if need:
        sheet.paragraph(tested(need), first="  tested    ", style="label")
    if places and places[0].layer.deep:
        sheet.paragraph(deep_tested(places[0].layer.deep), first="  deep      ", style="label")
    if places and places[0].layer.memory:
        sheet.paragraph(remembered(places[0].layer.memory), first="  memory    ", style="label")
    sheet.paragraph(ran(record), first="  run       ", style="label")
    if record.loss and record.loss.values:
        sheet.paragraph(lost(record.loss), first="  loss      ", style="label")
    sheet.paragraph(
        f"{percent(record.overhead)} of the time, {duration(record.overhead * record.seconds)}",
        first="  watching  ",
        style="label",
    )
    blind = [f"{place.name}: {safe(place.layer.blind)}" for place in places if place.layer.blind]
    notes = [*(safe(note) for note in record.notes), *blind]
    for note in notes[:MOST_NOTES]:
        sheet.paragraph(note, first="  note      ", style="label")
    if len(notes) > MOST_NOTES:
        sheet.paragraph(f"and {len(notes) - MOST_NOTES} more", first="  note      ", style="label")
