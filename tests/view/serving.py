"""A real server in a thread, runs made by hand, and requests with every header as a test wants it."""

import asyncio
import http.client
import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from longreach.probes.samples import Curve, LayerKey
from longreach.store import Store
from longreach.view import server
from longreach.view.app import application

KEY = bytes(range(32))


def begin(folder: Path, *, steps: int = 30, script: str = "train.py", module: str = "rnn") -> Store:
    """A run that goes on until its store is closed."""
    store = Store.create(folder)
    store.put_meta(script=script, argv=[], steps=steps, seconds=2.0, spent=0.02)
    lags = tuple(range(60))
    for step in range(4):
        curve = Curve(step, lags, tuple(-0.5 * lag for lag in lags), None, None, False)
        store.add_curve(LayerKey(module, "RNN tanh", 0, "forward", 16), curve)
    store.add_losses([(step, 1.0 + step) for step in range(steps)])
    store.commit()
    return store


def make(folder: Path, **how) -> Path:
    """A run that is over."""
    begin(folder, **how).close()
    return folder


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Stream:
    """Server-sent events, as a browser reads them."""

    def __init__(self, answer: http.client.HTTPResponse, connection: http.client.HTTPConnection):
        self.status, self.headers, self._answer, self._connection = answer.status, answer.headers, answer, connection
        self._unpack = zlib.decompressobj(wbits=31) if answer.headers["content-encoding"] == "gzip" else None
        self._rest = b""

    def blocks(self) -> Iterator[str]:
        """Every block of lines, comments included, as it comes."""
        while data := self._answer.read1(65536):
            self._rest += self._unpack.decompress(data) if self._unpack else data
            while b"\n\n" in self._rest:
                block, self._rest = self._rest.split(b"\n\n", 1)
                yield block.decode()

    def next(self) -> tuple[str, dict]:
        """Id and content of the next event."""
        for block in self.blocks():
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if "data" in fields:
                return fields["id"], json.loads(fields["data"])
        raise EOFError("the server has ended the stream")

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


class Served:
    """A server for a folder."""

    def __init__(self, folder: Path, port: int = 0, key: bytes = KEY):
        listening = server._listen(port)
        self.port = listening.getsockname()[1]
        self.guard = application(folder.resolve(), port=self.port, key=key)
        self.token = self.guard.link.split("token=")[1]
        self.cookie = f"{self.guard._name}={self.guard._value}"
        self._server = server.server_of(self.guard)
        self._thread = threading.Thread(target=self._run, args=(listening,))
        self._thread.start()
        wait_until(lambda: self._server.started)

    def _run(self, listening) -> None:
        asyncio.run(self._server.serve(sockets=[listening]))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie} | headers
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse(), connection

    def get(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        """A request of a browser that was let in; headers with _ for -, an empty one is left out."""
        answer, connection = self._ask(method, path, {name.replace("_", "-"): value for name, value in headers.items()})
        found = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return found

    def events(self, path: str, **headers: str) -> Stream:
        return Stream(*self._ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()}))

    def address(self, name: str) -> str:
        """Of the page of a run, as the list has it."""
        return re.search(rf'href="(/run/[0-9a-f]+)">{re.escape(name)}<', self.get("/?show=1000").text)[1]


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.01)


def serving() -> Iterator[Callable[..., Served]]:
    """Starts servers, and stops them when the test is over."""
    started: list[Served] = []

    def serve(folder: Path, **how) -> Served:
        started.append(Served(folder, **how))
        return started[-1]

    yield serve
    for one in started:
        one.stop()
