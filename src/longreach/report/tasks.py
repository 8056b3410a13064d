"""The tasks of the literature, for the terminal."""

import textwrap


def render() -> str:
    """Name and source of each, and when it counts as solved."""
    from longreach.tasks import TASKS

    lines = []
    for task in TASKS:
        lines += [task.name, *_wrapped(f"{task.source}. Solved: {task.criterion}"), ""]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 78, initial_indent="  ", subsequent_indent="  ")
