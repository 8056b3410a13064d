"""`report.html` in a run folder: the page as it was when the run came to its end."""

from pathlib import Path

from longreach.whole import write_whole

PAGE = "report.html"


def leave(folder: Path) -> str | None:
    """Write the page of what lies in a run folder; what went wrong, as a sentence, or None. Never raises.

    The run is over by now, and its verdict is said: no trouble of the page's may change how a command ends.
    """
    try:
        from longreach.report.page import html
        from longreach.story import read

        write_whole(folder / PAGE, html.render(read(folder)).encode())
    except OSError as error:
        return f"{PAGE} could not be written: {error.strerror}; `longreach report --format html` makes it elsewhere"
    except KeyboardInterrupt:
        return f"{PAGE} was interrupted; `longreach report --format html` makes it"
    except Exception as error:
        return f"{PAGE} could not be made ({type(error).__name__}: {error}); all else is kept"
    return None
