"""The demo's own parts; `make demo` plays it as a whole and fails if the remedy does not help."""

import ast

from longreach.demo import REMEDY, SCRIPT, difference, treat


def test_the_remedy_is_the_difference_between_the_two_scripts():
    source = SCRIPT.read_text()
    treated = treat(source)
    before, after = source.splitlines(), treated.splitlines()
    ast.parse(treated)
    for line in difference().splitlines():
        sign, code = line[0], line[1:]
        assert (code in before, code in after) == ((True, False) if sign == "-" else (False, True))
    assert len(after) - len(before) == sum(len(new) - 1 for new in REMEDY.values())


def test_the_script_knows_nothing_of_longreach():
    imported = {
        alias.name
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported == {"torch"}
