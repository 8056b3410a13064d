"""A story with every part that a page can tell of: a run that was judged, a trial, a training."""

import math
from dataclasses import replace

from tests.report.page.figures.stories import plain_story

from longreach.story import Trained

PLAN = {
    "plan": {
        "architecture": {"cell": "min-gru", "hidden": 32, "layers": 1},
        "sizes": {"batch": 20, "seed": 7},
        "updates": 600,
        "lr": 0.01,
        "reasons": ["the data need 97 of 99 steps", "min-gru reaches 99 of 99 steps at its start"],
    }
}
OUTCOME = {
    "test": {"loss": 0.0127, "wrong": math.nan},
    "naive": {"loss": 0.1667},
    "seconds": 75.0,
    "updates": 600,
    "skipped": 2,
    "left": ["forecast.csv: the 24 steps after the end of the data"],
}
PATCH = "--- a.py\n+++ a.py\n model = Network()\n+remedies.linear_recurrent(model)\n"
WHOLE = replace(plain_story(), trained=Trained(PLAN, OUTCOME, ()), patch=PATCH, missing=("events.csv: cut off",))
