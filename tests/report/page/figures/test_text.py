"""Text from scripts within a drawing, against how plotly reads it."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st
from tests.report.page.figures.stories import HOSTILE

from longreach.report.page.figures.text import cut, shown

TAG = re.compile(r"<(/?)([^ >]*)(\s+(.*))?>", re.IGNORECASE)  # as in plotly.js, src/lib/svg_text_utils.js
ENTITY = re.compile(r"&(#\d+|#x[\da-fA-F]+|[a-z]+);")
TEMPLATE = re.compile(r"%{([^\s%{}]*)([:|][^}]*)?}")  # as in src/lib/index.js: names and labels are filled in
FORMULA = re.compile(r"([^$]*)([$]+[^$]*[$]+)([^$]*)")


def drawn_by_plotly(text):
    """The letters that plotly draws of a text in which it finds no tag, formula or template."""
    assert not TAG.search(text)
    assert not FORMULA.match(text)
    assert not TEMPLATE.search(text)
    return ENTITY.sub(lambda entity: html.unescape(entity.group()), text)


@given(st.text(max_size=60) | st.sampled_from(HOSTILE) | st.text("<>&;abr/$%{}#lt0", max_size=60))
def test_plotly_draws_the_very_letters(text):
    assert drawn_by_plotly(shown(text)) == cut(text)


def test_of_a_long_name_the_end_stays():
    name = "encoder." * 3000 + "layers.11"
    assert cut(name).endswith("encoder.layers.11")
    assert len(cut(name)) == 40
    assert cut(name)[0] == "…"


def test_what_turns_letters_around_or_steers_a_terminal_is_shown_not_sent():
    assert cut("a\u202eb\x1b[31m\n") == "a\\u202eb\\x1b[31m "
