"""The demo's own parts; `make demo` plays it as a whole and fails if the remedy does not help."""

import ast

from longreach.demo import REMEDY, SCRIPT
from longreach.remedies import named


def test_the_remedies_are_known():
    for name in REMEDY.split(","):
        assert named(name).name == name


def test_the_script_knows_nothing_of_longreach():
    imported = {
        alias.name
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported == {"torch"}
