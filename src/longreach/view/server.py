"""`longreach view`: the server, on this machine alone, until Ctrl-C."""

import errno
import hashlib
import os
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from longreach.errors import ArgumentError, RunReadError
from longreach.view.app import application
from longreach.view.found import find
from longreach.view.guard import Guard
from longreach.view.key import key

HOST = "127.0.0.1"
USUAL = range(20_000, 30_000)  # below what Linux hands out for outgoing connections
TRIES = 5


def view(
    folder: Path, *, port: int | None = None, browse: bool | None = None, tell: Callable[[str], None] = print
) -> None:
    """Serve the pages of a run, or of all runs under a folder, until Ctrl-C.

    port    None: one that is free, for the same folder the same again where it can be: so open pages come back to life
    browse  open the link in a browser; None: where there is a screen. For a moment the link is then seen in the list of
            processes: on a machine that others use, too, it is better copied
    Raises  RunReadError where there is no folder to be read, ArgumentError where the port cannot be had
    """
    _check(folder)
    listening = _bound(folder, port)
    shown = application(folder.resolve(), port=listening.getsockname()[1], key=key())
    server = server_of(shown)
    runs = len(find(folder.resolve()).runs)
    what = "1 run" if runs == 1 else f"{runs:,} runs" if runs else "no runs yet"
    tell(f"longreach view: {what} in {folder}\n\n    {shown.link}\n\nThe link opens once. Ctrl-C ends this.")
    if browse or (browse is None and _has_screen()):
        threading.Thread(target=webbrowser.open, args=(shown.link,), daemon=True).start()
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # which uvicorn passes on when all is closed
        tell("")


def server_of(shown: Guard) -> uvicorn.Server:
    """The server of an application: pages that listen are let go at once when it ends."""
    return uvicorn.Server(
        uvicorn.Config(
            shown,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )


def _check(folder: Path) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise RunReadError(
            f"{folder}: expected the folder of a run, or one with runs in it, got: {error.strerror}; "
            "`longreach run` names the folder in its last line"
        ) from None


def _bound(folder: Path, port: int | None) -> socket.socket:
    if port is not None:
        if not 1 <= port <= 65_535:
            raise ArgumentError(f"--port: expected a number from 1 to 65535, got {port}; leave it out for a free one")
        return _listen(port)
    for usual in _usual(folder):
        try:
            return _listen(usual)
        except ArgumentError:  # somebody else has it
            continue
    return _listen(0)


def _usual(folder: Path) -> list[int]:
    """Ports to try first: so a server that is started again is where its pages look for it."""
    digest = hashlib.sha256(f"{os.getuid()} {folder.resolve()}".encode(errors="surrogateescape")).digest()
    first = int.from_bytes(digest[:4], "big")
    return [USUAL[(first + step) % len(USUAL)] for step in range(TRIES)]


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was let go a minute ago
        listening.bind((HOST, port))
        listening.listen(128)  # from here on it is ours: another server that is started finds it in use
    except OSError as error:
        listening.close()
        taken = error.errno == errno.EADDRINUSE
        why = "another program has it" if taken else error.strerror
        raise ArgumentError(f"--port {port}: expected a free one, but {why}; leave it out, or take another") from None
    return listening


def _has_screen() -> bool:
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
