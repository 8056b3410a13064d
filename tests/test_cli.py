import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import longreach
from longreach.probes.samples import Curve, LayerKey
from longreach.store import Store

LONGREACH = [sys.executable, "-m", "longreach"]


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LONGREACH, *arguments], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.fixture
def a_run() -> str:
    store = Store.create(Path("RUN"))
    store.put_meta(script="train.py", steps=30, seconds=2.0, spent=0.02)
    lags = tuple(range(60))
    for step in range(4):
        curve = Curve(step, lags, tuple(-0.5 * lag for lag in lags), None, None, False)
        store.add_curve(LayerKey("encoder", "RNN tanh", 0, "forward", 16), curve)
    store.add_losses([(step, 1.0) for step in range(30)])
    store.close()
    return "RUN"


def test_everything_after_the_script_is_the_scripts():
    Path("show.py").write_text("import sys; print(sys.argv)")
    for number, (arguments, expected) in enumerate(
        [
            (["show.py", "--lr", "0.1", "-v", "-m", "x"], ["show.py", "--lr", "0.1", "-v", "-m", "x"]),
            (["show.py", "--", "--quiet", "--help"], ["show.py", "--", "--quiet", "--help"]),
            (["--", "show.py", "--version"], ["show.py", "--version"]),
            (["--budget", "0.5", "show.py", "--budget", "7"], ["show.py", "--budget", "7"]),
            (["--quiet", "-m", "show", "--x", "1"], [str(Path("show.py").absolute()), "--x", "1"]),
            (["show.py", "", "a b", "*", "~", "$HOME"], ["show.py", "", "a b", "*", "~", "$HOME"]),
        ]
    ):
        assert run("run", "--run-dir", f"RUN{number}", *arguments).stdout == f"{expected}\n"


def test_version():
    assert run("--version").stdout == f"longreach {longreach.__version__}\n"


def test_help_names_every_command():
    shown = run("--help").stdout
    assert all(command in shown for command in ("run", "report", "demo"))
    assert run().returncode == 2


def test_an_error_of_ours_is_one_line_and_exit_code_2():
    for arguments, begins in [
        (("run", "none.py"), "longreach: none.py: expected a Python script, got: No such file or directory;"),
        (("report", "none"), "longreach: none: expected a run folder with a record.sqlite, found none;"),
    ]:
        done = run(*arguments)
        assert (done.stdout, done.returncode) == ("", 2)
        assert done.stderr.startswith(begins)
        assert done.stderr.count("\n") == 1


def test_an_error_shows_a_hostile_name_and_does_not_obey_it():
    done = run("report", "a\x1b[2J\x07b")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "a\\x1b[2J\\x07b: expected a run folder" in done.stderr


def test_wrong_usage_is_exit_code_2(a_run):
    for arguments in (
        ("run",),
        ("report",),
        ("report", a_run, "--format", "pdf"),
        ("run", "--budget", "much", "x.py"),
        ("x",),
    ):
        done = run(*arguments)
        assert (done.stdout, done.returncode) == ("", 2), arguments
        assert "Usage" in done.stderr


def test_report_shows_a_judged_run_as_it_was_judged(a_run):
    judged = run("report", a_run, "--format", "json").stdout
    written = Path(a_run) / "diagnosis.json"
    written.write_text(judged.replace('"steps": 30', '"steps": 31'))
    assert run("report", a_run, "--format", "json").stdout == written.read_text()
    written.write_text(judged[:100])
    assert run("report", a_run, "--format", "json").stdout == judged, "judged again where the verdict is cut off"


def test_report_as_text_is_plain_when_piped(a_run):
    done = run("report", a_run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "encoder" in done.stdout
    assert "verdict" in done.stdout
    assert "\x1b" not in done.stdout


def test_report_as_json(a_run):
    done = run("report", a_run, "--format", "json")
    diagnosis = json.loads(done.stdout)
    assert diagnosis["schema"] == "longreach.diagnosis/1"
    assert [layer["module"] for layer in diagnosis["layers"]] == ["encoder"]
    assert done.stdout.endswith("}\n")


def test_report_in_colour_on_a_terminal_unless_refused(a_run):
    coloured, plain, dumb = (
        in_terminal(*LONGREACH, "report", a_run, **env) for env in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"})
    )
    assert "\x1b[" in coloured
    assert "\x1b[" not in plain
    assert "\x1b[" not in dumb


def in_terminal(*command: str, **environment: str) -> str:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, {**os.environ, "TERM": "xterm", **environment})
    shown = b""
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:  # how Linux says that the other end of a terminal is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return shown.decode()


def test_report_in_ascii_where_the_terminal_has_no_more(a_run):
    done = subprocess.run(
        [*LONGREACH, "report", a_run], capture_output=True, timeout=60, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0
    assert b"reach" in done.stdout
    assert done.stdout.isascii()


def test_report_into_a_pipe_that_nobody_reads(a_run):
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(LONGREACH)} report {a_run} 2> complaints | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    assert Path("complaints").read_text() == ""
    assert done.stdout == b"1\n"


def test_the_command_line_starts_without_torch_and_numpy_and_at_once():
    code = "import sys, longreach.cli; print([n for n in ('torch', 'numpy', 'scipy', 'sqlite3') if n in sys.modules])"
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - begun)
        assert done.stdout == "[]\n"
    assert min(times) < 0.3
