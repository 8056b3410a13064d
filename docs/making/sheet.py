"""Docstrings that are data sheets: what stands before the headings, and the headings."""

import html
import inspect
import re
from dataclasses import dataclass

HEADING = re.compile(
    r"^([^\s|=](?:[^=]*?[^\s,=])?)\s{2,}(\S.*)$"
)  # "Looks at        reach and need": words, room, text
WITHIN = re.compile(r"(?<=[^\s-])\|(?=.)|(?<=.)\|(?=[^\s-])")  # a stroke in a table's cell, as in |e| > 0.2
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
    """Take a docstring apart, paragraph by paragraph."""
    first, *paragraphs = re.split(r"\n(?:[ \t]*\n)+", inspect.cleandoc(docstring))
    summary, *others = first.split("\n")
    while others and not HEADING.match(others[0]):
        summary += " " + others.pop(0).strip()
    parts = [part for lines in (others, *(text.split("\n") for text in paragraphs)) for part in _parts(lines)]
    return Sheet(summary, tuple(parts))


def _parts(lines: list[str]) -> list[tuple[str, str]]:
    """The headings of one paragraph with their texts; an equation or prose has none, and stays whole."""
    found: list[tuple[str, str]] = []
    column = 0  # where the texts begin
    for line in lines:
        match = HEADING.match(line)
        if match:
            column = match.start(2)
            found.append((match[1], match[2]))
        elif column and line.startswith(" "):
            found[-1] = found[-1][0], f"{found[-1][1]} {line.strip()}"
        elif column:  # a heading as long as the column is wide
            found.append((line[:column].strip(), line[column:].strip()))
        else:
            found = [("", "\n".join([*(text for _, text in found), line]))]
    return found


def markdown(found: Sheet) -> str:
    """The whole of it: paragraphs, equations, and a list of headings with their texts."""
    blocks = [escaped(found.summary)]
    for heading, text in found.parts:
        if heading:
            blocks.append(f"{escaped(heading)}\n:   {escaped(text)}")
        elif text.startswith("|"):  # a table
            blocks.append(WITHIN.sub(r"\|", text))
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
