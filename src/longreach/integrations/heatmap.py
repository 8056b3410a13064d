"""How the reach came about, as pixels, for tools that show images: the map of the page, drawn without a browser."""

import math
from typing import Any

import numpy as np

from longreach.history import ReachTrack
from longreach.integrations.missing import missing
from longreach.probes.reach import THRESHOLD
from longreach.report.page.figures.reach_over_training import grid

try:
    from PIL import Image, ImageDraw, ImageFont
except ModuleNotFoundError as error:
    raise missing("pillow", error) from error

WIDTH, HEIGHT = 720, 440
LEFT, TOP, RIGHT, BOTTOM = 56, 40, 640, 392  # of the map
LOWEST = math.log10(THRESHOLD) - 2  # powers of ten that the colours tell apart: from here to 0
# cividis (Nuñez, Anderton & Renslow 2018, PLoS ONE 13:e0199239), which looks alike to all eyes
CIVIDIS = np.array(
    [
        *[(0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115)],
        *[(138, 134, 120), (165, 156, 116), (195, 179, 105), (225, 204, 85), (254, 232, 56)],
    ]
)
UNKNOWN = (214, 214, 214)


def draw(track: ReachTrack, name: str, need: int | None = None) -> np.ndarray:
    """Gain as colours over training step and lag, the reach as a white line on it, the need as a broken one.

    Gives   (440, 720, 3) of uint8
    Colours from a hundredth of the threshold, and all below, to 1, and all above; grey is NaN and what was not measured
    """
    lags, steps, gain = grid(track)
    end = max(lags[-1], need or 0, 1)
    top = 1.03 * end  # a line at the end is seen
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    image.paste(_map(lags, steps, np.array(gain), top), (LEFT, TOP))
    pen.rectangle((LEFT - 1, TOP - 1, RIGHT, BOTTOM), outline="black")

    def place(step: float, lag: float) -> tuple[float, float]:
        across = (step - steps[0]) / max(steps[-1] - steps[0], 1)
        return LEFT + across * (RIGHT - LEFT - 1), BOTTOM - 1 - lag / top * (BOTTOM - TOP - 1)

    line = [place(step, lag) for step, lag in zip(track.steps, track.reach, strict=True)]
    for width, color in ((6, "black"), (3, "white")):
        pen.line(line if len(line) > 1 else [(LEFT, line[0][1]), (RIGHT, line[0][1])], fill=color, width=width)
    if need is not None:
        y = place(0, need)[1]
        for x in range(LEFT, RIGHT, 16):
            pen.line((x, y, x + 8, y), fill="white", width=3)
    asked = f", need {need} (broken)" if need is not None else ""
    pen.text((LEFT, 10), f"{name[:60]}: reach {track.reach[-1]} (white line){asked}", "black", font)
    pen.text((LEFT, BOTTOM + 6), str(steps[0]), "black", font)
    pen.text((RIGHT, BOTTOM + 6), str(steps[-1]), "black", font, anchor="ra")
    pen.text(((LEFT + RIGHT) / 2, BOTTOM + 24), "training step", "black", font, anchor="ma")
    pen.text((LEFT - 6, place(0, end)[1]), str(end), "black", font, anchor="rm")
    pen.text((LEFT - 6, BOTTOM), "lag 0", "black", font, anchor="rd")
    _legend(image, pen, font)
    return np.asarray(image)


def _map(lags: list[int], steps: list[int], gain: np.ndarray, top: float) -> Image.Image:
    """A pixel takes the nearest sampled step, and reads ln gain linearly between two lags."""
    wide, high = RIGHT - LEFT, BOTTOM - TOP
    borders = (np.array(steps[1:]) + np.array(steps[:-1])) / 2
    columns = np.searchsorted(borders, np.linspace(steps[0], steps[-1], wide))
    rows = np.linspace(top, 0, high)
    bounded = np.clip(gain, LOWEST, 0)  # -inf has a colour, NaN stays NaN
    read = np.array([np.interp(rows, lags, of_step, right=np.nan) for of_step in bounded])
    return Image.fromarray(_colours(read[columns].T))


def _colours(power: np.ndarray) -> np.ndarray:
    at = (power - LOWEST) / -LOWEST * (len(CIVIDIS) - 1)
    channels = [np.interp(at, np.arange(len(CIVIDIS)), channel) for channel in CIVIDIS.T]
    known = ~np.isnan(power)
    return np.where(known[..., None], np.nan_to_num(np.stack(channels, -1)), UNKNOWN).round().astype(np.uint8)


def _legend(image: Image.Image, pen: ImageDraw.ImageDraw, font: Any) -> None:
    bar = np.linspace(0, LOWEST, BOTTOM - TOP)[:, None].repeat(14, 1)
    image.paste(Image.fromarray(_colours(bar)), (RIGHT + 14, TOP))
    for power in range(0, round(LOWEST) - 1, -1):
        y = TOP + (BOTTOM - TOP) * power / LOWEST
        pen.text((RIGHT + 32, y), f"{10.0**power:g}", "black", font, anchor="lm")
    pen.text((RIGHT + 14, TOP - 8), "gain", "black", font, anchor="ld")
