"""The page: `report.html`, one file that needs no server and no network, and the same page live.

Text comes from templates, every string escaped; what is drawn goes along as data, and the reader's browser draws it.
"""

import base64
import functools
import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longreach.report.page import facts
from longreach.report.page.data import as_json, figure_data
from longreach.report.page.text import brief, number, shown
from longreach.story import Story

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent / "templates"
PARTS = {  # in the order of the page: the first two have no heading of their own
    "verdict": "",
    "picture": "",
    "findings": "What was found",
    "proof": "What was tried, and what helped",
    "training": "The training",
    "figures": "The run in pictures",
    "layers": "The layers",
    "run": "What was run",
}

SCRIPTS = ("colours", "draw", "keys", "save", "listen", "live")  # one after the other, one script


def render(story: Story) -> str:
    """The whole page as one file.

    Cost  0.2 s beside the figures
    Size  2.2 MB of it is plotly.js, packed; it is left out where there is nothing to draw
    """
    return page(content(story))


def content(story: Story) -> dict[str, Any]:
    """What the page says and draws, as JSON can hold it: {"title", "going", "parts": {id: HTML}, "figures": [...]}.

    parts    one for each of PARTS; empty where the story tells nothing of it
    figures  `Figure` as a dict: what is not finite is None in traces, for a gap, and a word in rows
    """
    from longreach.report.page.figures import drawn

    figures = [figure_data(figure) for figure in drawn(story)]
    told = facts.told(story)
    proof = [figure for figure in figures[1:] if figure["name"].startswith("proof")]  # beside what they are about
    rest = [figure for figure in figures[1:] if figure not in proof]
    shown = {"story": story, "first": figures[:1], "proof": proof, "rest": rest, **told}
    parts = {part: templates().get_template(f"{part}.html.j2").render(shown).strip() for part in PARTS}
    return {"title": told["title"], "going": story.going, "parts": parts, "figures": figures}


def page(content: dict[str, Any], *, events: str = "") -> str:
    """The page made of `content(story)`.

    events  address, on the page's own host, of server-sent events with `content(story)` as JSON: the page then keeps
            up with them; none: it asks nobody for anything
    """
    from plotly.offline import get_plotlyjs

    own = "".join((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    plotly = get_plotlyjs() if content["figures"] or events else ""
    text = (
        templates()
        .get_template("page.html.j2")
        .render(
            content=content,
            headings=PARTS,
            data=as_json({"figures": content["figures"], "going": content["going"], "events": events}),
            live=bool(events),
            style=(HERE / "page.css").read_text("utf-8"),
            plotly=_packed(plotly) if plotly else "",
            script=own,
            policy=_policy((plotly, own), events),
        )
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair, of a file name that is no UTF-8


def _policy(scripts: Iterable[str], events: str) -> str:
    """What the page may do (Content-Security-Policy, level 3): run these very scripts; load nothing."""
    sums = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts if script]
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{checksum}'" for checksum in sums),
        "style-src": "'unsafe-inline'",  # plotly.js writes style attributes
        "img-src": "data: blob:",
        "connect-src": "'self'" if events else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {which}" for what, which in allowed.items())


@functools.cache
def _packed(script: str) -> str:
    """A script as the page unpacks it: text that cannot end its element, and not half as long. Cost: 0.1 s."""
    return base64.b64encode(gzip.compress(script.encode(), compresslevel=3, mtime=0)).decode()


@functools.cache
def templates() -> "Environment":
    """The page's templates: every string escaped, `shown`, `brief` and `number` at hand."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(shown=shown, brief=brief, number=number)
    return found
