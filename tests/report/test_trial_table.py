"""What `treat` shows while it works."""

import io
import sys

import pytest

from longreach.report.screen import Screen
from longreach.report.sheet import Sheet
from longreach.report.trial_table import Board
from longreach.trial.runs import Result


class Runs:
    """Of which each is half done."""

    def progress(self, arm, seed):
        return "50%"


def result(arm, seed, *, end=0.25, failed=None, refused=None):
    return Result(arm, seed, 9, end, (), (), 1.0, 12.4, 300.0, None, failed, refused, None, None)


def test_where_nobody_watches_there_is_a_line_for_every_run(monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    with Board(2) as board:
        board.says("running")
        board.ended(result("control", 0))
        board.ended(result("lstm", 1, refused="no"))
        board.ended(result("gru", 0, failed="it broke"))
        board.refresh(Runs())
    assert heard.getvalue() == (
        "running\n  control, seed 1: 0.25   (12 s)\n  lstm, seed 2: n/a   (12 s)\n  gru, seed 1: failed   (12 s)\n"
    )


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_a_table_fills_up(monkeypatch, width):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with Board(2) as board:
        board.says("seed 1 of 2")
        board.begun("control", 0)
        board.begun("a\x1b[31m-long-course+another-one", 0)
        board.ended(result("control", 0))
        board.refresh(Runs())
        sheet = Sheet(Screen(width))
        board._table(sheet)
    name = "a\\x1b[31m-long-course+another-one"
    rows = [["seed", "1", "seed", "2"], ["control", "0.25"], [name, "50%"]]
    if width == 40:
        rows = [["seed", "1", "seed", "2"], ["control", "0.25"], [name], ["50%"]]
    assert [line.split() for line in sheet.text().splitlines()] == rows
    assert "0:00  seed 1 of 2" in shown.getvalue()
    assert "\x1b[31m-long" not in shown.getvalue()
