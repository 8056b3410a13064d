"""What `longreach bench` says at the end: a table a task and length, the published figures beside ours, a plot."""

import io
from statistics import median
from typing import TYPE_CHECKING, Any

from longreach.bench.plot import label
from longreach.report.terminal import ASCII
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.bench.run import Benched, Section
    from longreach.bench.success import Success
    from longreach.tasks import Published

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = ("solved", "95 %", "updates", "seconds", "loss", "wrong")
KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN", "lem": "LEM"}  # cells whose name in the literature we know


def render(benched: "Benched", *, width: int = 80, color: bool = False, ascii: bool = False) -> str:
    """Everything as text that ends in a newline; no line but that of the folder is wider than `width`.

    color   with ANSI escapes
    ascii   nothing but ASCII, for terminals that can show no more
    """
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, force_terminal=color, no_color=not color, highlight=False)
    for section in (one for one in benched.sections if one.successes):
        _section(console, benched, section)
    _end(console, benched)
    text = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"  # type: ignore[attr-defined]
    return text.translate(ASCII).encode("ascii", "replace").decode("ascii") if ascii else text


def _section(console: Any, benched: "Benched", section: "Section") -> None:
    name = f"{section.task} ({section.variant})" if section.variant else section.task
    _say(console, name, style="bold")
    _say(console, f"solved: {section.criterion}")
    own = [row for row in benched.rows if (row.task, row.variant) == _key(section)]
    chances = {row.length: row.chance for row in own if row.chance is not None}
    for length in sorted({one.length for one in section.successes}):
        chance = chances.get(length)
        told = f", chance loss {chance:.4g}" if chance is not None else ""
        console.print()
        console.print(_table(f"T = {length}{told}", [one for one in section.successes if one.length == length]))
        for one in section.successes:
            for reason in one.failures if one.length == length else ():
                _say(console, f"{label(one)}, {safe(reason)}")
    lengths = {one.length for one in section.successes}
    if len(lengths) > 1:
        console.print()
        console.print(_plot(section))
    if section.published:
        _published(console, benched, section)
    console.print()


def _table(title: str, found: list["Success"]) -> Any:
    """The courses at one length, the best first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, expand=False)
    table.add_column(title, overflow="fold", min_width=24)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        low, high = one.interval
        table.add_row(
            safe(label(one)),
            f"{one.solved} of {one.runs}" if one.runs else "",
            f"{100 * low:.0f}-{100 * high:.0f} %" if one.runs else "",
            _number(one.updates, ",.0f"),
            _number(one.seconds, ".0f" if (one.seconds or 0) >= 10 else ".1f"),
            _number(one.loss, ".2g"),
            _number(one.wrong, ".1%"),
        )
    return table


def _plot(section: "Section") -> Any:
    """Success against length: a bar an entry, full where all seeds solved the task."""
    from rich.table import Table

    lengths = sorted({one.length for one in section.successes})
    table = Table(box=None, pad_edge=False)
    table.add_column("success at T =", overflow="fold")
    for length in lengths:
        table.add_column(str(length), justify="right")
    for course in dict.fromkeys(label(one) for one in section.successes):
        own = {one.length: one for one in section.successes if label(one) == course}
        table.add_row(safe(course), *(_bar(own.get(length)) for length in lengths))
    return table


def _bar(one: "Success | None") -> str:
    if one is None or not one.runs:
        return ""
    return BLOCKS[round(one.share * (len(BLOCKS) - 1))] * 3


def _published(console: Any, benched: "Benched", section: "Section") -> None:
    """Their figures beside ours at the same length, with what is known of their settings; then those at others."""
    lengths = {one.length for one in section.successes if one.runs}
    same = [one for one in section.published if one.length in lengths]
    if same:
        console.print()
        _say(console, "published, and ours at the same length", style="bold")
        for one in same:
            _say(console, f"T = {one.length}  {_told(one, section)}", indent=2)
            _say(console, f"theirs: {one.settings or 'settings not recorded here'}", indent=4)
            _say(console, f"ours: {_ours(one, section)}", indent=4)
    others: dict[str, list[int]] = {}
    for one in section.published:
        if one.length not in lengths:
            others.setdefault(_told(one, section), []).append(one.length)
    if others:
        console.print()
        _say(console, "published at other lengths", style="bold")
        for told, there in others.items():
            _say(console, f"T = {', '.join(map(str, there))}  {told}", indent=2)
    if any(row.hidden for row in benched.rows):
        console.print()
        _say(console, _settings(benched, section))


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


def _end(console: Any, benched: "Benched") -> None:
    rows = benched.rows
    seconds = [row.seconds for row in rows if row.seconds is not None]
    took = f", {median(seconds):.0f} s each in the median" if seconds else ""
    guessed = "; of guessing, updates are networks drawn" if benched.asked.guess else ""
    told = f"{took}; updates and seconds are medians of solved runs{guessed}"
    _say(console, f"{len(rows)} of {benched.wanted} rows{told}")
    if not benched.complete:
        _say(console, "Interrupted: this is what is known so far. The same command goes on from here.")
    console.print(f"kept in {benched.folder}: results.parquet, success.svg", markup=False, soft_wrap=True)


def _key(section: "Section") -> tuple[str, str]:
    return section.task, section.variant


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _say(console: Any, text: str, *, indent: int = 0, style: str = "") -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))
