"""The page in a real browser, opened from a file as a reader would."""

import csv
import io
import time
from dataclasses import replace

import pytest
from tests.report.page.figures.stories import course, torture
from tests.report.page.whole import WHOLE

from longreach.history import Track
from longreach.report.page import html

FORMULA = '=HYPERLINK("https://example.org")'
DRAWN = "name => document.getElementById(`plot-${name}`).dataset.drawn === name"
# Of each figure how many traces have a mark that can be seen: a line with a way, a symbol, an image of a heat map.
MARKS = """() => Object.fromEntries(plots().map((plot) => [plot.dataset.figure,
    plot.querySelectorAll("path.js-line[d], path.point[d], .heatmaplayer image, .errorbar path").length]))"""

STROKE = "getComputedStyle(document.querySelector('#plot-reach-and-need path.js-line')).stroke"


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> str:
    """A page with every part, of 100,000 steps, and a matrix whose name a spreadsheet would take for a formula."""
    updates = (Track(FORMULA, (0, 10), (1e-3, float("nan"))), *WHOLE.history.updates)
    story = replace(WHOLE, history=replace(course(100_000, marks=WHOLE.history.marks), updates=updates))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.render(story), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def worst(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("worst") / "report.html"
    path.write_text(html.render(torture()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def shown(browser, file):
    """The page in a window that several tests read."""
    page = browser.new_page(viewport={"width": 1024, "height": 768}, color_scheme="light")
    opened(page, file)
    yield page
    page.close()


def opened(page, address):
    page.goto(address)
    page.wait_for_function(DRAWN, arg="reach-and-need")


def draw_all(page):
    for at in range(page.locator(".plot").count()):
        page.evaluate("at => plots()[at].scrollIntoView()", at)
        page.wait_for_function("at => plots()[at].dataset.drawn", arg=at)


def test_it_asks_nobody_complains_of_nothing_and_draws_everything(page, overheard, file, record_property):
    began = time.perf_counter()
    opened(page, file)
    record_property("seconds to the first figure", time.perf_counter() - began)
    assert page.locator("h1").text_content() == "vanishing in time"
    assert page.evaluate("drawn().length < plots().length"), "what is far away is drawn later"
    draw_all(page)
    marks = page.evaluate(MARKS)
    assert len(marks) >= 9
    assert all(marks.values()), marks
    assert overheard.requests == [file]
    assert overheard.errors == []


def open_all(page):
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")


def overflow(page) -> int:
    """By how much the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def test_hostile_names_do_nothing_not_even_to_the_width(page, overheard, worst):
    page.set_viewport_size({"width": 360, "height": 800})
    page.on("dialog", lambda dialog: overheard.errors.append(dialog.message))
    opened(page, worst)
    draw_all(page)
    assert all(page.evaluate(MARKS).values())
    open_all(page)
    assert overflow(page) <= 0
    assert overheard.requests == [worst]
    assert overheard.errors == []
    assert page.locator(".plot a, figure a, main img, main script").count() == 0


def test_what_gets_in_all_the_same_may_not_run_or_ask(page, file):
    asked = []
    page.context.route("https://**", lambda route: (asked.append(route.request.url), route.abort()))
    opened(page, file)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=https://x.test/ onerror=bad=1>')")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'bad = 2'}))")
    assert page.evaluate("fetch('https://x.test/').then(() => 'asked', () => 'refused')") == "refused"
    assert page.evaluate("typeof bad") == "undefined"
    assert asked == []


def test_a_mouse_brings_up_numbers(shown):
    shown.locator("#plot-reach-and-need .nsewdrag").first.hover()
    shown.wait_for_selector("#plot-reach-and-need .hoverlayer text")
    shown.mouse.move(0, 0)


def test_arrow_keys_read_the_points(shown):
    plot, aloud = shown.locator("#plot-reach-and-need"), shown.locator("#aloud")
    trace = shown.evaluate("figures.get('reach-and-need').traces[0]")
    plot.focus()
    for key, at in (
        ("ArrowRight", 0),
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", -1),
        ("Home", 0),
    ):
        shown.keyboard.press(key)
        said = aloud.text_content()
        assert said.startswith(f"{trace['name']}: lag (steps back in time) {trace['x'][at]}, ")
        assert float(said.rpartition(" ")[2]) == pytest.approx(trace["y"][at], rel=1e-3)
        if at == 0:  # the others lie below the axis: they are read out, and cannot be shown
            shown.wait_for_selector("#plot-reach-and-need .hoverlayer text")
    shown.keyboard.press("ArrowDown")
    assert not aloud.text_content().startswith(f"{trace['name']}:"), "another curve"
    shown.keyboard.press("ArrowUp")
    assert aloud.text_content().startswith(f"{trace['name']}: ")


def test_arrow_keys_read_a_heat_map(shown):
    plot = shown.locator("#plot-reach-over-training")
    plot.evaluate("(plot) => plot.scrollIntoView()")
    shown.wait_for_function(DRAWN, arg="reach-over-training")
    plot.focus()
    places = []
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        shown.keyboard.press(key)
        places.append(shown.locator("#aloud").text_content())
    assert len(set(places)) == 3
    assert all("training step" in said and "lag" in said for said in places)


def test_the_keyboard_gets_everywhere(page, file):
    opened(page, file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url("**#verdict")
    page.locator("#finding-LR101 summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#finding-LR101 table").is_visible()
    outline = page.locator("#finding-LR101 summary").evaluate("(e) => getComputedStyle(e).outlineStyle")
    assert outline == "solid", "where the keyboard is can be seen"


def test_numbers_are_saved_as_csv(shown):
    for name in ("reach-and-need", "updates"):
        with shown.expect_download() as download:
            shown.locator(f"[data-csv={name}]").click()
        assert download.value.suggested_filename == f"{name}.csv"
        content = download.value.path().read_bytes().decode("utf-8-sig")
        head, *rows = csv.reader(io.StringIO(content, newline=""))
        figure = shown.evaluate("name => figures.get(name)", name)
        assert head == figure["columns"]
        assert len(rows) == len(figure["rows"])
        for got, meant in zip(rows, figure["rows"], strict=True):
            assert all(is_cell(*pair) for pair in zip(got, meant, strict=True)), (got, meant)
    assert {"nan", f"'{FORMULA}"} <= {cell for row in rows for cell in row}


def is_cell(cell: str, value) -> bool:
    """Whether a cell of a CSV file says what the page carries."""
    if isinstance(value, str):
        return cell == ("'" if value == FORMULA else "") + value
    return cell == "" if value is None else float(cell) == value


def colours(page) -> tuple[str, str, str]:
    """Of the paper, of a line of text, and of the first curve of the first figure."""
    return tuple(
        page.evaluate(
            f"[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, {STROKE}]"
        )
    )


def test_dark_light_and_paper(page, file):
    opened(page, file)
    light = colours(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => {STROKE} !== {light[2]!r}")
    dark = colours(page)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    page.emulate_media(color_scheme="dark", media="print")
    page.wait_for_function("() => document.documentElement.dataset.paper")
    assert colours(page) == light
    assert page.evaluate("plots().every((plot) => plot.dataset.drawn)"), "nothing waits to be scrolled to"
    assert page.locator("#finding-LR101 table").is_visible()
    assert not page.locator("[data-csv]").first.is_visible()
    widest = page.evaluate("Math.max(...plots().map((plot) => plot.querySelector('.main-svg').clientWidth))")
    assert widest <= page.evaluate("PAPER")
    page.emulate_media(color_scheme="dark", media="screen")
    page.wait_for_function("() => !document.documentElement.dataset.paper")
    assert colours(page) == dark
    assert not page.locator("#finding-LR101 table").is_visible()


def test_it_prints(page, file):
    opened(page, file)
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.evaluate("plots().every((plot) => plot.dataset.drawn)")


def test_nothing_is_wider_than_the_window(page, file):
    opened(page, file)
    open_all(page)
    draw_all(page)
    for width in (1440, 768, 360):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(
            "() => plots().every((plot) => plot.querySelector('.main-svg').clientWidth <= innerWidth)"
        )
        assert overflow(page) <= 0, width


def test_it_can_be_read_without_scripts(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file)
    assert page.locator(".said").first.is_visible()
    assert page.locator("noscript p").first.is_visible()
    assert not page.locator(".plot").first.is_visible()
    assert not page.locator("[data-csv]").first.is_visible(), "a button that could do nothing"
    page.locator("#numbers-reach-and-need summary").click()
    assert page.locator("#numbers-reach-and-need table").is_visible()
    context.close()


def test_what_is_new_comes_in_and_what_the_reader_did_stays(page, overheard, file):
    opened(page, file)
    page.locator("#finding-LR101 summary").click()
    page.locator("#plot-reach-and-need").evaluate("(plot) => (plot.mine = true)")
    page.locator("#plot-reach-and-need").focus()
    page.evaluate("(content) => update(content)", html.content(replace(WHOLE, name="later", going=True)))
    assert "still going on" in page.locator("#verdict").text_content()
    assert page.locator("#finding-LR101 table").is_visible()
    assert page.evaluate("document.activeElement.mine"), "the same drawing, and the keyboard is still there"
    page.evaluate("(content) => update(content)", html.content(replace(WHOLE, proof=None, patch=None)))
    assert not page.locator("#proof").is_visible()
    assert overheard.errors == []
