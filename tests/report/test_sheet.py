"""Lines of a fixed width, whatever they are made of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from longreach.report.screen import Screen
from longreach.report.sheet import STYLES, Sheet, shown
from longreach.report.words import safe

ANYTHING = st.text(max_size=60).map(safe)
CELLS = st.tuples(st.text("0123456789.-> ", max_size=12), st.sampled_from(list(STYLES)))


@given(st.lists(st.tuples(ANYTHING, CELLS, CELLS, CELLS), min_size=1, max_size=4), st.integers(40, 100), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_line_of_a_table_is_wider_and_no_number_is_lost(rows, width, left):
    sheet = Sheet(Screen(width))
    sheet.table(("name", "loss", "reach", ""), rows, indent=2, left=left)
    text = sheet.text()
    assert all(cell_len(line) <= width for line in text.split("\n"))
    whole = "".join(text.split())
    for _, *cells in rows:
        assert all("".join(number.split()) in whole for number, _ in cells)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            60,
            "arm                           loss       reach        \n"
            "a name of some length  0.123456789  1234567890  proven\n"
            "b                                            1        \n",
        ),
        (
            40,
            "arm             loss       reach        \n"
            "a name of some length\n"
            "         0.123456789  1234567890  proven\n"
            "b                              1        \n",
        ),
    ],
)
def test_a_table_by_the_room_there_is(width, expected):
    sheet = Sheet(Screen(width))
    rows = [("a name of some length", "0.123456789", "1234567890", "proven"), ("b", "", "1", "")]
    sheet.table(("arm", "loss", "reach", ""), rows)
    assert sheet.text().splitlines() == [line.rstrip() for line in expected.splitlines()]


def test_where_not_even_the_numbers_fit_a_row_is_a_paragraph():
    sheet = Sheet(Screen(40))
    numbers = [f"{10**9 + place}" for place in range(5)]
    sheet.table(("arm", *"abcde", ""), [("relu", *numbers, ("proven", "healthy"))])
    assert sheet.text().splitlines() == [
        "arm",
        "relu  proven",
        "  a 1000000000, b 1000000001, c",
        "  1000000002, d 1000000003, e 1000000004",
    ]


@pytest.mark.parametrize("color", [True, False])
def test_what_is_to_be_copied_is_whole(color):
    sheet = Sheet(Screen(40, color=color))
    sheet.whole("+" + "x" * 300 + "\x1b]0;title\x07\u202e", "added")
    text = sheet.text()
    assert "x" * 300 + "\\x1b]0;title\\x07\\u202e" in text
    assert ("\x1b[32m" in text) == color


def test_every_letter_that_is_drawn_has_one_in_ascii():
    drawn = "▁▂▃▄▅▆▇█▔▲─┴└·≥━…░▒▓▀│┤"
    assert "?" not in shown(drawn, Screen(ascii=True))
    assert len(shown(drawn, Screen(ascii=True))) == len(drawn)
