"""Pages made from the code: every rule and remedy has its own, and each says what it has to."""

import json
import re

import pytest
from docs.making import commands, findings, reference, remedies
from docs.making.sheet import escaped, markdown, sheet
from docs.making.terminal import spans
from tests.diagnosis.firing import FIRING

from longreach.diagnosis import RULES
from longreach.remedies import REMEDIES

PAGES = findings.pages()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_has_its_page(rule):
    text = PAGES[findings.address(rule)]
    (finding,) = rule(FIRING[rule])
    assert text.startswith(f"# {finding.code} ")
    for heading in findings.HEADINGS:
        assert f"\n## {heading}\n" in text
    assert f"{finding.code}, {finding.severity}, in {finding.where}" in re.sub(r"<[^>]+>", "", text)  # the drawing
    assert (
        json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])["evidence"].keys() == finding.evidence.keys()
    )
    for name in finding.remedies:
        assert f"../remedies/{name}.md" in text


def test_pages_and_addresses_are_one_to_one():
    assert len(PAGES) == len(RULES) == len({findings.title(rule) for rule in RULES})


def test_the_index_has_every_code():
    table = findings.index()
    assert [row.count(" | ") for row in table.splitlines()[2:]] == [3] * len(RULES)
    for rule in RULES:
        assert f"({findings.address(rule).removeprefix('findings/')})" in table


@pytest.mark.parametrize("lacking", findings.HEADINGS)
def test_a_rule_without_a_heading_stops_the_build(lacking):
    def rule(record):
        return ()

    rule.__doc__ = "A fault.\n\n" + "\n".join(f"    {name:<16}x" for name in findings.HEADINGS if name != lacking)
    with pytest.raises(ValueError, match=f"none says .*{lacking}"):
        findings.rules_sheet(rule)


def test_a_rule_without_an_example_stops_the_build(monkeypatch):
    monkeypatch.setattr(findings, "FIRING", {})
    with pytest.raises(KeyError):
        findings.page(RULES[0])


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.name)
def test_every_remedy_has_its_page(remedy):
    text = remedies.pages()[remedies.address_of(remedy)]
    assert f"remedies.{remedy.verb.__name__}(" in text
    for heading in ("Promises", "Changes", "Undo"):
        if heading in sheet(remedy.verb.__doc__):
            assert f"\n{heading}\n:   " in text
    for name in remedy.answers:
        assert any(f"](../findings/{code}" in text for code in _codes(name))
    assert f"[{remedy.name}](remedies/{remedy.name}.md)" in remedies.table()


def _codes(name):
    return [findings.code_and_name(rule)[0] for rule in RULES if findings.code_and_name(rule)[1] == name]


def test_every_command_says_its_help():
    text = commands.page()
    for name in ("run", "treat", "report", "train", "train series", "generate", "forecast", "bench", "demo"):
        assert f"## longreach {name}\n" in text
    assert "--budget" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_reference_has_every_public_name():
    import longreach

    listed = reference.pages()["reference/longreach.md"]
    for name in longreach.__all__:
        assert name == "nn" or re.search(rf"^::: longreach\.[\w.]*\b{name}$", listed, re.MULTILINE)


SHEET = """What  it is, over
    two lines.

        gain(k) = ‖Jᵀv‖_2        v random

    More of it, with h_t and `a_b`.

    Looks at    one thing; and
                another
    Activations any of them
    Is not      a *star*
    """


def test_a_docstring_is_taken_apart():
    found = sheet(SHEET)
    assert found.summary == "What  it is, over two lines."
    assert found["Activations"] == "any of them"
    assert found["Looks at"] == "one thing; and another"
    assert "Price" not in found
    assert markdown(found) == (
        "What  it is, over two lines.\n\n```text\ngain(k) = ‖Jᵀv‖_2        v random\n```\n\n"
        "More of it, with h\\_t and `a_b`.\n\nLooks at\n:   one thing; and another\n\n"
        "Activations\n:   any of them\n\nIs not\n:   a \\*star\\*"
    )


def test_a_table_stays_one_and_an_equation_is_no_heading():
    text = "A.\n\ni    sequences\n\na = b,  c = d\n\n| x | y     |\n|---|-------|\n| 1 | |e|>2 |"
    found = sheet(text)
    assert (found["i"], found.parts[1]) == ("sequences", ("", "a = b,  c = d"))
    assert markdown(found).endswith("| x | y     |\n|---|-------|\n| 1 | \\|e\\|>2 |")


def test_prose_is_no_markup():
    assert escaped("a|b <c> [d] `e|f`") == "a\\|b &lt;c&gt; \\[d\\] `e|f`"


def test_colours_become_classes_and_text_stays_text():
    assert spans("\x1b[1;31mLR101\x1b[0m <script>") == '<span class="ansi-1 ansi-31">LR101</span> &lt;script&gt;'
