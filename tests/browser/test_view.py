"""The live page in a real browser, while real runs write and the server comes and goes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.view.serving import begin, make, serving, wait_until

from longreach.view import events, pages

serve = pytest.fixture(serving, name="serve")
LONGREACH = [sys.executable, "-m", "longreach"]
# A training that goes on until it is told to stop, and says in its loss how far it is.
SCRIPT = """
import pathlib, time, torch
net = torch.nn.RNN(1, 4, batch_first=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
while not pathlib.Path("enough").exists():
    loss = net(torch.randn(2, 12, 1))[0].square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.01)
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ".state"))
    return tmp_path


@pytest.fixture
def start(place) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts `longreach …`, and ends it with the test."""
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen([*LONGREACH, *arguments], **pipes, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def link_of(process: subprocess.Popen) -> str:
    return next(line.strip() for line in process.stdout if "http://" in line)


def steps_of(page: Page) -> int:
    """How many steps the page speaks of."""
    found = re.search(r"([\d,]+) steps in", page.locator("#run").inner_text())
    return int(found[1].replace(",", "")) if found else 0


def test_a_run_is_followed_while_it_trains_until_it_is_over(page, overheard, start, place):
    Path("train.py").write_text(SCRIPT)
    run = start("run", "--run-dir", "runs/RUN", "train.py")
    page.goto(link_of(start("view", ".")))
    card = page.locator("article.card", has_text="RUN")
    expect(card).to_contain_text("going on", timeout=30_000)  # it has come by itself
    expect(card.locator("path.loss")).to_be_visible(timeout=30_000)
    expect(page.locator("#line")).to_have_text("live")
    card.get_by_role("link").click()
    expect(page.locator("#line")).to_have_text("live")
    expect(page.locator(".going")).to_be_visible()

    page.locator("details.numbers summary").first.click()
    opened = page.locator("details[open].numbers").first.get_attribute("id")
    page.evaluate("scrollTo(0, 200)")
    before = steps_of(page)
    wait_until(lambda: steps_of(page) > before)
    assert page.locator(f"details#{opened}").get_attribute("open") is not None
    assert page.evaluate("scrollY") == 200

    Path("enough").touch()
    assert run.wait(timeout=60) == 0
    expect(page.locator("#line")).to_have_text("over", timeout=30_000)
    expect(page.locator(".going")).to_have_count(0)
    assert overheard.errors == []
    assert {address.split("/")[2] for address in overheard.requests if not address.startswith(("data:", "blob:"))} == {
        page.url.split("/")[2]
    }


def test_a_page_outlives_the_server_and_the_run(page, start, place):
    store = begin(place / "RUN", steps=30)
    server = start("view", "RUN")
    page.goto(link_of(server))
    expect(page.locator("#line")).to_have_text("live")
    assert steps_of(page) == 30
    server.send_signal(signal.SIGKILL)
    server.wait()
    expect(page.locator("#line")).to_contain_text("connection lost")
    store.put_meta(steps=44)
    store.commit()
    link_of(start("view", "RUN"))  # which nobody opens: the page knows its way
    expect(page.locator("#line")).to_have_text("live", timeout=30_000)
    expect(page.locator("#run")).to_contain_text("44 steps")
    page.reload()
    expect(page.locator("#run")).to_contain_text("44 steps")

    store.close()
    expect(page.locator("#line")).to_have_text("over", timeout=30_000)
    os.remove("RUN/record.sqlite")
    again = begin(place / "RUN", steps=7)  # the same folder, a new run
    expect(page.locator("#run")).to_contain_text("7 steps", timeout=30_000)
    expect(page.locator("#line")).to_have_text("live")
    again.close()


def test_who_has_no_key_gets_a_sentence(page, serve, place):
    make(place / "RUN")
    served = serve(place)
    base = f"http://127.0.0.1:{served.port}"
    elsewhere = f"http://evil.localhost:{served.port}/?token={served.token}"  # a name that leads here
    assert page.goto(elsewhere).status == 403
    expect(page.locator("body")).to_contain_text("another host")
    for address in (base, f"{base}/?token=wrong", f"http://localhost:{served.port}/events"):
        assert page.goto(address).status == 403
        expect(page.locator("body")).to_contain_text("start it again, and open the link that it prints")
    assert page.goto(served.guard.link).status == 200
    page.context.clear_cookies()
    assert page.goto(served.guard.link).status == 403  # opened before


def test_a_page_whose_run_or_key_is_gone_says_so(page, serve, place):
    make(place / "runs" / "RUN")
    served = serve(place / "runs")
    page.goto(served.guard.link)
    page.goto(f"http://127.0.0.1:{served.port}{served.address('RUN')}")
    expect(page.locator("#line")).to_have_text("over")
    (place / "runs" / "RUN").rename(place / "elsewhere")
    served.stop()
    again = serve(place / "runs", port=served.port)
    expect(page.locator("#line")).to_contain_text("may have been moved away", timeout=15_000)
    again.stop()
    serve(place / "runs", port=served.port, key=bytes(32))
    expect(page.locator("#line")).to_contain_text("open the link that it prints", timeout=15_000)


def test_no_other_page_can_look(page, serve, place):
    make(place / "RUN")
    served = serve(place)
    page.goto(served.guard.link)
    address = served.address("RUN")
    elsewhere = page.context.new_page()
    base = f"http://127.0.0.1:{served.port}"
    elsewhere.route(
        "http://elsewhere.example/", lambda route: route.fulfill(body="<body></body>", content_type="text/html")
    )
    elsewhere.goto("http://elsewhere.example/")
    seen = []
    elsewhere.on("response", lambda response: seen.append((response.url, response.status)))
    told = elsewhere.evaluate(
        """async (base) => {
            const asked = fetch(base + '/', {credentials: 'include'}).then(() => 'read', () => 'refused');
            const image = new Promise((done) => {
                const element = new Image();
                element.onload = () => done('read');
                element.onerror = () => done('refused');
                element.src = base + '/list.css';
            });
            const script = new Promise((done) => {
                const element = document.createElement('script');
                element.onload = () => done('read');
                element.onerror = () => done('refused');
                element.src = base + '/list.js';
                document.body.append(element);
            });
            return Promise.all([asked, image, script]);
        }""",
        base,
    )
    assert told == ["refused"] * 3
    assert all(status == 403 for _, status in seen)
    framed = elsewhere.evaluate(
        """async (address) => {
            const frame = document.createElement('iframe');
            frame.src = address;
            const loaded = new Promise((done) => (frame.onload = done));
            document.body.append(frame);
            await loaded;
            try { return frame.contentDocument.body.innerText; } catch { return 'closed'; }
        }""",
        base + address,
    )
    assert framed == "closed"
    elsewhere.close()


def test_what_is_ticked_and_unfolded_stays_when_the_list_changes(page, overheard, serve, place, monkeypatch):
    monkeypatch.setattr(pages, "MOST", 3)
    for name in ("one", "two"):
        make(place / name)
    for seed in range(3):
        make(place / "trial" / "runs" / "control" / f"seed-{seed}")
    served = serve(place)
    page.goto(served.guard.link)
    expect(page.locator("#choose")).to_be_disabled()
    page.locator("article", has_text="one").get_by_role("checkbox").check()
    page.locator("article", has_text="trial").locator("summary").click()
    store = begin(place / "three")
    expect(page.locator("article").first).to_contain_text("three", timeout=15_000)  # the newest first
    store.close()
    expect(page.locator("article").first).to_contain_text("over", timeout=15_000)
    expect(page.locator("article", has_text="one").get_by_role("checkbox")).to_be_checked()
    expect(page.get_by_role("link", name="seed-2")).to_be_visible()

    for box in (boxes := page.get_by_role("checkbox").all()):
        box.check()
    expect(page.locator("#choose")).to_have_text("4 runs are ticked: at most 3 can be compared")
    expect(page.locator("#choose")).to_be_disabled()
    for box in boxes:
        box.uncheck()
    page.locator("article", has_text="one").get_by_role("checkbox").check()
    page.locator("article", has_text="two").get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare these 2 runs").click()
    expect(page.get_by_role("heading", name="2 runs side by side")).to_be_visible()
    expect(page.locator("#plot-losses .scatterlayer .trace")).to_have_count(2)
    page.go_back()
    expect(page.locator("#choose")).to_be_enabled()
    assert overheard.errors == []


def test_a_page_that_nobody_sees_leaves_its_place_to_others(page, serve, place, monkeypatch):
    monkeypatch.setattr(events, "MOST", 1)
    make(place / "RUN")
    served = serve(place)
    page.goto(served.guard.link)
    expect(page.locator("#line")).to_have_text("live")
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.locator("#line")).to_contain_text("1 pages listen already")
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true })")
    page.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    expect(second.locator("#line")).to_have_text("live", timeout=15_000)
    second.close()
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#line")).to_have_text("live", timeout=15_000)


def test_hostile_names_do_nothing(page, overheard, serve, place):
    hostile = '<img src=x onerror="window.broken=1">'
    make(place / hostile.replace("/", ""), script=hostile, module=hostile)
    make(place / "</script><script>alert(1)<".replace("/", "\u2215"), script="</script><script>alert(1)</script>")
    served = serve(place)
    page.goto(served.guard.link)
    expect(page.locator("article", has_text="reach")).to_have_count(2, timeout=15_000)
    ids = [box.get_attribute("value") for box in page.get_by_role("checkbox").all()]
    for path in [*(f"/run/{id}" for id in ids), f"/compare?run={ids[0]}&run={ids[1]}"]:
        page.goto(f"http://127.0.0.1:{served.port}{path}")
        expect(page.locator("#line")).not_to_be_empty()
        expect(page.locator(".plot .main-svg").first).to_be_visible()
        assert page.locator("img").count() == 0
        assert page.evaluate("window.broken") is None
    assert overheard.errors == []


def test_it_fits_a_phone_a_tablet_and_a_screen(page, serve, place):
    make(place / ("long-" * 30), script="x" * 200, module="encoder." * 20)
    make(place / "two")
    served = serve(place)
    page.goto(served.guard.link)
    expect(page.locator("article", has_text="reach")).to_have_count(2, timeout=15_000)
    ids = [box.get_attribute("value") for box in page.get_by_role("checkbox").all()]
    for path in ("/", f"/run/{ids[0]}", f"/compare?run={ids[0]}&run={ids[1]}"):
        page.goto(f"http://127.0.0.1:{served.port}{path}")
        expect(page.locator("#line")).not_to_be_empty()
        for width in (1440, 768, 360):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
