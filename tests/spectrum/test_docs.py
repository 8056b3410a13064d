"""What docs/spectrum.md shows is what its command prints."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "spectrum.md"


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own forward mode
def test_the_page_shows_what_its_command_prints(capsys):
    command, shown = re.findall(r"```(?:python)?\n(.*?)```", PAGE.read_text(), re.DOTALL)[:2]
    exec(command, {})
    words, numbers = r"[^\W\d_]{2,}", r"[-\d][\d.]*"
    printed = capsys.readouterr().out
    assert re.findall(words, printed) == re.findall(words, shown)
    assert len(re.findall(numbers, printed)) == len(re.findall(numbers, shown))
    assert max(map(len, printed.splitlines())) <= 80
