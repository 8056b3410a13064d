import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.view.serving import begin, make

from longreach.errors import LongreachError
from longreach.view import server

LISTENING = "0A"  # in /proc/net/tcp
LONGREACH = [sys.executable, "-m", "longreach"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ".run"))
    for screen in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(screen, raising=False)
    return tmp_path


@pytest.fixture
def view() -> Iterator[Callable[..., tuple[subprocess.Popen, str, str]]]:
    """Starts `longreach view`; the process, its first line, and the link it prints."""
    started = []

    def view(*arguments: str) -> tuple[subprocess.Popen, str, str]:
        process = subprocess.Popen(
            [*LONGREACH, "view", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        lines = [process.stdout.readline() for _ in range(5)]
        return process, lines[0].strip(), lines[2].strip()

    yield view
    for process in started:
        process.kill()
        process.communicate()


def refused(*arguments, **options) -> str:
    with pytest.raises(LongreachError) as error:
        server.view(*arguments, **options, tell=pytest.fail)
    return str(error.value)


def test_what_cannot_be_served_is_said_before_anything_else(place):
    Path("file").write_text("")
    Path("empty").mkdir()
    reasons = {"none": "No such file or directory", "file": "Not a directory", "x" * 5000: "File name too long"}
    for folder, why in reasons.items():
        told = refused(Path(folder))
        assert f"expected the folder of a run, or one with runs in it, got: {why};" in told
    for port in (0, -1, 65536, 123456789):
        told = refused(Path("empty"), port=port)
        assert f"--port: expected a number from 1 to 65535, got {port}; leave it out" in told
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refused(Path("empty"), port=port)
        assert f"--port {port}: expected a free one, but another program has it" in told
    assert not Path(".run").exists()


def test_an_error_is_one_line_and_exit_code_2():
    done = subprocess.run([*LONGREACH, "view", "none"], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith("longreach: none: expected the folder of a run, ")
    assert done.stderr.count("\n") == 1


def test_it_serves_here_alone_until_it_is_stopped(view, place):
    make(place / "longreach-runs" / "RUN")
    process, first, link = view()  # longreach-runs, where runs lie by default
    assert first == "longreach view: 1 run in longreach-runs"
    port = int(link.split(":")[2].split("/")[0])
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(link) as page:
        assert page.status == 200
        assert page.url == f"http://127.0.0.1:{port}/"
        assert "RUN" in page.read().decode()
    sockets = [line.split() for file in ("tcp", "tcp6") for line in Path("/proc/net", file).read_text().splitlines()]
    assert [local for _, local, _, state, *_ in sockets if local.endswith(f":{port:04X}") and state == LISTENING] == [
        f"0100007F:{port:04X}"  # 127.0.0.1
    ]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out.strip(), err, process.returncode) == ("", "", 0)


def test_a_folder_without_runs_is_served(view, place):
    (place / "empty").mkdir()
    _, first, link = view("empty")
    assert first == "longreach view: no runs yet in empty"
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(link) as page:
        assert "Nothing to see yet" in page.read().decode()


def test_started_again_it_is_where_its_pages_look_for_it_and_knows_them(view, place):
    store = begin(place / "RUN")
    process, _, link = view("RUN")
    cookies = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(cookies)
    browser.open(link).close()
    process.kill()
    process.wait()
    _, _, again = view("RUN")
    assert again.split("?")[0] == link.split("?")[0]
    assert again != link
    with browser.open(link.split("?")[0]) as page:
        assert page.status == 200
    with browser.open(again) as page:
        assert page.status == 200
    store.close()


def test_two_for_the_same_folder_do_not_meet(place):
    with server._bound(place, None) as first, server._bound(place, None) as second:
        assert first.getsockname() != second.getsockname()
        usual = first.getsockname()
    with server._bound(place, None) as again:
        assert again.getsockname() == usual


def test_a_browser_is_opened_where_it_is_asked_for(view, place, monkeypatch):
    make(place / "RUN")
    told = place / "told"
    os.mkfifo(told)
    browser = place / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    for asked in ([], ["--open"]):
        _, _, link = view("RUN", *asked)
        assert told.read_text().strip() == link
