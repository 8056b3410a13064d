"""What `longreach train` says at the end, as text."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from tests.report.test_terminal import VANISHING, layer, record

from longreach.diagnosis import diagnose
from longreach.report.screen import Screen
from longreach.report.trained import render
from longreach.training.outcome import Outcome

OUTCOME = Outcome(
    folder=Path("longreach-runs/2026-series"),
    test={"loss": 0.2544, "coverage 80 %": 0.7253},
    naive={"loss": 0.5, "MAE, the value 24 steps before": 0.1663},
    validation={},
    updates=1400,
    skipped=2,
    returns=1,
    seconds=123.0,
    verdict="vanishing-in-time",
    left=("forecast.csv: the 24 steps after the end of the data", "", "    taken  for"),
)


def test_the_whole_answer():
    said = render(OUTCOME, diagnose(record(layer())))
    report = VANISHING.split("\n", 2)[2]  # without its title
    assert said == (
        "1400 updates in 2 min 3 s (2 skipped, 1 ways back)\n\n"
        "                                      test       naive\n"
        "loss                                0.2544         0.5\n"
        "coverage 80 %                       0.7253\n"
        "MAE, the value 24 steps before                  0.1663\n\n"
        f"{report}\n"
        "forecast.csv: the 24 steps after the end of the data\n\n    taken  for\n"
        "run folder: longreach-runs/2026-series\n"
    )


def test_nobody_watched():
    said = render(OUTCOME)
    assert "\n  verdict  vanishing in time\n" in said
    assert "gradient" not in said


@pytest.mark.parametrize("width", [40, 100])
def test_no_line_is_wider_and_names_are_shown_not_obeyed(width):
    name = "a\x1b[2J\u202e" + "x" * 300
    odd = replace(OUTCOME, test={name: 0.5}, left=(name,), naive={"b": 0.25})
    said = render(odd, diagnose(record(layer(name))), Screen(width, color=False))
    assert not any(char in said for char in "\x1b\u202e")
    assert all(cell_len(line) <= width for line in said.splitlines())
    assert "0.5" in said
    assert "0.25" in said


def test_colours_are_those_of_the_report():
    said = render(OUTCOME, diagnose(record(layer())), Screen(color=True))
    assert "\x1b[1;31mvanishing in time\x1b[0m" in said
    assert "\x1b[36m" in said  # reach
    assert "\x1b[35m" in said  # need
