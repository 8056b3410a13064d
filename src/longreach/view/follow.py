"""Following what lies on the disk: read anew when it has changed, once for all who look, and never too often."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from longreach.view.version import Version

T = TypeVar("T")
INTERVAL = 1.0  # seconds between two looks at the files
SHARE = 0.2  # of the time that reading may take: a training on the same machine wants the rest


class Pace:
    """One reading at a time, and a rest after each that is in proportion to it."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self._free = 0.0

    async def turn(self, job: Callable[[], T], *, hurry: bool) -> T:
        """The outcome of `job`, done in a thread; `hurry`: somebody waits for it, so it does not wait for its turn."""
        while True:
            if not hurry:
                await asyncio.sleep(max(0.0, self._free - time.monotonic()))
            async with self._one:
                started = time.monotonic()
                if not hurry and started < self._free:  # another one was quicker
                    continue
                try:
                    return await aside(job)
                finally:
                    ended = time.monotonic()
                    self._free = ended + (ended - started) * (1 / SHARE - 1)


class Follow:
    """Something on the disk, and its newest version.

    state    what changes when there is something new to read; milliseconds
    read     what a page then says
    Reads    anew while somebody listens, and when a page is opened that nobody listens to
    Keeps    the version that it has where reading fails, and says so on stderr
    """

    def __init__(self, state: Callable[[], Hashable], read: Callable[[], dict[str, Any]], pace: Pace):
        self._state, self._read, self._pace = state, read, pace
        self._seen: Hashable = None
        self._version: Version | None = None
        self._changed = asyncio.Event()
        self._look: asyncio.Task[None] | None = None
        self._listeners = 0
        self._following: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many browsers keep up with it."""
        return self._listeners

    async def now(self) -> Version:
        """The newest version; a new one where nobody has listened."""
        if self._version is None or not self._listeners:
            await self._looked(hurry=True)
        assert self._version is not None
        return self._version

    async def after(self, seen: str, patience: float) -> Version | None:
        """A version other than the one of this id; None if none has come after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._version is None or self._version.id == seen:
                    await self._changed.wait()
                return self._version
        return None

    @contextmanager
    def listened(self) -> Iterator[None]:
        """Somebody listens while this lasts."""
        self._listeners += 1
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._following.cancel()
                self._following = None

    async def _follow(self) -> None:
        hurry = self._version is None
        while True:
            try:
                await self._looked(hurry=hurry)
            except Exception:
                traceback.print_exc(file=sys.stderr)
            hurry = False
            await asyncio.sleep(INTERVAL)

    async def _looked(self, *, hurry: bool) -> None:
        """Look once, together with all others who ask; goes on even where those who asked have left."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._read_anew(hurry=hurry))
        await asyncio.shield(self._look)

    async def _read_anew(self, *, hurry: bool) -> None:
        state = await aside(self._state)
        if state == self._seen and (self._version is not None or not hurry):
            return  # nothing new; nor is what could not be read then, unless somebody asks again
        self._seen = state
        version = await self._pace.turn(lambda: Version.of(self._read()), hurry=hurry)
        if self._version is None or version.id != self._version.id:
            self._version = version
            self._changed.set()
            self._changed = asyncio.Event()


async def aside(job: Callable[[], T]) -> T:
    """The outcome of `job`, in a thread that the end of the process does not wait for, as it would for a pool's."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(how: Callable[[Any], None], what: Any) -> None:
        if not done.done():  # nobody waits any more
            how(what)

    def work() -> None:
        try:
            how, what = done.set_result, job()
        except BaseException as error:
            how, what = done.set_exception, error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, how, what)

    threading.Thread(target=work, daemon=True).start()
    return await done
