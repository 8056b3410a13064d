"""The picture of depth, to the space."""

import math

import pytest

from longreach.quantities.depth import Depth
from longreach.report.depth_chart import draw


def rows(log_gain, width=60, axis="layers", layers=None):
    layers = layers or ("head", *(f"blocks.{number}" for number in range(len(log_gain) - 2, -1, -1)))
    return draw(Depth("blocks.0 to head", axis, layers, tuple(log_gain), tuple(log_gain), -1.0, 4), width)


def text(*arguments, **options):
    return "\n".join("".join(part for part, _ in row).rstrip() for row in rows(*arguments, **options))


def test_an_even_fade_is_a_slope():
    assert text([-2.0 * place for place in range(9)]) == (
        " depth\n"
        "     1 █████▅▅▅▅▅▁▁▁▁▁\n"
        "  0.01 ███████████████▆▆▆▆▆▂▂▂▂▂\n"
        "  1e-4 █████████████████████████▇▇▇▇▇▃▃▃▃▃\n"
        "  1e-6 ████████████████████████████████████████▄▄▄▄▄\n"
        "      └─────────────────────────────────────────────\n"
        " layer head                                 blocks.0"
    )


def test_a_gain_above_one_raises_the_scale():
    assert text([0.0, 2.0, 4.0, 6.0], 40) == (
        " depth\n"
        "  1000                         ▅▅▅▅▅▅▅▅\n"
        "   100                 ▆▆▆▆▆▆▆▆████████\n"
        "    10         ▇▇▇▇▇▇▇▇████████████████\n"
        "     1 ████████████████████████████████\n"
        "      └────────────────────────────────\n"
        " layer head                    blocks.0"
    )


def test_a_tree_has_hops():
    last = text([0.0, -1.0, -2.0], 30, axis="hops", layers=("0", "1", "2")).splitlines()[-1]
    assert last == "  hops root           2 hops"


def test_what_is_below_a_thousandth_has_another_colour():
    styles = {style for row in rows([0.0, -3.0, -9.0]) for part, style in row if "█" in part or "▁" in part}
    assert styles == {"reach", "beyond"}


def test_nothing_left_is_no_bar_and_does_not_stretch_the_scale():
    drawn = text([0.0, -2.0, -math.inf], 30).splitlines()
    assert drawn[1].startswith("     1 ███████")
    assert drawn[4] == " 0.001 " + "█" * 14


@pytest.mark.parametrize("width", [8, 20, 40, 80, 100])
@pytest.mark.parametrize("count", [2, 3, 64, 500])
@pytest.mark.parametrize("slope", [-1e5, -0.3, 0.0, 4.0, 1e5])
def test_it_fits_whatever_comes(width, count, slope):
    drawn = rows(
        [slope * place for place in range(count)], width, layers=tuple("x\x1b" * place for place in range(count))
    )
    assert all(sum(len(part) for part, _ in row) <= width for row in drawn)
    assert "\x1b" not in "".join(part for row in drawn for part, _ in row)


def test_one_layer_is_no_picture():
    assert rows([0.0], layers=("head",)) == []
