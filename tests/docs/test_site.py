"""The whole site: it builds without a warning, leads nowhere that is not there, and asks no other host for anything."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loads(HTMLParser):
    """What a page loads by itself: not the links that a reader may follow."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "link"):
            self.found += [given[name] for name in ("src", "href") if given.get(name)]


def test_it_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 90
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert loads.found
        assert [address for address in loads.found if re.match(r"(https?:)?//", address)] == []
        assert "mermaid" not in page.read_text(), "which the theme would load from elsewhere"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", sheet.read_text())


def test_docstrings_are_shown_as_data_sheets(site):
    page = (site / "reference" / "longreach.html").read_text()
    for name in ("watch", "Diagnosis", "prove", "lyapunov"):
        assert f'id="longreach.{name}"' in page
    assert re.search(r"<dt>code</dt>\s*<dd>", page)


def test_what_is_searched_for_is_found(site):
    texts = {
        entry["location"]: entry["title"]
        for entry in json.loads((site / "search" / "search_index.json").read_text())["docs"]
    }
    assert any(title.startswith("LR101") for title in texts.values())


def test_sources_of_the_pages_stay_at_home(site):
    assert not list(site.rglob("*.py"))
    assert (site / "source" / "examples" / "forgetful.py.html").exists()


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_links_of_the_repository_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
