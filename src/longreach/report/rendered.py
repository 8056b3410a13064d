"""A run folder as text: for a terminal, for programs, or as a page."""

from pathlib import Path
from typing import Literal

from longreach.launch import read_run
from longreach.report.screen import Screen
from longreach.story import PROOF, judged_in, read
from longreach.trial.proof import Proof

Format = Literal["text", "json", "html"]


def rendered(folder: Path, format: Format, screen: Screen) -> str:
    """A run, over or still going on; of a trial the script as it is, and as text the proof beneath.

    screen   what text is written for; the other formats are the same everywhere
    Raises   RunReadError where there is no run; a page is made of whatever is in the folder, and says what is missing
    """
    if format == "html" and folder.is_dir():
        from longreach.report.page import html

        return html.render(read(folder))
    diagnosis = read_run(judged_in(folder))
    if format == "json":
        from longreach.report import json

        return json.render(diagnosis).rstrip("\n") + "\n"
    from longreach.report import proved, terminal

    text = terminal.render(diagnosis, width=screen.width, color=screen.color, ascii=screen.ascii)
    if not (folder / PROOF).is_file():
        return text
    return f"{text}\n{proved.render(Proof.from_json((folder / PROOF).read_text('utf-8')), screen)}"
