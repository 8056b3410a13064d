import json
import os
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from tests.view.serving import begin, make, wait_until

from longreach.store import Store
from longreach.story import read
from longreach.view import app, follow, library, pages
from longreach.view.app import _count
from longreach.view.card import card_of
from longreach.view.found import find
from longreach.view.sparkline import sparkline, thinned

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(follow, "INTERVAL", 0.02)
    monkeypatch.setattr(follow, "SHARE", 1.0)
    monkeypatch.setattr(library, "LISTED", 0.0)


class Tags(HTMLParser):
    """Tags of a page, and what it links to."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.links, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src", "action", "data-events")]
        self.scripts += [name for name, _ in attrs if name.startswith("on")]


def snapshot(folder: Path) -> dict[str, tuple]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_mode)
        for path in [folder, *folder.rglob("*")]
    }


def test_the_list_tells_of_each_run(serve, tmp_path):
    make(tmp_path / "over", script="/home/me/train.py")
    store = begin(tmp_path / "going")
    served = serve(tmp_path)
    text = served.get("/").text
    assert "2 runs, 1 going on" in text
    assert text.index(">going<") < text.index(">over<")  # the newest first
    for told in ("9 of 59", "30 steps", "train.py", '<path class="reach"', '<path class="loss"', "from 1 to 30"):
        assert told in text
    assert "/home/me" not in text
    assert all(link.startswith(("/", "data:")) and not link.startswith("//") for link in Tags(text).links)
    store.close()


def test_a_folder_that_is_a_run_shows_it_at_once(serve, tmp_path):
    make(tmp_path / "RUN")
    served = serve(tmp_path / "RUN")
    answer = served.get("/")
    assert answer.status == 303
    page = served.get(answer.headers["location"])
    assert page.status == 200
    assert "All runs" not in page.text  # there are none


def test_a_run_has_the_page_of_its_report_and_a_way_back(serve, tmp_path):
    make(tmp_path / "RUN")
    served = serve(tmp_path)
    text = served.get(served.address("RUN")).text
    assert "Reach and need" in text
    assert re.search(r'"events":"/run/[0-9a-f]{16}/events\?seen=[0-9a-f]{16}"', text)
    assert '<a href="/">All runs' in text


def test_nothing_but_what_was_found_can_be_asked_for(serve, tmp_path):
    root = tmp_path / "root"
    make(root / "RUN")
    make(tmp_path / "SECRET")
    (root / "link").symlink_to(tmp_path / "SECRET")
    served = serve(root)
    address = served.address("RUN")
    for path in (
        "/run/../SECRET",
        "/run/..%2fSECRET",
        "/run/%2e%2e/SECRET",
        "/run/RUN",
        "/run/" + str(tmp_path / "SECRET").replace("/", "%2f"),
        "/run/link",
        "/../../../etc/passwd",
        "/list.js/../../page.css",
        "/run/",
        address + "/",
        address + "x",
        address + "/..",
        "/run/%00",
        "/compare?run=..",
        "/compare?run=" + "../SECRET",
        "/compare/events?run=x",
        "/run/%ff/events",
    ):
        answer = served.get(path)
        assert answer.status in (404, 307), path
        assert len(answer.body) < 300
        if answer.status == 307:  # the same address without its slash
            assert answer.headers["location"] == f"http://127.0.0.1:{served.port}{address}"
    assert "SECRET" not in served.get("/").text


def test_a_run_that_is_moved_away_is_no_more(serve, tmp_path):
    make(tmp_path / "root" / "RUN")
    served = serve(tmp_path / "root")
    address = served.address("RUN")
    (tmp_path / "root" / "RUN").rename(tmp_path / "moved")
    answer = served.get(address)
    assert answer.status == 404
    assert "moved away" in answer.text


def test_hostile_names_are_text(serve, tmp_path):
    for name in (HOSTILE, "a\nb", "x" * 200, "{{ 7 * 7 }}", b"\xff".decode(errors="surrogateescape"), "\u202egnp.exe"):
        make(tmp_path / name.replace("/", ""), script=HOSTILE, module=HOSTILE)
    store = Store.create(tmp_path / "numbers")
    store.put_meta(script=["not", 1], argv={"a": HOSTILE}, steps="many")
    store.add_losses([(0, float("nan")), (1, float("inf")), (2, 1e300), (3, -1e300)])
    store.close()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.sqlite").write_bytes(os.urandom(100))
    served = serve(tmp_path)
    wait_until(lambda: "reading" not in served.get("/").text)
    text = served.get("/").text
    assert "<img" not in text
    assert "49" not in re.findall(r"\{\{.*?\}\}|>49<", text)
    assert not Tags(text).scripts
    ids = re.findall(r'name="run" value="([0-9a-f]+)"', text)
    assert len(ids) == 8
    for path in [*(f"/run/{id}" for id in ids), "/compare?" + "&".join(f"run={id}" for id in ids)]:
        answer = served.get(path)
        assert answer.status == 200
        tags = Tags(answer.text.partition("<script")[0])
        assert "img" not in tags.tags
        assert not tags.scripts


def test_looking_changes_nothing_in_the_folder(serve, tmp_path):
    make(tmp_path / "root" / "RUN")
    before = snapshot(tmp_path / "root")
    served = serve(tmp_path / "root")
    address = served.address("RUN")
    stream = served.events(f"{address}/events")
    stream.next()
    for path in ("/", address, f"/compare?run={address[5:]}"):
        assert served.get(path).status == 200
    stream.close()
    served.stop()
    assert snapshot(tmp_path / "root") == before


def test_runs_side_by_side(serve, tmp_path):
    for steps, name in enumerate(("one", "two", "three"), start=20):
        make(tmp_path / name, steps=steps)
    served = serve(tmp_path)
    ids = [served.address(name)[5:] for name in ("one", "two", "three")]
    answer = served.get("/compare?" + "&".join(f"run={id}" for id in [*ids, ids[0]]))
    assert answer.status == 200
    assert "3 runs side by side" in answer.text
    head, *rows = re.findall(r"<tr>(.*?)</tr>", answer.text.partition("<figure")[0], re.DOTALL)
    assert re.findall(r">(\w+)</a>", head) == ["one", "two", "three"]
    facts = {re.search(r'row">(.*?)<', row)[1]: re.findall(r"<td>(.*?)</td>", row) for row in rows}
    assert facts["training steps"] == ["20", "21", "22"]
    assert facts["last loss"] == ["20", "21", "22"]
    assert facts["reach, steps"] == ["9", "9", "9"]
    assert "one ends lowest, at 20" in answer.text
    assert "All reach 9 steps" in answer.text
    for query in ("", "?run=" + "&run=".join(f"{number:016x}" for number in range(9))):
        assert served.get("/compare" + query).status == 404


def test_a_thousand_runs_are_read_a_few_at_a_time(serve, tmp_path, monkeypatch):
    readings = []
    monkeypatch.setattr(library, "read", lambda path: readings.append(path) or read(path))
    for number in range(1000):
        folder = tmp_path / f"{number:04}"
        folder.mkdir()
        (folder / "record.sqlite").write_bytes(b"")
        os.utime(folder, (1e9 + number, 1e9 + number))
    served = serve(tmp_path)
    text = served.get("/").text
    assert re.findall(r">(\d{4})<", text) == [f"{number:04}" for number in range(999, 969, -1)]
    assert "970</span> older runs" in text
    assert len(readings) <= 30
    assert text.count("<article") == 30
    more = served.get("/?show=60").text
    assert (more.count("<article"), "940</span> older runs" in more) == (60, True)


def test_runs_are_called_by_what_tells_them_apart(serve, tmp_path):
    for name in ("project/runs/a", "project/runs/deep/b", "c"):
        make(tmp_path / name)
    served = serve(tmp_path)
    text = served.get("/").text
    assert re.findall(r'<a href="/run/\w+">(\w+)</a></h2>\s*<p class="note">in ([^<]+)<', text) == [
        ("b", "project/runs/deep"),
        ("a", "project/runs"),
    ]
    ids = {name: served.address(name)[5:] for name in ("a", "b", "c")}
    for chosen, called in (("ab", ["a", "deep/b"]), ("ac", ["project/runs/a", "c"]), ("a", ["a"])):
        head = served.get("/compare?" + "&".join(f"run={ids[name]}" for name in chosen)).text.partition("</thead>")[0]
        assert re.findall(r'<a href="/run/\w+">([\w/]+)</a>', head) == called


def test_what_was_trained_is_told_in_few_words(tmp_path):
    (tmp_path / "run").mkdir()
    plan = {
        "kind": "series",
        "source": {"file": "/data/ETTh1.csv"},
        "plan": {"architecture": {"cell": "lstm", "hidden": 64}},
    }
    odd = {"kind": 1, "source": [], "plan": {"architecture": {"cell": {}, "hidden": None}}}
    for facts, told in ((plan, "train series ETTh1.csv lstm 64"), (odd, "train 1"), ({}, "train")):
        (tmp_path / "run" / "train.json").write_text(json.dumps(facts))
        (run,) = find(tmp_path).runs
        assert card_of(read(run.path), run).command == told


@pytest.mark.parametrize(
    ("asked", "count"),
    [("", 30), ("1", 30), ("31", 60), ("-1", 30), ("x", 30), ("1e9", 30), ("99999", 1000), ("²", 30), ("9" * 5000, 30)],
)
def test_how_many_are_asked_for(asked, count):
    assert _count(Request({"type": "http", "query_string": urlencode({"show": asked}).encode()})) == count


def test_a_fault_of_our_own_is_said_here_and_shown_in_the_terminal(serve, tmp_path, monkeypatch, capsys):
    make(tmp_path / "RUN")
    served = serve(tmp_path)
    address = served.address("RUN")
    monkeypatch.setattr(pages, "run_content", lambda *_: 1 / 0)
    answer = served.get(address)
    assert answer.status == 500
    assert "the terminal says where" in answer.text
    assert "ZeroDivisionError" not in answer.text
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_one_that_we_fail_at_hides_no_other(serve, tmp_path, monkeypatch, capsys):
    for name in ("good", "bad"):
        make(tmp_path / name)
    monkeypatch.setattr(library, "card_of", lambda story, run: card_of(story, run) if run.name == "good" else 1 / 0)
    text = serve(tmp_path).get("/").text
    assert "9 of 59" in text
    assert "cannot be shown" in text
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1


def test_what_takes_long_to_read_comes_later(serve, tmp_path, monkeypatch):
    make(tmp_path / "RUN")
    served = serve(tmp_path)
    address = served.address("RUN")
    may_read = threading.Event()
    monkeypatch.setattr(app, "PATIENCE", 0.05)
    monkeypatch.setattr(library, "read", lambda path: may_read.wait(20) and read(path))
    other = serve(tmp_path)
    for path, waits in (("/", "reading …"), (address, "Reading …")):
        page = other.get(path).text
        assert waits in page
        assert "9 of 59" not in page
    stream = other.events(re.search(r'"events":"([^"]+)"', page)[1])
    may_read.set()
    assert "Reading" not in stream.next()[1]["parts"]["verdict"]
    stream.close()


def states(root: Path) -> dict[str, str]:
    return {run.name: card_of(read(run.path), run).state for run in find(root).runs}


def test_how_a_run_stands(tmp_path):
    stores = {name: begin(tmp_path / name) for name in ("going", "over", "failed", "killed")}
    stores["failed"].put_meta(exit=3, ended=1.0)
    stores["over"].put_meta(exit=0, ended=1.0)
    for name in ("over", "failed"):
        stores[name].close()
    stores["killed"]._connection.close()
    os.close(stores["killed"]._claim._lock)
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "train.json").write_text("{}")
    (tmp_path / "trial" / "runs" / "control" / "seed-0").mkdir(parents=True)
    assert states(tmp_path) == {
        "going": "going on",
        "over": "over",
        "failed": "failed",
        "killed": "stopped",
        "training": "stopped",
        "trial": "stopped",
    }
    stores["going"].close()


def test_a_small_curve_has_gaps_where_there_is_no_number():
    drawn = sparkline([0, 1, 2, 3, 4], [1.0, 0.0, float("nan"), 5.0, float("inf")], role="loss", said='"<&')
    assert re.findall(r'd="([^"]+)"', drawn) == ["M2.0,27.6 L41.0,34.0", "M119.0,2.0 h0.1"]
    assert 'aria-label="&#34;&lt;&amp;"' in drawn
    for nothing in ([], [float("nan")] * 3):
        assert "<path" not in sparkline(range(len(nothing)), nothing, role="loss", said="")
    flat = sparkline([0, 10], [7.0, 7.0], role="loss", said="")
    assert "M2.0,18.0 L158.0,18.0" in flat


def test_a_level_is_drawn_where_it_lies_in_the_picture():
    lags, gains = [0, 1, 2], [0.0, -6.0, -12.0]
    crossed = sparkline(lags, gains, role="reach", said="", low=-9.2, line=-4.6)
    assert 'class="quiet" d="M2.0,18.0 L158.0,18.0"' in crossed
    assert "quiet" not in sparkline(lags, [0.0, -0.1, -0.2], role="reach", said="", low=-0.3, line=-4.6)
    assert "L158.0,34.0" in sparkline(lags, gains, role="reach", said="", low=-9.2)  # what lies below is at the edge


def test_thinning_keeps_what_is_no_number():
    points = thinned(range(100_000), [1e308] * 50_000 + [float("nan")] + [2.0] * 49_999)
    assert len(points) == 80
    assert points[0] == (0.0, pytest.approx(1e308))
    assert sum(value != value for _, value in points) == 1
    assert points[-1][1] == pytest.approx(2.0)
