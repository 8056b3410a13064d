"""What mkdocs calls: adds the pages that are made from the code, and what pages link to outside of docs/.

In a page of docs/, `<!-- made: codes -->` and the like stand for a table that is made.
"""

import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # docs.making and tests are packages of the repository, which is not installed

from docs.making import commands, findings, reference, remedies  # noqa: E402

MADE: dict[str, Callable[[], str]] = {"codes": findings.index, "remedies": remedies.table}
LINK = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")
WHOLE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_config(config: Any) -> Any:
    """A line of the navigation for every finding and every remedy."""
    for section in config.nav:
        for name, entries in section.items():
            if name == "Findings":
                entries += [{findings.title(rule): findings.address(rule)} for rule in _by_code()]
            if name == "Remedies":
                entries += [{one.name: remedies.address_of(one)} for one in _by_name()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """The pages that are made."""
    texts = findings.pages() | remedies.pages() | reference.pages() | {"reference/cli.md": commands.page()}
    texts |= {address: (ROOT / path).read_text().replace("](docs/", "](") for path, address in WHOLE.items()}
    for address, text in texts.items():
        files.append(File.generated(config, address, content=text))
    for path in sources():
        made = File.generated(config, address_of(path), content=_source(path), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(made)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Tables in their places, and links out of docs/ led to the pages that stand for what is there."""
    for name, make in MADE.items():
        mark = f"<!-- made: {name} -->"
        markdown = markdown.replace(mark, make()) if mark in markdown else markdown
    folder = posixpath.dirname(page.file.src_uri)

    def led(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, found[1]))
        if target.startswith("docs/") or not (ROOT / target).is_file():
            return found[0]
        return f"]({posixpath.relpath(address_of(target), folder or '.')}{found[2] or ''})"

    return LINK.sub(led, markdown)


def address_of(path: str) -> str:
    """The page that stands for a file of the repository."""
    return WHOLE.get(path, f"source/{path}.md")


def sources() -> list[str]:
    """Files of the repository that pages link to."""
    linked = set()
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for target, _ in LINK.findall(page.read_text()):
            path = posixpath.normpath(posixpath.join(page.parent.relative_to(ROOT).as_posix(), target))
            if not path.startswith("docs/") and path not in WHOLE and (ROOT / path).is_file():
                linked.add(path)
    return sorted(linked)


def _source(path: str) -> str:
    language = "python" if path.endswith(".py") else "text"
    return f"# {path}\n\n````{language}\n{(ROOT / path).read_text().rstrip()}\n````\n"


def _by_code() -> list[Any]:
    return sorted(findings.RULES, key=findings.title)


def _by_name() -> list[Any]:
    return sorted(remedies.REMEDIES, key=lambda remedy: remedy.name)
