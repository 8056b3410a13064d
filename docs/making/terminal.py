"""What a terminal shows, as HTML: the colours of ANSI become classes, which docs/assets/site.css gives a colour."""

import html
import re

from longreach.diagnosis import Diagnosis
from longreach.report.terminal import render

ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def picture(diagnosis: Diagnosis) -> str:
    """The report of a run, 80 columns wide."""
    return block(render(diagnosis, width=80, color=True))


def block(text: str) -> str:
    """A block of a page."""
    return f'<pre class="terminal" tabindex="0"><code>{spans(text.rstrip())}</code></pre>'


def spans(text: str) -> str:
    """Text with escapes as HTML; nothing in it is taken for markup."""
    parts, opened = [], False
    for number, part in enumerate(ESCAPE.split(text)):
        if number % 2 == 0:
            parts.append(html.escape(part))
            continue
        parts.append("</span>" if opened else "")
        opened = part.strip("0;") != ""
        parts.append(f'<span class="{" ".join(f"ansi-{code}" for code in part.split(";"))}">' if opened else "")
    return "".join(parts) + ("</span>" if opened else "")
