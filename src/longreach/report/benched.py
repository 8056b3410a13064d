"""What `longreach bench` says at the end: a table a task and length, the published figures beside ours, a plot."""

from statistics import median
from typing import TYPE_CHECKING

from longreach.bench.plot import label
from longreach.report.screen import Screen
from longreach.report.sheet import Cell, Sheet
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.bench.run import Benched, Section
    from longreach.bench.success import Success
    from longreach.tasks import Published

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = ("solved", "95 %", "updates", "seconds", "loss", "wrong")
KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN", "lem": "LEM"}  # cells whose name in the literature we know


def render(benched: "Benched", screen: Screen | None = None) -> str:
    """Everything as text that ends in a newline; no line but that of the folder is wider than the screen."""
    sheet = Sheet(screen or Screen())
    for section in (one for one in benched.sections if one.successes):
        _section(sheet, benched, section)
    _end(sheet, benched)
    return sheet.text()


def _section(sheet: Sheet, benched: "Benched", section: "Section") -> None:
    name = f"{section.task} ({section.variant})" if section.variant else section.task
    sheet.line((safe(name), "strong"))
    sheet.paragraph(f"solved: {section.criterion}", first="")
    own = [row for row in benched.rows if (row.task, row.variant) == _key(section)]
    chances = {row.length: row.chance for row in own if row.chance is not None}
    lengths = sorted({one.length for one in section.successes})
    for length in lengths:
        chance = chances.get(length)
        told = f", chance loss {chance:.4g}" if chance is not None else ""
        here = [one for one in section.successes if one.length == length]
        sheet.gap()
        sheet.table((f"T = {length}{told}", *COLUMNS), [_row(one) for one in here])
        for one in here:
            for reason in one.failures:
                sheet.paragraph(safe(f"{label(one)}, {reason}", 2000), first="", style="warning")
    if len(lengths) > 1:
        sheet.gap()
        _plot(sheet, section)
    if section.published:
        _published(sheet, benched, section)
    sheet.gap()


def _row(one: "Success") -> list[Cell]:
    """A course at one length: how many seeds solved the task, and at what cost."""
    low, high = one.interval
    solved = f"{one.solved} of {one.runs}" if one.runs else ""
    return [
        safe(label(one)),
        (solved, "healthy" if one.runs and one.solved == one.runs else "plain"),
        f"{100 * low:.0f}-{100 * high:.0f} %" if one.runs else "",
        _number(one.updates, ",.0f"),
        _number(one.seconds, ".0f" if (one.seconds or 0) >= 10 else ".1f"),
        _number(one.loss, ".2g"),
        _number(one.wrong, ".1%"),
    ]


def _plot(sheet: Sheet, section: "Section") -> None:
    """Success against length: a bar an entry, full where all seeds solved the task."""
    lengths = sorted({one.length for one in section.successes})
    rows: list[list[Cell]] = []
    for course in dict.fromkeys(label(one) for one in section.successes):
        own = {one.length: one for one in section.successes if label(one) == course}
        rows.append([safe(course), *(_bar(own.get(length)) for length in lengths)])
    sheet.table(("success at T =", *map(str, lengths)), rows)


def _bar(one: "Success | None") -> str:
    if one is None or not one.runs:
        return ""
    return BLOCKS[round(one.share * (len(BLOCKS) - 1))] * 3


def _published(sheet: Sheet, benched: "Benched", section: "Section") -> None:
    """Their figures beside ours at the same length, with what is known of their settings; then those at others."""
    lengths = {one.length for one in section.successes if one.runs}
    same = [one for one in section.published if one.length in lengths]
    if same:
        sheet.gap()
        sheet.line(("published, and ours at the same length", "strong"))
        for one in same:
            sheet.paragraph(f"T = {one.length}  {_told(one, section)}", first="  ")
            sheet.paragraph(f"theirs: {one.settings or 'settings not recorded here'}", first="    ")
            sheet.paragraph(f"ours: {_ours(one, section)}", first="    ")
    others: dict[str, list[int]] = {}
    for one in section.published:
        if one.length not in lengths:
            others.setdefault(_told(one, section), []).append(one.length)
    if others:
        sheet.gap()
        sheet.line(("published at other lengths", "strong"))
        for told, there in others.items():
            sheet.paragraph(f"T = {', '.join(map(str, there))}  {told}", first="  ")
    if any(row.hidden for row in benched.rows):
        sheet.gap()
        sheet.paragraph(_settings(benched, section), first="")


def _told(one: "Published", section: "Section") -> str:
    own = section.variant.split(" ")[0]
    variant = "" if one.variant == own else f", {one.variant or 'variant not recorded'}"
    return f"{one.net}{variant} ({one.source}): {one.reached}"


def _ours(one: "Published", section: "Section") -> str:
    """The best of ours at this length, of the same cell where there is one."""
    own = [ours for ours in section.successes if ours.length == one.length and ours.runs]
    alike = [ours for ours in own if KINDS.get(ours.cell, "\0") in one.net]
    best = (alike or own)[0]
    loss = "" if best.loss is None else f", loss {best.loss:.2g}"
    return f"{label(best)}, {best.solved} of {best.runs}{loss}" + ("" if alike else "; another cell than theirs")


def _settings(benched: "Benched", section: "Section") -> str:
    """What ours were trained with."""
    own = [row for row in benched.rows if (row.task, row.variant) == _key(section) and row.hidden]
    cells = dict.fromkeys(f"{row.cell} of {row.hidden} units, step size {row.lr:g}" for row in own)
    batches = " or ".join(str(batch) for batch in sorted({row.batch for row in own if row.batch}))
    common = f"at most {benched.asked.steps:,} updates of {batches} sequences by AdamW"
    return f"ours: {'; '.join([common, *cells])}. All else may differ too."


def _end(sheet: Sheet, benched: "Benched") -> None:
    rows = benched.rows
    seconds = [row.seconds for row in rows if row.seconds is not None]
    took = f", {median(seconds):.0f} s each in the median" if seconds else ""
    guessed = "; of guessing, updates are networks drawn" if benched.asked.guess else ""
    told = f"{took}; updates and seconds are medians of solved runs{guessed}"
    sheet.paragraph(f"{len(rows)} of {benched.wanted} rows{told}", first="")
    if not benched.complete:
        sheet.paragraph("Interrupted: this is what is known so far. The same command goes on from here.", first="")
    sheet.whole(f"kept in {benched.folder}: results.parquet, success.svg")


def _key(section: "Section") -> tuple[str, str]:
    return section.task, section.variant


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
