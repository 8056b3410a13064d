"""For mkdocstrings: data sheets become Markdown before it sees them."""

from typing import Any

from docs.making.sheet import markdown, sheet
from griffe import Extension


class DataSheets(Extension):
    """Rewrites every docstring of the package, once it is read."""

    def on_package(self, *, pkg: Any, **_: Any) -> None:
        """Called by griffe with the whole package."""
        rewrite(pkg)


def rewrite(thing: Any) -> None:
    """The docstring of a module, class or function, and of all that is in it."""
    if thing.docstring is not None:
        thing.docstring.value = markdown(sheet(thing.docstring.value))
    for member in thing.members.values():
        if not member.is_alias:
            rewrite(member)
