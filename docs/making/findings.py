"""The pages on findings: the data sheet of a rule, and a run on which it fires."""

import inspect
import json
import re

from docs.making.sheet import Sheet, escaped, sheet
from docs.making.terminal import picture
from tests.diagnosis.firing import FIRING

from longreach.diagnosis import RULES, Finding, Rule, diagnose
from longreach.plain import plain
from longreach.remedies import REMEDIES
from longreach.report.words import heading

HEADINGS = ("Looks at", "Why it matters", "Threshold", "Stays silent", "Blind to", "Remedies", "Papers")
GRADES = ("critical", "warning", "info")


def pages() -> dict[str, str]:
    """Every page, by its address within docs/."""
    return {address(rule): page(rule) for rule in RULES}


def code_and_name(rule: Rule) -> tuple[str, str]:
    """("LR101", "vanishing-in-time"), as the first line of its file has them."""
    found = re.match(r"(LR\d{3}) ([a-z-]+)", inspect.getmodule(rule).__doc__ or "")
    if found is None:
        raise ValueError(f"{inspect.getmodule(rule)}: expected a docstring that begins with code and name")
    return found[1], found[2]


def address(rule: Rule) -> str:
    """Where its page lies within docs/."""
    return f"findings/{code_and_name(rule)[0]}-{rule.__name__.replace('_', '-')}.md"


def title(rule: Rule) -> str:
    """LR101 vanishing in time; of a second rule of one name what is special about it as well."""
    code, name = code_and_name(rule)
    special = rule.__name__.replace("_", "-").removeprefix(name).replace("-", " ").strip()
    return f"{code} {heading(name)}" + (f", {special}" if special else "")


def rules_sheet(rule: Rule) -> Sheet:
    """Its data sheet, which has to be whole."""
    found = sheet(rule.__doc__ or "")
    missing = [name for name in HEADINGS if name not in found]
    if missing:
        raise ValueError(f"{rule.__name__}: expected a docstring with the headings of a rule, none says {missing}")
    return found


def page(rule: Rule) -> str:
    """What it found in an example, and how it judges."""
    found, record = rules_sheet(rule), FIRING[rule]
    (finding,) = rule(record)
    sections = "\n\n".join(f"## {name}\n\n{escaped(text)}" for name, text in found.parts if name)
    return f"""# {title(rule)}

**{escaped(found.summary)}**

## An example

{picture(diagnose(record))}

The run is made up: a record that this rule is tested with, drawn as `longreach run` draws it.

{sections}

{remedies(finding)}

## In diagnosis.json

```json
{json.dumps(plain(finding), indent=1, ensure_ascii=False)}
```

The rule is one file, `{inspect.getmodule(rule).__name__.replace(".", "/")}.py`. [All findings](index.md)
"""


def remedies(finding: Finding) -> str:
    """Which remedies answer it, those that the example names first."""
    named = [*finding.remedies, *(one.name for one in REMEDIES if finding.name in one.answers)]
    if not named:
        return "No remedy of longreach's answers it: what to do is said above."
    linked = ", ".join(f"[{name}](../remedies/{name}.md)" for name in dict.fromkeys(named))
    return f"In longreach: {linked}. `longreach treat` tries those that fit your script; [how to choose](../choose.md)."


def index() -> str:
    """The table of all codes."""
    rows = [
        f"| [{code_and_name(rule)[0]}]({address(rule).removeprefix('findings/')}) | {title(rule)[6:]} "
        f"| {', '.join(grades(rule))} | {escaped(rules_sheet(rule).summary)} |"
        for rule in sorted(RULES, key=title)
    ]
    return "\n".join(["| code | finding | how grave | in a line |", "|---|---|---|---|", *rows])


def grades(rule: Rule) -> list[str]:
    """How grave it may be: the words that its file has for it."""
    source = inspect.getsource(inspect.getmodule(rule))
    return [grade for grade in GRADES if re.search(rf'(?<![=!]= )"{grade}"', source)]  # given, not compared with
