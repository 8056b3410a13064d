"""A diagnosis, a record or a proof in a notebook: HTML that stands by itself, without script and without style sheet.

Colours are those of the page around it, light or dark, but for a few that are seen on both. A notebook that nobody has
trusted yet may lose the picture and the styles: everything is said in words, too.
"""

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.stacks import asked
from longreach.diagnosis.verdict import HEALTHY, Diagnosis
from longreach.diagnosis.wording import counted, percent
from longreach.record import Record
from longreach.report import drawn
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

if TYPE_CHECKING:
    from longreach.trial.proof import Proof

TONES = {"critical": "#e0443c", "warning": "#c47a00", "info": "#1f83c4", HEALTHY: "#1c9460"}
ROOM = "padding:2px 14px 2px 0"
MOST_ROWS = 8  # of a table that is open; the others are one click away
MOST_PLACES = 20  # of one finding
MOST_NOTES = 50


def of_diagnosis(diagnosis: Diagnosis) -> str:
    """Verdict, picture, findings, layers, and how well all that is known."""
    record, places = diagnosis.record, gravest_first(diagnosis)
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(diagnosis.findings, key=lambda finding: finding.gravity):
        kinds.setdefault(finding.code, []).append(finding)
    return _framed(
        _verdict(diagnosis),
        _picture(diagnosis, places),
        *map(_finding, kinds.values()),
        _layers(places),
        _print(record),
    )


def of_record(record: Record) -> str:
    """The same without an opinion: the picture, the layers, and what was run."""
    unjudged = Diagnosis(record, ())
    places = gravest_first(unjudged)
    title = f"<p><strong>{said(record.run.get('script') or 'a record')}</strong>, not judged</p>"
    return _framed(title, _picture(unjudged, places), _layers(places), _print(record))


def of_proof(proof: "Proof") -> str:
    """What is proven, the effects with their intervals, and the table of all arms."""
    (arm, *titles, _), *rows = proof.rows
    cells = [[said(name), f"<strong>{said(verdict)}</strong>", *map(said, own)] for name, *own, verdict in rows]
    remarks = [*proof.remarks, *proof.notes]
    return _framed(
        _banner(HEALTHY if proof.winner is not None else "", said(proof.sentence, 2000)),
        drawn.effects(proof),
        _table((arm, "verdict", *titles), cells, "arm"),
        "".join(f"<p>{said(remark, 2000)}</p>" for remark in remarks[:MOST_NOTES]),
    )


def said(text: object, longest: int = 500) -> str:
    """Text from elsewhere: nothing in it is taken for markup, or turns the direction of what is around it."""
    return html.escape(safe(text, longest))


def _verdict(diagnosis: Diagnosis) -> str:
    gravest = diagnosis.gravest
    if gravest is None:
        name, why = without_finding(diagnosis)
        return _banner(name, f"<strong>{said(name.capitalize())}</strong><br>{said(why, 2000)}")
    title = f"<strong>{said(heading(gravest.name).capitalize())}</strong> {_told(gravest)}"
    return _banner(gravest.severity, f"{title}<br>{said(gravest.summary, 2000)}")


def _told(finding: Finding) -> str:
    return f"({said(finding.code)}, {said(finding.severity)}, in {said(finding.where, 120)})"


def _picture(diagnosis: Diagnosis, places: Sequence[Place]) -> str:
    """Of the gravest layer; of the depth where the trouble is there, or where there is no layer."""
    record, gravest = diagnosis.record, diagnosis.gravest
    in_depth = gravest is not None and gravest.code in ("LR201", "LR202")
    if record.depth and (in_depth or not places):
        of_it = [depth for depth in record.depth if gravest is not None and depth.module == gravest.where]
        return drawn.depth(max(of_it or record.depth, key=lambda depth: depth.steps))
    if not places:
        return ""
    first = places[0]
    kind = f"{said(first.layer.kind)}, {counted(first.layer.hidden, 'output' if first.layer.whole else 'unit')}"
    title = f"<p><strong>{said(first.name)}</strong> {kind}</p>"
    return title + (drawn.layer(first.name, first.layer) or f"<p>{said(nothing_to_draw(first.layer))}</p>")


def _finding(same: Sequence[Finding]) -> str:
    """A click away: what was found, where else, what may help, the numbers."""
    first = same[0]
    tone = TONES.get(first.severity, "currentColor")
    title = f'<span style="color:{tone}">&#9679;</span> {said(heading(first.name))} {_told(first)}'
    parts = [f'<p style="max-width:600px">{said(first.summary, 2000)}</p>']
    if len(same) > 1:
        others = [said(finding.where, 120) for finding in same[1:][:MOST_PLACES]]
        more = f" and {len(same) - 1 - len(others)} more" if len(same) - 1 > len(others) else ""
        parts.append(f"<p>The same in {', '.join(others)}{more}.</p>")
    if first.remedies:
        helps = "".join(f"<li><code>{said(name)}</code> {said(REMEDIES.get(name, ''))}</li>" for name in first.remedies)
        parts.append(f"<p>What may help:</p><ul>{helps}</ul>")
    if first.evidence:
        rows = [[said(name), said(_number(value))] for name, value in first.evidence.items()]
        parts.append(_table(("evidence", ""), rows, "number", told=True))
    return _folded(title, "".join(parts))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _layers(places: Sequence[Place]) -> str:
    """A row a layer."""
    if not places:
        return ""
    head = ("layer", "kind", "reach", "need", "of steps", "finding")
    return _table(head, [_cells(place) for place in places], "layer")


def _cells(place: Place) -> list[str]:
    reach, need, finding = place.layer.reach, asked(place.layer), place.finding
    return [
        said(place.name, 120),
        said(place.layer.kind, 60),
        str(reach.lag) if reach else "?",
        "?" if need is None else "none" if need.lag is None else str(need.lag),
        str(reach.horizon) if reach else "",
        said(f"{finding.code} {heading(finding.name)}") if finding else "",
    ]


def _print(record: Record) -> str:
    """The small print, a click away."""
    lines = [("run", ran(record))]
    if record.loss and record.loss.values:
        lines.append(("loss", lost(record.loss)))
    share = percent(record.overhead) if math.isfinite(record.overhead) else "an unknown share"
    lines.append(("watching", f"{share} of the time, {duration(record.overhead * record.seconds)}"))
    first = record.layers[0] if record.layers else None
    if first and first.need:
        lines.append(("need", tested(first.need)))
    if first and first.deep:
        lines.append(("deep", deep_tested(first.deep)))
    if first and first.memory:
        lines.append(("memory", remembered(first.memory)))
    lines += [("note", note) for note in record.notes[:MOST_NOTES]]
    rows = [[name, said(text, 2000)] for name, text in lines]
    return _folded("how this was measured", _table(("", ""), rows, "line", told=True))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], what: str, *, told: bool = False) -> str:
    """Cells are HTML; after the first few rows the others are a click away.

    told  cells hold sentences, which may be wrapped; else only those of the first column
    """
    style = f"text-align:left;white-space:nowrap;{ROOM}"
    titles = "".join(f'<th style="{style}">{said(title)}</th>' for title in head) if any(head) else ""
    titles = f"<thead><tr>{titles}</tr></thead>" if titles else ""

    def shown(own: Iterable[Sequence[str]]) -> str:
        body = "".join(
            f"<tr>{''.join(_cell(cell, wraps=told or not place) for place, cell in enumerate(row))}</tr>" for row in own
        )
        return f'<div style="overflow-x:auto"><table>{titles}<tbody>{body}</tbody></table></div>'

    if len(rows) <= MOST_ROWS + 2:  # a click for one row is a click too many
        return shown(rows)
    more = f"and {counted(len(rows) - MOST_ROWS, what)} more"
    return shown(rows[:MOST_ROWS]) + _folded(more, shown(rows[MOST_ROWS:]))


def _cell(content: str, *, wraps: bool) -> str:
    wrap = "overflow-wrap:anywhere;min-width:7em;max-width:600px" if wraps else "white-space:nowrap"
    return f'<td style="text-align:left;vertical-align:top;{ROOM};{wrap}">{content}</td>'


def _folded(title: str, content: str) -> str:
    return f'<details style="margin:4px 0"><summary style="cursor:pointer">{title}</summary>{content}</details>'


def _banner(tone: str, content: str) -> str:
    edge = f"border-left:4px solid {TONES.get(tone, 'currentColor')};padding-left:10px;margin:6px 0"
    return f'<p style="{edge};max-width:600px">{content}</p>'


def _framed(*parts: str) -> str:
    return f'<div style="line-height:1.45">{"".join(parts)}</div>'
