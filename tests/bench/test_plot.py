"""Success against length, as a picture."""

from xml.etree import ElementTree

import pytest

from longreach.bench.plot import PLOT, Axes, svg
from longreach.bench.success import Success

SVG = "{http://www.w3.org/2000/svg}"


def success(task, length, cell, solved, runs=4):
    return Success(task, "", length, cell, "none", solved, runs, None, None, None, None, ())


FOUND = [
    success(task, length, cell, solved)
    for task in ("adding", "copying")
    for length, cell, solved in [(10, "a<b", 4), (100, "a<b", 3), (1000, "a<b", 0), (10, "lstm", 4), (1000, "lstm", 1)]
]


def test_a_panel_a_task_a_point_a_length_and_every_number_in_words():
    root = ElementTree.fromstring(svg(FOUND))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    for label in ("adding", "copying", "a<b", "lstm", "length T (logarithmic)", "runs that solve it", "100%"):
        assert label in texts
    told = [one.findtext(f"{SVG}title") for one in root.iter(f"{SVG}circle")]
    assert told.count("a<b, T = 100: 3 of 4") == 2
    assert len([one for one in told if one]) == len(FOUND)  # the others are those of the legend


def test_points_lie_where_their_numbers_are():
    found = [success("adding", length, "lstm", solved) for length, solved in ((1, 0), (10, 2), (100, 4))]
    root = ElementTree.fromstring(svg(found))
    points = [one for one in root.iter(f"{SVG}circle") if one.find(f"{SVG}title") is not None]
    xs, ys = ([float(one.attrib[name]) for one in points] for name in ("cx", "cy"))
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])
    assert ys[0] - ys[1] == pytest.approx(PLOT / 2)
    assert ys[1] - ys[2] == pytest.approx(PLOT / 2)


def test_courses_at_one_length_stay_apart_and_nearer_to_it_than_to_the_next():
    axes = Axes((100, 110, 1000))
    found = [success("adding", length, f"cell {n}", 4) for length in axes.lengths for n in range(9)]
    root = ElementTree.fromstring(svg(found))
    places = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter(f"{SVG}circle")]
    assert len(set(places)) == len(places)
    shown = sorted(x for x, _ in places if x < axes.x(110) + axes.closest and x > axes.x(100) - axes.closest)
    assert len([x for x in shown if abs(x - axes.x(100)) < axes.closest / 2]) == 9


@pytest.mark.parametrize("found", [[], [success("memorisation", 0, "lstm", 1)], [success("adding", 10, "lstm", 0, 0)]])
def test_little_or_nothing_can_be_drawn(found):
    ElementTree.fromstring(svg(found))
