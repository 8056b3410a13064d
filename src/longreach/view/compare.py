"""A few runs side by side: their losses over one axis, their gradients over another, the facts in columns."""

import math
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from longreach.diagnosis.wording import percent
from longreach.probes.reach import THRESHOLD
from longreach.report.page.data import figure_data
from longreach.report.page.figure import Figure
from longreach.report.page.figures.axes import Trace, curve, level, lost, panels, power, scaled
from longreach.report.page.figures.text import cut
from longreach.report.page.html import PARTS
from longreach.report.page.text import number
from longreach.view.card import Card, Curve, card_of, few
from longreach.view.drawing import templates
from longreach.view.found import Found
from longreach.view.library import Library

MOST = 8  # runs: more curves nobody tells apart
DASHES = (
    "solid",
    "dash",
    "dot",
    "dashdot",
    "longdash",
    "longdashdot",
)  # so that colour is not all that tells them apart
POINTS = 1000  # of a curve of losses
BELOW = 4  # powers of ten below the threshold that are shown at first


def compare_content(library: Library, runs: Sequence[Found]) -> dict[str, Any]:
    """The page of some runs side by side, as `report.page.html.content` gives that of one."""
    stories = [library.story(run) for run in runs]
    names = _names(runs)
    cards = [card_of(story, run) for story, run in zip(stories, runs, strict=True)]
    losses = [few(losses.steps, losses.values, POINTS) for losses in (story.history.losses for story in stories)]
    figures = [figure_data(figure) for figure in (_losses(names, losses), _gains(names, cards)) if figure.traces]
    shown = {
        "runs": list(zip(runs, names, strict=True)),
        "rows": _facts(cards),
        "figures": figures,
        "root": library.root,
    }
    parts = dict.fromkeys(PARTS, "")
    parts["verdict"] = templates().get_template("compared.html.j2").render(shown)
    parts["picture"] = templates().get_template("drawn.html.j2").render(shown)
    going = any(card.state == "going on" for card in cards)
    return {"title": f"{len(runs)} runs side by side", "going": going, "parts": parts, "figures": figures}


def _names(runs: Sequence[Found]) -> list[str]:
    """Their names without the folders that are common to all."""
    common = os.path.commonpath([os.path.dirname(run.name) for run in runs])
    return [str(PurePath(run.name).relative_to(common)) for run in runs]


def _facts(cards: Sequence[Card]) -> list[tuple[str, list[str]]]:
    """What is said of each run: (what, one text for each)."""
    rows = {
        "verdict": [card.word for card in cards],
        "state": [card.state for card in cards],
        "what was run": [card.command for card in cards],
        "layer": [card.layer for card in cards],
        "reach, steps": ["" if card.reach is None else number(card.reach) for card in cards],
        "need, steps": [card.need for card in cards],
        "of steps": ["" if card.horizon is None else number(card.horizon) for card in cards],
        "training steps": [number(card.steps) for card in cards],
        "last loss": ["" if card.loss is None else number(card.loss) for card in cards],
        "what was tried": [card.proven for card in cards],
        "missing": [" ".join(card.missing[:3]) for card in cards],
    }
    return [(what, told) for what, told in rows.items() if any(told)]


def _losses(names: Sequence[str], curves: Sequence[Curve]) -> Figure:
    layout = panels("training step", 1.0)
    drawn = [(name, losses) for name, losses in zip(names, curves, strict=True) if losses.xs]
    ends = scaled(layout["yaxis"], [value for _, losses in drawn for value in losses.ys])
    layout["yaxis"] |= {"title": {"text": "loss"}}
    traces: list[Trace] = []
    for place, (name, losses) in enumerate(drawn):
        traces += _one(name, place, losses.xs, losses.ys)
        traces += lost(cut(name), losses.xs, losses.ys, ends)
    lowest = min(drawn, key=lambda one: _last(one[1]), default=None)
    look = f"{lowest[0]} ends lowest, at {number(_last(lowest[1]))}." if lowest else ""
    return _figure("losses", "Losses", look, ("run", "training step", "loss"), drawn, traces, layout)


def _gains(names: Sequence[str], cards: Sequence[Card]) -> Figure:
    layout = panels("lag (steps)", 1.0)
    drawn = [(name, card) for name, card in zip(names, cards, strict=True) if card.gain.xs]
    log10 = [ln / math.log(10) for _, card in drawn for ln in card.gain.ys if math.isfinite(ln)]
    limit = math.log10(THRESHOLD)
    low, high = max(min(log10, default=0.0), limit - BELOW), min(300.0, max(log10, default=0.0))
    layout["yaxis"] |= {"type": "log", "range": [min(low, limit - 1), high + 0.3], "exponentformat": "power"}
    layout["yaxis"] |= {"title": {"text": "gain"}, "dtick": max(1, math.ceil((high - low) / 6))}
    level(layout, f"reach ends at {percent(THRESHOLD)}", THRESHOLD)
    traces: list[Trace] = []
    for place, (name, card) in enumerate(drawn):
        traces += _one(name, place, card.gain.xs, [power(ln) for ln in card.gain.ys])
    curves = [(name, Curve(card.gain.xs, tuple(ln / math.log(10) for ln in card.gain.ys))) for name, card in drawn]
    title = "How much of a gradient survives, over the lag"
    return _figure("gains", title, _furthest(drawn), ("run", "lag (steps)", "log10 of gain"), curves, traces, layout)


def _furthest(drawn: Sequence[tuple[str, Card]]) -> str:
    """What to see in the gradients."""
    reaches = {card.reach or 0 for _, card in drawn}
    if len(reaches) == 1:
        return (
            f"All reach {number(max(reaches))} steps."
            if len(drawn) > 1
            else f"It reaches {number(max(reaches))} steps."
        )
    name, card = max(drawn, key=lambda one: one[1].reach or 0, default=("", None))
    return f"{name} reaches furthest, {number(card.reach)} steps." if card else ""


def _one(name: str, place: int, xs: Sequence[float], ys: Sequence[float]) -> list[Trace]:
    style = {"width": 2, "dash": DASHES[place % len(DASHES)]}
    return [curve(cut(name), "many", xs, ys, line=style) | {"meta": {"role": "many", "place": place}}]


def _last(curve: Curve) -> float:
    """The last value; one that is no number counts as the largest."""
    return curve.ys[-1] if math.isfinite(curve.ys[-1]) else math.inf


def _figure(
    name: str,
    title: str,
    look: str,
    columns: tuple[str, ...],
    drawn: Sequence[tuple[str, Curve]],
    traces: list[Trace],
    layout: dict[str, Any],
) -> Figure:
    rows = [(run, x, y) for run, curve in drawn for x, y in zip(curve.xs, curve.ys, strict=True)]
    axes = f"{columns[2]} over {columns[1]}"
    ends = "; ".join(f"{run}: from {number(curve.ys[0])} to {number(curve.ys[-1])}" for run, curve in drawn)
    layout |= {"height": 380, "showlegend": True}
    return Figure(name, title, look, f"{axes}, one curve a run. {ends}.", traces, layout, columns, rows)
