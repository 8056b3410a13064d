"""What each page says, as JSON can hold it: that of one run, that of many, that of a few side by side."""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from longreach.folder import is_alive
from longreach.report.page.html import PARTS, content, page
from longreach.report.page.text import number
from longreach.view.card import LEVEL, Card
from longreach.view.compare import MOST
from longreach.view.drawing import HERE, PAGE, templates
from longreach.view.found import BENCH_LOCK, Found
from longreach.view.library import Library
from longreach.view.sparkline import sparkline
from longreach.view.version import Version

FILES = {"list.css": "text/css", "list.js": "text/javascript", "listen.js": "text/javascript"}
SHOWN = 30  # runs of a list, until somebody asks for more


def run_content(library: Library, run: Found) -> dict[str, Any]:
    """The page of one run: that of `longreach report`, with a way back to the others."""
    told = content(library.story(run))
    told["parts"]["verdict"] = _rendered("back", library, run) + told["parts"]["verdict"]
    return told


def run_reading(library: Library, run: Found) -> dict[str, Any]:
    """The page of one run while it is read for the first time."""
    parts = dict.fromkeys(PARTS, "") | {"verdict": _rendered("reading", library, run)}
    return {"title": run.title, "going": True, "parts": parts, "figures": []}


def _rendered(template: str, library: Library, run: Found) -> str:
    return templates().get_template(f"{template}.html.j2").render(root=library.root, run=run)


def list_content(library: Library, count: int) -> dict[str, Any]:
    """The page of many runs, the newest `count` of them: {"title", "line", "cards": [{"id", "html"}], "more"}."""
    return _list(library, count, library.cards)


def list_reading(library: Library, count: int) -> dict[str, Any]:
    """The page of many runs while they are read for the first time."""
    return _list(library, count, library.known)


def _list(library: Library, count: int, told: Callable[[Sequence[Found]], dict[str, Card]]) -> dict[str, Any]:
    shelf = library.shelf()
    runs = shelf.runs[:count]
    cards = told(runs)
    template = templates().get_template("card.html.j2")
    return {
        "title": library.root.name or str(library.root),
        "line": _line(len(shelf.runs), [cards[run.id] for run in runs if run.id in cards], whole=shelf.whole),
        "cards": [
            {"id": run.id, "html": template.render(run=run, card=cards.get(run.id) or _unread(run), **_PICTURES)}
            for run in runs
        ],
        "more": len(shelf.runs) - len(runs),
    }


def list_page(library: Library, version: Version, count: int) -> str:
    """The page of many runs as HTML."""
    return (
        templates()
        .get_template("list.html.j2")
        .render(content=version.content, root=library.root, seen=version.id, count=count, step=SHOWN, most=MOST)
    )


def list_state(library: Library, count: int) -> Hashable:
    """What changes when there is something new on the page of many runs, or something left to read."""
    shelf = library.shelf()
    runs = shelf.runs[:count]
    return shelf, tuple(map(library.state, runs)), time.monotonic() if library.due(runs) else None


def file(name: str) -> str:
    """What a list loads beside itself: `list.css` begins with the look of the page of a run."""
    sources = {"list.css": (PAGE / "page.css", HERE / name), "listen.js": (PAGE / name,)}.get(name, (HERE / name,))
    return "".join(source.read_text("utf-8") for source in sources)


def run_page(version: Version, events: str) -> str:
    """A page of figures as HTML, that listens to `events` for what is new."""
    return page(version.content, events=events)


def _line(count: int, cards: list[Card], *, whole: bool) -> str:
    going = sum(card.state == "going on" for card in cards)
    runs = "no runs yet" if not count else "1 run" if count == 1 else f"{count:,} runs"
    parts = [
        runs,
        f"{going} going on" if going else "",
        "" if whole else "and more in folders that were not looked into",
    ]
    return ", ".join(filter(None, parts))


def _unread(run: Found) -> Card:
    if run.kind == "bench":
        going = is_alive(run.path, BENCH_LOCK)
        return Card("going on" if going else "over", "", f"{len(run.inner)} trainings", "open")
    return Card("", "", "reading …", "open")


def _losses(card: Card) -> str:
    xs, ys = card.losses.xs, card.losses.ys
    return sparkline(
        xs, ys, role="loss", said=f"loss, from {number(ys[0])} to {number(ys[-1])} over {number(card.steps)} steps"
    )


def _gain(card: Card) -> str:
    said = f"what is left of a gradient, over the lag: reach {number(card.reach)} of {number(card.horizon)} steps"
    return sparkline(card.gain.xs, card.gain.ys, role="reach", said=said, low=2 * LEVEL, line=LEVEL)


_PICTURES = {"losses": _losses, "gain": _gain}
