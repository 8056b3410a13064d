import http.client
import threading

import pytest
from tests.view.serving import begin, make, wait_until

from longreach.view import events, follow, library


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(follow, "INTERVAL", 0.02)
    monkeypatch.setattr(follow, "SHARE", 1.0)
    monkeypatch.setattr(library, "LISTED", 0.0)


@pytest.fixture
def listened(monkeypatch):
    """Every Follow that somebody listened to."""
    made = []

    class Known(follow.Follow):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("longreach.view.app.Follow", Known)
    return lambda: sum(one.listeners for one in made)


def test_what_a_run_writes_comes_to_all_who_look(serve, tmp_path, monkeypatch):
    readings = []
    read = library.read
    monkeypatch.setattr(library, "read", lambda path: readings.append(path) or read(path))
    store = begin(tmp_path / "RUN", steps=30)
    served = serve(tmp_path)
    address = served.address("RUN")
    plain, packed = served.events(f"{address}/events"), served.events(f"{address}/events", Accept_Encoding="gzip, br")
    assert packed.headers["content-encoding"] == "gzip"
    first, again = plain.next(), packed.next()
    assert first == again
    assert first[1]["going"] is True
    assert "30 steps" in first[1]["parts"]["run"]

    before = len(readings)
    store.put_meta(steps=77)
    store.add_losses([(77, 0.25)])
    store.commit()
    assert (second := plain.next()) == packed.next()
    assert second[0] != first[0]
    assert "77 steps" in second[1]["parts"]["run"]
    assert len(readings) == before + 1

    store.close()
    over = plain.next()
    while over[1]["going"]:
        over = plain.next()
    assert "going on" not in over[1]["parts"]["verdict"]
    plain.close()
    packed.close()


def test_the_list_hears_of_new_runs_and_of_those_that_go(serve, tmp_path):
    served = serve(tmp_path)
    assert "longreach run train.py" in served.get("/").text
    stream = served.events("/events")
    assert stream.next()[1]["cards"] == []
    (tmp_path / "early").mkdir()
    store = begin(tmp_path / "early" / "RUN")

    def until(holds):
        while not holds(content := stream.next()[1]):
            pass
        return content

    content = until(lambda content: content["cards"] and "reading" not in content["cards"][0]["html"])
    assert "going on" in content["cards"][0]["html"]
    assert ">RUN</a>" in content["cards"][0]["html"]
    assert "in early" in content["cards"][0]["html"]
    assert content["line"] == "1 run, 1 going on"
    store.close()
    until(lambda content: content["line"] == "1 run")
    (tmp_path / "early").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    until(lambda content: not content["cards"])
    stream.close()


def test_who_has_seen_it_gets_nothing_but_a_sign_of_life(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT", 0.05)
    make(tmp_path / "RUN")
    served = serve(tmp_path)
    address = served.address("RUN")
    fresh = served.events(f"{address}/events")
    id, _ = fresh.next()
    fresh.close()
    for stream in (
        served.events(f"{address}/events?seen={id}"),
        served.events(f"{address}/events", Last_Event_ID=id),  # of a browser that comes back
        served.events(f"{address}/events?seen={id}", Accept_Encoding="gzip"),
    ):
        blocks = stream.blocks()
        assert [next(blocks) for _ in range(3)] == ["retry: 1000", ": still here", ": still here"]
        stream.close()


def test_who_has_gone_is_noticed(serve, tmp_path, listened):
    make(tmp_path / "RUN")
    served = serve(tmp_path)
    address = served.address("RUN")
    streams = [served.events(f"{address}/events") for _ in range(3)] + [served.events("/events")]
    for stream in streams:
        stream.next()
    assert listened() == 4
    for stream in streams:
        stream.close()
    wait_until(lambda: listened() == 0)
    wait_until(lambda: threading.active_count() < 6)  # and nothing goes on for them


def test_there_is_room_for_so_many_and_again_when_some_have_left(serve, tmp_path, monkeypatch, listened):
    monkeypatch.setattr(events, "MOST", 2)
    make(tmp_path / "RUN")
    served = serve(tmp_path)
    first, second = served.events("/events"), served.events("/events")
    third = served.get("/events")
    assert third.status == 503
    assert "close some" in third.text
    assert served.get("/").status == 200
    first.close()
    wait_until(lambda: listened() == 1)
    again = served.events("/events")
    assert again.status == 200
    again.close()
    second.close()


def test_a_server_that_ends_lets_everybody_go(serve, tmp_path):
    make(tmp_path / "RUN")
    served = serve(tmp_path)
    stream = served.events("/events")
    stream.next()
    served.stop()
    with pytest.raises(http.client.IncompleteRead):  # cut off, so that a browser comes back
        list(stream.blocks())
    stream.close()


def test_after_a_restart_the_same_browser_goes_on(serve, tmp_path):
    store = begin(tmp_path / "RUN")
    first = serve(tmp_path)
    address = first.address("RUN")
    stream = first.events(f"{address}/events")
    id, _ = stream.next()
    first.stop()
    stream.close()
    store.put_meta(steps=99)
    store.commit()
    second = serve(tmp_path, port=first.port)
    again = second.events(f"{address}/events", Cookie=first.cookie, Last_Event_ID=id)
    assert again.status == 200
    assert "99 steps" in again.next()[1]["parts"]["run"]
    again.close()
    store.close()
