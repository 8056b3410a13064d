"""The commands as people see them: in a real terminal, narrow or of few means."""

import subprocess
import sys

import pytest
from rich.cells import cell_len
from tests.report.seen import in_terminal

LONGREACH = (sys.executable, "-m", "longreach")
TRAIN = (*LONGREACH, "train", "task", "adding", "--length", "12", "--cell", "min-gru", "--hidden", "8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training in a narrow terminal, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "RUN"
    return in_terminal([*TRAIN, "--steps", "60", "--run-dir", str(folder)], columns=40), folder


def test_a_training_shows_its_way_its_picture_and_its_verdict(trained):
    seen, folder = trained
    assert seen.code == 0
    assert "━" in seen.sent
    assert "/60" in seen.sent
    left = seen.screen()
    assert not any("━" in line for line in left)
    assert any(line.startswith("  reach  how much of a gradient") for line in left)
    assert any(line.startswith("  verdict  ") for line in left)
    assert all(cell_len(line) <= 40 for line in left if str(folder) not in line)
    assert seen.cursor_is_shown


def test_train_and_report_draw_the_same(trained):
    seen, folder = trained
    reported = in_terminal([*LONGREACH, "report", str(folder)], columns=40)
    report = [line for line in reported.screen() if line][1:]  # without its title
    left = [line for line in seen.screen() if line]
    begin = left.index(report[0])
    assert left[begin : begin + len(report)] == report
    assert ("\x1b[1;32m" in reported.sent) == ("\x1b[1;32m" in seen.sent)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_report_without_colours(trained, environment):
    _, folder = trained
    plain = in_terminal([*LONGREACH, "report", str(folder)], columns=40, **environment)
    coloured = in_terminal([*LONGREACH, "report", str(folder)], columns=40)
    assert "\x1b" not in plain.sent
    assert "\x1b[" in coloured.sent
    assert plain.screen() == coloured.screen()


def test_piped_it_is_plain(trained, tmp_path):
    done = subprocess.run(
        [*TRAIN, "--steps", "20", "--run-dir", tmp_path / "RUN"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    for text in (done.stdout, done.stderr):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "━" not in text
    assert "verdict  " in done.stdout
    assert done.stdout.endswith(f"run folder: {tmp_path / 'RUN'}\n")


def test_ctrl_c_leaves_a_whole_terminal(tmp_path):
    seen = in_terminal([*TRAIN, "--steps", "100000", "--run-dir", str(tmp_path / "RUN")], until="left")
    assert seen.code in (130, -2)
    assert seen.cursor_is_shown
    left = [line for line in seen.screen() if line]
    assert not any("━" in line for line in left)
    assert "longreach: " in left[-1] or "--resume" in " ".join(left)
