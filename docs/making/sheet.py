"""Docstrings that are data sheets: what stands before the headings, and the headings."""

import html
import inspect
import re
from dataclasses import dataclass

HEADING = re.compile(r"^(\S.*?)\s{2,}(\S.*)$")  # "Looks at        reach and need": words, room, text
SPECIAL = re.compile(r"([\\*_{}\[\]#|])")


@dataclass(frozen=True)
class Sheet:
    """A docstring, taken apart.

    summary  its first sentence or paragraph
    parts    what follows, in order: a heading and its text; prose and equations have the heading ""
    """

    summary: str
    parts: tuple[tuple[str, str], ...]

    def __getitem__(self, heading: str) -> str:
        """The text under a heading."""
        return dict(self.parts)[heading]

    def __contains__(self, heading: str) -> bool:
        """Whether it has this heading."""
        return heading in dict(self.parts)


def sheet(docstring: str) -> Sheet:
    """Take a docstring apart."""
    parts: list[tuple[str, list[str]]] = []
    fresh = True
    for line in inspect.cleandoc(docstring).splitlines():
        found = HEADING.match(line)
        if not line.strip():
            fresh = True
        elif found:
            parts.append((found[1], [found[2]]))
        elif line.startswith("    ") and not fresh and parts and parts[-1][0]:
            parts[-1][1].append(line.strip())
        elif fresh or (parts and parts[-1][0]):
            parts.append(("", [line]))
        else:
            parts[-1][1].append(line)
        fresh = fresh and not line.strip()
    texts = [(heading, (" " if heading else "\n").join(lines)) for heading, lines in parts]
    summary = texts.pop(0)[1].replace("\n", " ") if texts and not texts[0][0] else ""
    return Sheet(summary, tuple(texts))


def markdown(found: Sheet) -> str:
    """The whole of it: paragraphs, equations, and a list of headings with their texts."""
    blocks = [escaped(found.summary)]
    for heading, text in found.parts:
        if heading:
            blocks.append(f"{escaped(heading)}\n:   {escaped(text)}")
        elif text.startswith("    "):
            blocks.append("```text\n" + inspect.cleandoc("\n" + text) + "\n```")
        else:
            blocks.append(escaped(text.replace("\n", " ")))
    return "\n\n".join(blocks)


def escaped(text: str) -> str:
    """Prose whose characters mean themselves to Markdown; what stands in `backticks` stays code."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if part.startswith("`") else SPECIAL.sub(r"\\\1", html.escape(part, quote=False)) for part in parts
    )
