"""What the figures of a trial have in common: which arms they show, and how."""

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from longreach.report.page.figures.axes import LEGEND
from longreach.report.page.figures.text import shown
from longreach.trial.proof import Arm, Proof

MOST = 20  # arms that are drawn


def best_first(found: Proof) -> list[Arm]:
    """The arms that were tried, the random change among them: at most 20, those with the largest gain."""
    tried = [arm for arm in (found.random, *found.arms) if found.gain(arm)]
    return sorted(tried, key=lambda arm: -mean(found.gain(arm).values()))[:MOST]


def called(found: Proof, arm: Arm) -> str:
    """The arm's name; the random change is not known by what it is made of."""
    return "random change" if arm is found.random else arm.name


def mean(values: Iterable[float]) -> float:
    """NaN of none."""
    values = list(values)
    return fmean(values) if values else math.nan


def rows_of(labels: list[str], title: str) -> dict[str, Any]:
    """A layout of rows, the first at the top, each with its label above it: names take no room from a phone's width."""
    return {
        "height": 130 + 48 * len(labels),
        "hovermode": "closest",
        "legend": LEGEND,
        "xaxis": {"title": {"text": title}},
        "yaxis": {"range": [len(labels) - 0.4, -0.75], "showticklabels": False, "showgrid": False, "zeroline": False},
        "shapes": [],
        "annotations": [
            {
                "name": "quiet",
                "text": shown(label, 48),
                "showarrow": False,
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": row - 0.2,
                "yanchor": "bottom",
            }
            for row, label in enumerate(labels)
        ],
    }
