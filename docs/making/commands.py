"""The page on the command line: what `--help` of every command says."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.testing import CliRunner

from longreach.cli import app

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "80", "TERMINAL_WIDTH": "80", "FORCE_COLOR": None}


def page() -> str:
    """All commands, one after the other."""
    names = [["longreach", *name] for name in commands(typer.main.get_command(app))]
    sections = "\n\n".join(f"## {' '.join(name)}\n\n```text\n{said(name[1:])}\n```" for name in names)
    return f"# Command line\n\nWhat each command says of itself, `longreach COMMAND --help`.\n\n{sections}\n"


def commands(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Names of a command and of all below it."""
    yield name
    for below, its in getattr(command, "commands", {}).items():
        yield from commands(its, (*name, below))


def said(name: list[str]) -> str:
    """The help of one command, 80 columns wide."""
    result = CliRunner().invoke(app, [*name, "--help"], env=PLAIN, prog_name="longreach")
    if result.exit_code:
        raise ValueError(f"longreach {' '.join(name)} --help: expected help, got {result.output}")
    return "\n".join(line.rstrip() for line in result.output.strip("\n").splitlines())
