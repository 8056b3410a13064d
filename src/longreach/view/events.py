"""Server-sent events (WHATWG HTML, section 9.2): a browser hears of every new version, and that we are still here."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from longreach.view.follow import Follow
from longreach.view.guard import refusal
from longreach.view.version import GZIP, packed

HEARTBEAT = 15.0  # seconds; less than what any program on the way takes for silence
RETRY = b"retry: 1000\n\n"  # milliseconds after which a browser tries again
ALIVE = b": still here\n\n"
MOST = 32  # browsers at a time


class Listeners:
    """How many browsers listen at the moment."""

    def __init__(self) -> None:
        self.count = 0

    def answer(self, request: Request, follow: Follow) -> Response:
        """Events for one more browser; a sentence where there are too many."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self.count >= MOST:
            return refusal(503, f"503: {MOST} pages listen already, which is as many as there may be: close some.")
        return _Events(self, request, follow)


class _Events(StreamingResponse):
    """The newest version, and every later one as soon as it is read; ends when the browser has gone.

    A browser that is slow gets the newest version when it is ready for one, and none of those between.
    """

    def __init__(self, listeners: Listeners, request: Request, follow: Follow):
        self._listeners, self._follow = listeners, follow
        self._packs = "gzip" in request.headers.get("accept-encoding", "")
        seen = request.headers.get("last-event-id") or request.query_params.get("seen", "")
        headers = {"Content-Encoding": "gzip"} if self._packs else {}
        super().__init__(self._said(seen), headers=headers, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count for as long as it takes."""
        self._listeners.count += 1
        try:
            with self._follow.listened():
                await super().__call__(scope, receive, send)
        finally:
            self._listeners.count -= 1

    async def _said(self, seen: str) -> AsyncIterator[bytes]:
        yield GZIP + packed(RETRY) if self._packs else RETRY
        while True:
            version = await self._follow.after(seen, HEARTBEAT)
            if version is None:
                yield packed(ALIVE) if self._packs else ALIVE
            else:
                seen = version.id
                yield version.packed if self._packs else version.event
