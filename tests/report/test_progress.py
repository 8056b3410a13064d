import io
import sys

import pytest

from longreach.report.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("shown", [True, False])
def test_only_a_terminal_gets_a_bar(monkeypatch, shown):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("looking", shown=shown) as tell:
        tell(0.5)
        tell(1.0)
    assert ("looking" in sys.stderr.getvalue()) == shown


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_nobody_watches(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("looking") as tell:
        tell(0.5)
    assert stream is None or stream.getvalue() == ""
