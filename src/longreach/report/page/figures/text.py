"""Text from elsewhere as plotly shows it, and numbers in sentences."""

import html

from longreach.report.words import safe

ENOUGH = 1000  # characters, of which some may be of no width
ENTITIES = {ord("$"): "&#36;", ord("%"): "&#37;"}  # which would begin a formula, a template
LONGEST = 40  # characters of a name: more leave no room for the drawing on a phone


def shown(text: object, longest: int = LONGEST) -> str:
    """Text that plotly draws letter by letter: no tag, link, entity, formula or template is seen in it.

    Of what is too long the end stays, which tells layers apart.
    """
    return html.escape(cut(text, longest), quote=False).translate(ENTITIES)


def cut(text: object, longest: int = LONGEST) -> str:
    """The same for plain text: without what could steer a terminal or turn letters around, and not too long."""
    end = str(text)[-ENOUGH:]
    told = safe(end, ENOUGH)
    return told if len(told) <= longest and end == str(text) else "…" + told[1 - longest :]
