"""The line that is drawn over and over: in a real terminal, and where there is none."""

import shlex
import subprocess
import sys

import pytest
from tests.report.seen import in_terminal

from longreach.report.live import Live, clock
from longreach.report.screen import Screen

WORK = """
import sys, time
from longreach.report.live import Live
with Live(40, done=10) as live:
    for step in range(10, 41):
        live.at(step, "loss 0.25 \\x1b[2J of a " + "long " * 40)
        if step % 10 == 0:
            live.said(f"step {step}\\x1b[31m is done")
        time.sleep(0.03)
    if sys.argv[1:]:
        print("ready", flush=True)
        time.sleep(60 if sys.argv[1] else 0)
print("the end")
"""
SAID = [f"step {step}\\x1b[31m is done" for step in (10, 20, 30, 40)]


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    return [sys.executable, str(tmp_path / "work.py")]


@pytest.mark.parametrize("columns", [30, 40, 120])
def test_the_line_is_drawn_over_and_gone_and_sentences_stay(work, columns):
    seen = in_terminal(work, columns=columns)
    assert [line for line in seen.screen() if line] == [*SAID, "the end"]
    assert seen.cursor_is_shown
    assert "━" in seen.sent
    assert "left" in seen.sent
    assert "\x1b[2J" not in seen.sent
    drawn = seen.sent.replace("\r", "\n").split("\n")
    assert max(len(one) for one in map(plain, drawn)) <= columns


def plain(text):
    from longreach.report.sheet import Text

    return Text.from_ansi(text).plain


def test_colours_only_where_they_are_wanted(work):
    coloured, plain = in_terminal(work), in_terminal(work, NO_COLOR="1")
    assert "\x1b[90m" in coloured.sent
    assert plain.screen() == coloured.screen()
    assert "━" in plain.sent
    assert "\x1b[9" not in plain.sent
    assert "\x1b[1m" not in plain.sent


def test_letters_that_the_terminal_has(work):
    seen = in_terminal(work, LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert seen.sent.isascii()
    assert "==" in seen.sent
    assert [line for line in seen.screen() if line] == [*SAID, "the end"]


def test_a_terminal_that_draws_over_nothing_gets_sentences_alone(work):
    seen = in_terminal(work, TERM="dumb")
    assert seen.sent.splitlines() == [*SAID, "the end"]


def test_a_pipe_gets_sentences_alone(work):
    done = subprocess.run(work, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines() == SAID
    assert done.stdout == "the end\n"
    assert "\r" not in done.stderr


def test_what_is_meant_for_a_file_gets_there(work, tmp_path):
    """The line is drawn on stderr, a terminal; stdout goes elsewhere."""
    seen = in_terminal(["/bin/sh", "-c", f"{shlex.join([*work, ''])} > {tmp_path}/out"])
    assert (tmp_path / "out").read_text() == "ready\nthe end\n"
    assert [line for line in seen.screen() if line] == SAID


@pytest.mark.parametrize("environment", [{}, {"TERM": "dumb"}])
def test_quiet_is_quiet(tmp_path, environment):
    (tmp_path / "work.py").write_text(WORK.replace("done=10", "done=10, quiet=True"))
    assert in_terminal([sys.executable, str(tmp_path / "work.py")], **environment).sent == "the end\r\n"


def test_ctrl_c_leaves_the_terminal_as_it_was(work):
    seen = in_terminal([*work, "wait"], until="ready")
    assert seen.cursor_is_shown
    left = [line for line in seen.screen() if line]
    assert left[:5] == [*SAID, "ready"]
    assert left[-1] == "KeyboardInterrupt"
    assert not any("━" in line for line in left)


def test_the_cursor_stays_to_be_seen_while_work_goes_on(work):
    """kill -9 gives nobody a chance to bring it back."""
    sent = in_terminal(work).sent
    assert sent.index("\x1b[?25h") < sent.index("step 10")


@pytest.fixture
def after_half_a_minute(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("longreach.report.live.time.monotonic", lambda: now[0])
    return lambda: now.__setitem__(0, 30.0)


@pytest.mark.parametrize(
    ("made", "done", "line"),
    [
        (lambda: Live(4), 1, "━━━━━───────────────  1/4  0:30, 1:30 left  going on"),
        (lambda: Live(4, done=1), 1, "━━━━━───────────────  1/4  0:30  going on"),
        (lambda: Live(4, done=1), 2, "━━━━━━━━━━──────────  2/4  0:30, 1:00 left  going on"),
        (lambda: Live(1.0, unit=False), 0.5, "━━━━━━━━━━──────────  50%  0:30, 0:30 left  going on"),
        (lambda: Live(4), 9, "━━━━━━━━━━━━━━━━━━━━  9/4  0:30  going on"),
        (lambda: Live(), 0, "0:30  going on"),
    ],
)
def test_what_the_line_says(after_half_a_minute, made, done, line):
    live = made()
    live.at(done, "going on")
    after_half_a_minute()
    assert live.line(Screen()).plain == line


def test_a_narrow_line_says_less(after_half_a_minute):
    live = Live(4)
    live.at(2, "going on and on and on and on")
    after_half_a_minute()
    assert live.line(Screen(40)).plain == "━━━━━─────  2/4  0:30 left  going on an…"


def test_times():
    assert [clock(seconds) for seconds in (0, 59.9, 60, 3600, 3725)] == ["0:00", "0:59", "1:00", "1:00:00", "1:02:05"]
