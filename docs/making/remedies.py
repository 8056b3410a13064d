"""The pages on remedies: the data sheet of each, and the table of all."""

from docs.making.findings import RULES, address, code_and_name, title
from docs.making.sheet import escaped, markdown, sheet

from longreach.remedies import REMEDIES, Remedy
from longreach.report.words import REMEDIES as WORDS

MOMENTS = {
    "module": "to a model, just before its optimizer is made",
    "optimizer": "to an optimizer, just after it is made",
    "process": "to the process, before anything is computed",
}


def pages() -> dict[str, str]:
    """Every page, by its address within docs/."""
    return {address_of(remedy): page(remedy) for remedy in REMEDIES}


def address_of(remedy: Remedy) -> str:
    """Where its page lies within docs/."""
    return f"remedies/{remedy.name}.md"


def page(remedy: Remedy) -> str:
    """What it does, promises, changes and costs."""
    verb = remedy.verb.__name__
    target = {"module": "model", "optimizer": "optimizer", "process": "None"}[remedy.moment]
    same = (
        "computes the same right after it" if remedy.preserves else "computes something else: apply it before training"
    )
    return f"""# {remedy.name}

**{WORDS[remedy.name][0].upper()}{WORDS[remedy.name][1:]}.**

is for
:   {findings(remedy)}

is applied
:   {MOMENTS[remedy.moment]}

the model
:   {same}

costs
:   {escaped(remedy.cost)}

comes from
:   {escaped(remedy.source)}

```text
longreach run --apply {remedy.name} train.py
longreach treat --remedies {remedy.name} train.py
```

In your own code: `remedies.{verb}({target})`, and `remedies.undo({target})` takes it back.

## Data sheet

{markdown(sheet(remedy.verb.__doc__ or ""))}

[How to choose a remedy](../choose.md)
"""


def findings(remedy: Remedy) -> str:
    """The findings that it answers, linked; each code once."""
    links = {
        code_and_name(rule)[0]: f"[{title(rule)}](../{address(rule)})"
        for rule in reversed(RULES)
        if code_and_name(rule)[1] in remedy.answers
    }
    return ", ".join(links[code] for code in sorted(links)) or "no finding: a network that learns its data by heart"


def table() -> str:
    """All of them, side by side."""
    rows = [
        f"| [{remedy.name}]({address_of(remedy)}) | {WORDS[remedy.name]} | {'same' if remedy.preserves else 'new'} "
        f"| {escaped(sheet(remedy.verb.__doc__ or '')['Undo'])} | {escaped(remedy.source)} |"
        for remedy in sorted(REMEDIES, key=lambda remedy: remedy.name)
    ]
    return "\n".join(["| remedy | what it does | function | undo | source |", "|---|---|---|---|---|", *rows])
