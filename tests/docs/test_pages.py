"""Python in the pages runs: every block, in the order of its page, in one module."""

import re
import sys
import types
import warnings
from pathlib import Path

import jaxtyping
import pytest

DOCS = Path(__file__).parents[2] / "docs"
# Fragments, of scripts that the reader has; integrations.md and spectrum.md have tests of their own.
FRAGMENTS = {"integrations.md", "layers.md", "spectrum.md", "training.md"}
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if PYTHON.search(page.read_text()) and page.relative_to(DOCS).as_posix() not in FRAGMENTS
]


@pytest.fixture
def module(monkeypatch):
    """An importable module, as what is pickled has to come from one; shapes in annotations unchecked, as for users."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    made = types.ModuleType("page_of_the_site")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_python_blocks_run(page, module, capsys):
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".torch.jit.script. is deprecated", DeprecationWarning
        )  # torch's forward mode
        for block in PYTHON.findall(page.read_text()):
            exec(compile(block, str(page), "exec"), vars(module))
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


def test_there_are_pages():
    checked = {page.relative_to(DOCS).as_posix() for page in PAGES}
    theory = {page.relative_to(DOCS).as_posix() for page in (DOCS / "theory").glob("*.md")} - {"theory/index.md"}
    assert theory | {"start.md", "extending.md", "reference/run-folder.md"} <= checked


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_no_block_of_python_is_passed_over(page):
    kinds = re.findall(r"^ *```+ *([^\n]*)$", page.read_text(), re.MULTILINE)[::2]
    assert set(kinds) <= {"python", "text", "json", ""}
