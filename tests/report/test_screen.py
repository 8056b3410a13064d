"""What a stream can show is decided in one place."""

import io
import sys

import pytest
from tests.report.seen import in_terminal

from longreach.report.screen import Screen

ASK = "import sys; from longreach.report.screen import Screen; print(Screen.of(sys.stdout))"


@pytest.mark.parametrize(
    ("columns", "environment", "expected"),
    [
        (80, {}, Screen(80, color=True, redraws=True)),
        (20, {}, Screen(40, color=True, redraws=True)),
        (300, {}, Screen(100, color=True, redraws=True)),
        (0, {}, Screen(80, color=True, redraws=True)),
        (60, {"COLUMNS": "200", "FORCE_COLOR": "1"}, Screen(60, color=True, redraws=True)),
        (60, {"NO_COLOR": "1"}, Screen(60, redraws=True)),
        (60, {"NO_COLOR": ""}, Screen(60, color=True, redraws=True)),
        (60, {"TERM": "dumb"}, Screen(60)),
        (60, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, Screen(60, True, True, True)),
    ],
)
def test_a_terminal(columns, environment, expected):
    seen = in_terminal([sys.executable, "-c", ASK], columns=columns, **environment)
    assert seen.sent.strip() == str(expected)


@pytest.mark.parametrize("stream", [None, io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")])
def test_whoever_is_no_terminal_gets_the_usual(stream, monkeypatch):
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Screen.of(stream) == Screen(80)


def test_a_file_of_few_letters():
    assert Screen.of(io.TextIOWrapper(io.BytesIO(), encoding="latin-1")) == Screen(80, ascii=True)
