"""Pictures as SVG, for where no script runs: a notebook, exported or not, on light or dark paper.

Text and axes have the colour of the text around them; what is drawn has colours that are seen on white and on black
alike (a contrast of at least 3 against both), and that every kind of colour vision tells apart.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from longreach.diagnosis.stacks import asked
from longreach.diagnosis.wording import factor, percent
from longreach.quantities.depth import Depth
from longreach.record import Layer, Need, Reach
from longreach.report.chart import Axis, scale, ticks
from longreach.report.svg import LEFT, RIGHT, area, clipped, line, picture, polyline, text, unbroken
from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.trial.proof import Proof

REACH, NEED, BROKEN, GOOD = "#1f83c4", "#d55e00", "#e0443c", "#1c9460"
GAIN, NEEDED = (34, 148), (160, 208)  # panels, from their upper to their lower edge
ROW, NAMES = 22, 216  # of effects: height, and where they begin
MOST_ARMS = 16
POINTS = 1000  # of a curve
Across = Callable[[float], float]  # from a lag to a place on the axis


def layer(name: str, own: Layer) -> str:
    """Reach and need of one layer over the lag; empty if there is nothing to draw.

    Axes  the lag is linear, the gain logarithmic, need linear from 0 to its largest, as in the terminal
    """
    reach, need = own.reach, asked(own)
    end = max([reach.horizon if reach else 0, *(need.lags if need else ()), (need.lag or 0) if need else 0])
    if end < 1:
        return ""

    def across(lag: float) -> float:
        return LEFT + (RIGHT - LEFT) * lag / end

    parts = [*(_gain(reach, across) if reach else ()), *_needed(need, across)]
    bottom = NEEDED[1]
    for lag in ticks(Axis(70, end)):
        anchor = "end" if lag == end else "middle"
        parts += [line(across(lag), bottom, across(lag), bottom + 4), text(across(lag), bottom + 17, str(lag), anchor)]
    parts += [line(LEFT, bottom, RIGHT, bottom), text(LEFT - 14, bottom + 17, "lag", "end")]
    parts += _marked(reach, need, across)
    said = f"Reach {reach.lag} of {reach.horizon} steps. " if reach else "Reach was not measured. "
    said += "Need was not tested." if need is None else "No need found." if need.lag is None else f"Need {need.lag}."
    return picture(230, f"Reach and need over the lag: {name}", said, parts)


def depth(own: Depth) -> str:
    """What is left of a gradient in each layer, the highest on the left, logarithmic; empty for fewer than two."""
    if len(own.layers) < 2:
        return ""
    powers = [_bounded(log / math.log(10)) for log in own.log_gain]
    finite = [power for power in powers if math.isfinite(power)] or [0.0]
    high, low = max(0, math.ceil(max(finite))), min(-1, math.floor(min(finite)))
    end = len(powers) - 1

    def across(place: float) -> float:
        return LEFT + (RIGHT - LEFT) * place / end

    places = [(across(place), level_of(power, low, high)) for place, power in enumerate(powers)]
    points = [(x, GAIN[1] - (GAIN[1] - GAIN[0]) * y) for x, y in places]
    parts = [polyline(run, REACH, 2.5) for run in unbroken(points)]
    for power in (high, low):
        y = GAIN[1] - (GAIN[1] - GAIN[0]) * level_of(power, low, high)
        parts += [text(LEFT - 6, y + 4, _power(power), "end"), line(LEFT, y, RIGHT, y, faint=True)]
    first, last = safe(own.layers[0], 36), safe(own.layers[-1], 36)
    parts += [text(LEFT, GAIN[1] + 18, first), text(RIGHT, GAIN[1] + 18, last, "end")]
    said = f"From {first} to {last}, a gradient keeps {factor(own.log_gain[-1])} of its size."
    return picture(176, f"Gain over depth: {safe(own.module)}", said, parts)


def effects(proof: "Proof") -> str:
    """The effect of each arm against the control, with its interval; right of the line it helps. Empty without arms."""
    arms = [arm for arm in (*proof.arms, proof.random) if arm.outcomes]
    found = sorted(((proof.against(proof.control, arm), arm) for arm in arms), key=lambda pair: -pair[0].estimate)
    found = [(one, arm) for one, arm in found if math.isfinite(one.estimate)][:MOST_ARMS]
    if not found:
        return ""
    farthest = 2 * max(abs(one.estimate) for one, _ in found) or 1.0
    ends = [end for one, _ in found for end in (one.low, one.high, one.estimate) if math.isfinite(end)]
    low, high = max(-farthest, min([0.0, *ends])), min(farthest, max([0.0, *ends]))
    room = 0.04 * (high - low) or 1.0
    low, high = low - room, high + room

    def across(value: float) -> float:
        return NAMES + (RIGHT - NAMES) * level_of(value, low, high)

    bottom, parts, marks, said = ROW * len(found) + 6, [], [], []
    for number, (one, arm) in enumerate(found):
        y = ROW * (number + 0.5) + 4
        verdict = proof.verdict(arm)
        color = GOOD if verdict == "proven" else BROKEN if verdict == "worse" else "currentColor"
        name = "random change" if arm is proof.random else arm.name
        parts.append(text(NAMES - 12, y + 4, safe(name if len(name) < 31 else f"{name[:29]}…"), "end"))
        if math.isfinite(one.low) and math.isfinite(one.high):
            marks.append(line(across(one.low), y, across(one.high), y, color, 2))
            said.append(f"{safe(name, 80)} {one.estimate:.2g}, from {one.low:.2g} to {one.high:.2g}")
        marks.append(f'<circle cx="{across(one.estimate):.1f}" cy="{y:.1f}" r="4" fill="{color}"/>')
    parts += [clipped((4, bottom), marks, left=NAMES), line(across(0), 4, across(0), bottom)]
    parts.append(text(across(0), bottom + 15, "0", "middle"))
    parts.append(text(RIGHT, bottom + 32, f"effect on {proof.metric} against the control; right of 0 is better", "end"))
    return picture(bottom + 38, "Effects against the control, with intervals", "; ".join(said) + ".", parts)


def _gain(reach: Reach, across: Across) -> list[str]:
    low, high = scale(reach)
    height = GAIN[1] - GAIN[0]

    def up(log: float) -> float:
        return GAIN[1] - height * level_of(_bounded(log / math.log(10)), low, high)

    pairs = _thinned(list(zip(reach.lags, reach.log_gain, strict=False)))
    runs = unbroken([(across(lag), up(log)) for lag, log in pairs])
    parts = [clipped(GAIN, [polyline(run, REACH, 2.5) for run in runs])]
    limit = math.log10(reach.threshold) if 0 < reach.threshold < 1 else -2.0
    shown = [power for power in dict.fromkeys((high, limit, low)) if low <= power <= high]
    if limit in shown:
        y = up(limit * math.log(10))
        parts.append(line(LEFT, y, RIGHT, y, dash="2 4"))
    parts += [text(LEFT - 6, up(power * math.log(10)) + 4, _power(power), "end") for power in shown]
    parts.append(text(LEFT - 6, GAIN[0] + height / 4 + 4, "gain", "end"))
    lost = [lag for lag, log in pairs if math.isnan(log)]
    if lost:
        parts.append(text(across(lost[0]) + 4, GAIN[1] - 6, "NaN", color=BROKEN))
    return parts


def _needed(need: Need | None, across: Across) -> list[str]:
    top, bottom = NEEDED
    label = text(LEFT - 6, bottom - 2, "need", "end")
    if need is None:
        return [label, text(RIGHT - 4, bottom - 6, "not tested", "end")]
    shares = [(lag, share) for lag, share in zip(need.lags, need.strength, strict=False) if math.isfinite(share)]
    tallest = max([share for _, share in shares], default=0.0)
    if need.lag is None or tallest <= 0:
        smallest = (
            f"; {percent(need.detectable)} of the error would have been" if math.isfinite(need.detectable) else ""
        )
        return [label, text(LEFT + 6, bottom - 6, f"none found{smallest}")]
    columns: dict[int, float] = {}
    for lag, share in shares:  # of the lags that fall on one point, the strongest
        x = round(across(lag))
        columns[x] = max(share, columns.get(x, 0.0))
    points = [(float(x), bottom - (bottom - top) * level_of(share, 0, tallest)) for x, share in columns.items()]
    return [label, text(LEFT - 6, top + 10, percent(tallest), "end"), area(points, bottom, NEED)]


def _marked(reach: Reach | None, need: Need | None, across: Across) -> list[str]:
    """Lines where reach ends and where need lies, with their numbers above; the second one higher if they are close."""
    marks = [(reach.lag, "reach", REACH, "")] if reach else []
    marks += [(need.lag, "need", NEED, "6 3")] if need and need.lag is not None else []
    parts, taken = [], -math.inf
    for lag, what, color, dash in sorted(marks):
        x, told = across(lag), f"{what} {lag}"
        y = GAIN[0] - 6 if x - taken > 130 else GAIN[0] - 20
        anchor = "start" if x < LEFT + 40 else "end" if x > RIGHT - 40 else "middle"
        parts += [line(x, y + 3, x, NEEDED[1], color, 2, dash), text(x, y, told, anchor, bold=True)]
        taken = x
    return parts


def _thinned(pairs: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most about a thousand, the first and the last among them."""
    return pairs if len(pairs) <= POINTS else [*pairs[:: len(pairs) // POINTS], pairs[-1]]


def level_of(value: float, low: float, high: float) -> float:
    """How far up between two ends, 0 to 1; beyond them too."""
    return (value - low) / (high - low)


def _bounded(power: float) -> float:
    """A power of ten that can be drawn; NaN stays."""
    return power if math.isnan(power) else min(400.0, max(-400.0, power))


def _power(exponent: float) -> str:
    return f"{10**exponent:.3g}" if -5 < exponent < 4 else f"1e{exponent:+.0f}"
