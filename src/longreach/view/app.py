"""The addresses of the live page. What they show is in `pages`, who may see it in `guard`."""

import asyncio
import sys
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from longreach.view import compare, pages
from longreach.view.events import Listeners
from longreach.view.follow import Follow, Pace, aside
from longreach.view.found import Found
from longreach.view.guard import Guard, refusal
from longreach.view.library import Library
from longreach.view.version import Version

KEPT = 12  # pages that nobody listens to, kept for who comes back; some MB each
PATIENCE = 2.0  # seconds that a browser waits for a page with nothing to show
LONGEST = 1000  # runs on the list
# A page of figures carries a policy of its own, which allows its own scripts alone, by their hashes: both count.
OF_FIGURES = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
OF_LISTS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def application(folder: Path, *, port: int, key: bytes) -> Guard:
    """The application that shows the runs of a folder at a port of this machine, behind its guard.

    /                 the runs, or the run where the folder is one
    /run/ID           one run
    /compare?run=ID…  some side by side
    /…/events         what is new on each of these, as server-sent events
    """
    site = _Site(Library(folder))
    routes = [
        Route("/", site.runs),
        Route("/events", site.runs_events),
        Route("/run/{id}", site.run),
        Route("/run/{id}/events", site.run_events),
        Route("/compare", site.compare),
        Route("/compare/events", site.compare_events),
        *(Route(f"/{name}", _file(name, kind)) for name, kind in pages.FILES.items()),
    ]
    shown = Starlette(routes=routes, exception_handlers={HTTPException: _said, Exception: _broke})
    return Guard(shown, port=port, folder=folder, key=key)


class _Site:
    def __init__(self, library: Library):
        self._library = library
        self._pace, self._listeners = Pace(), Listeners()
        self._follows: OrderedDict[Hashable, Follow] = OrderedDict()

    async def runs(self, request: Request) -> Response:
        """The list of runs."""
        shelf = await aside(self._library.shelf)
        if shelf.runs and shelf.runs[0].path == self._library.root:
            return RedirectResponse(f"/run/{shelf.runs[0].id}", 303)
        count = _count(request)
        library = self._library
        version = await _soon(self._list(count), lambda: pages.list_reading(library, count))
        return _html(pages.list_page(self._library, version, count), OF_LISTS)

    async def runs_events(self, request: Request) -> Response:
        """News of the list."""
        return self._listeners.answer(request, self._list(_count(request)))

    async def run(self, request: Request) -> Response:
        """One run."""
        run = await self._asked(request.path_params["id"])
        version = await _soon(self._run(run), lambda: pages.run_reading(self._library, run))
        return _html(
            await aside(lambda: pages.run_page(version, f"/run/{run.id}/events?seen={version.id}")), OF_FIGURES
        )

    async def run_events(self, request: Request) -> Response:
        """News of one run."""
        return self._listeners.answer(request, self._run(await self._asked(request.path_params["id"])))

    async def compare(self, request: Request) -> Response:
        """Some runs side by side."""
        runs = await self._chosen(request)
        version = await self._compare(runs).now()
        events = "/compare/events?" + urlencode([*(("run", run.id) for run in runs), ("seen", version.id)])
        return _html(await aside(lambda: pages.run_page(version, events)), OF_FIGURES)

    async def compare_events(self, request: Request) -> Response:
        """News of some runs side by side."""
        return self._listeners.answer(request, self._compare(await self._chosen(request)))

    def _list(self, count: int) -> Follow:
        library = self._library
        return self._follow(
            ("list", count), lambda: pages.list_state(library, count), lambda: pages.list_content(library, count)
        )

    def _run(self, run: Found) -> Follow:
        library = self._library
        return self._follow(("run", run.id), lambda: library.state(run), lambda: pages.run_content(library, run))

    def _compare(self, runs: list[Found]) -> Follow:
        library = self._library
        return self._follow(
            ("compare", *(run.id for run in runs)),
            lambda: tuple(map(library.state, runs)),
            lambda: compare.compare_content(library, runs),
        )

    def _follow(self, key: Hashable, state: Callable[[], Hashable], read: Callable[[], dict[str, Any]]) -> Follow:
        """The one Follow of a page, however many look at it."""
        if key not in self._follows:
            self._follows[key] = Follow(state, read, self._pace)
        self._follows.move_to_end(key)
        idle = [key for key, follow in self._follows.items() if not follow.listeners]
        for old in idle[:-KEPT]:
            del self._follows[old]
        return self._follows[key]

    async def _asked(self, id: str) -> Found:
        """A run that was found; its id is looked up, and never part of a path."""
        if run := await aside(lambda: self._library.get(id)):
            return run
        raise HTTPException(
            404, "404: expected a run of this folder, got another address; it may have been moved away."
        )

    async def _chosen(self, request: Request) -> list[Found]:
        ids = list(dict.fromkeys(request.query_params.getlist("run")))
        if not 1 <= len(ids) <= compare.MOST:
            raise HTTPException(
                404, f"404: expected 1 to {compare.MOST} runs to compare, got {len(ids)}; go back and choose."
            )
        return [await self._asked(id) for id in ids]


async def _soon(follow: Follow, otherwise: Callable[[], dict[str, Any]]) -> Version:
    """The newest version; what can be said without it where that takes long: it comes as the first event then."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await follow.now()
    except TimeoutError:
        return Version.of(await aside(otherwise))


def _count(request: Request) -> int:
    """How many runs are asked for; whole pages of them, so that few lists have to be kept."""
    asked = request.query_params.get("show", "")
    wanted = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0
    return min(LONGEST, max(1, -(-wanted // pages.SHOWN)) * pages.SHOWN)


def _html(text: str, policy: str) -> Response:
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return Response(pages.file(name), media_type=kind)

    return answer


async def _said(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = error.detail if error.detail[:1].isdigit() else f"{error.status_code}: there is nothing at this address."
    return refusal(error.status_code, sentence)


async def _broke(_: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    return refusal(500, "500: longreach has failed here, which is a bug of its own; the terminal says where.")
