import asyncio
import json
import threading
import zlib

import pytest

from longreach.view import follow
from longreach.view.follow import Follow, Pace, aside
from longreach.view.version import GZIP, Version, packed


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(follow, "INTERVAL", 0.001)
    monkeypatch.setattr(follow, "SHARE", 1.0)


class Disk:
    """What is followed: `state` changes with every `write`."""

    def __init__(self):
        self.text, self.readings, self.threads = "first", 0, set()
        self.may_read = threading.Event()
        self.may_read.set()

    def state(self):
        return self.text

    def read(self):
        self.readings += 1
        self.threads.add(threading.get_ident())
        text = self.text
        assert self.may_read.wait(10)
        if text == "broken":
            raise ValueError("cannot be read")
        return {"text": text}

    def follow(self):
        return Follow(self.state, self.read, Pace())


def text(version: Version | None) -> str | None:
    return version and version.content["text"]


def test_what_has_not_changed_is_not_read_again():
    async def play():
        disk = Disk()
        followed = disk.follow()
        first = await followed.now()
        assert text(first) == "first"
        assert await followed.now() is first
        disk.text = "second"
        assert text(await followed.now()) == "second"
        with followed.listened():
            assert await followed.after((await followed.now()).id, 0.05) is None
        assert disk.readings == 2
        assert threading.get_ident() not in disk.threads

    asyncio.run(play())


def test_all_who_listen_hear_of_one_reading():
    async def play():
        disk = Disk()
        followed = disk.follow()
        seen = (await followed.now()).id

        async def listener():
            with followed.listened():
                return await followed.after(seen, 10)

        listeners = [asyncio.create_task(listener()) for _ in range(20)]
        await asyncio.sleep(0.02)
        assert followed.listeners == 20
        disk.text = "second"
        heard = await asyncio.gather(*listeners)
        assert {id(version) for version in heard} == {id(heard[0])}
        assert text(heard[0]) == "second"
        assert disk.readings == 2
        assert followed.listeners == 0

    asyncio.run(play())


def test_many_who_open_a_page_at_once_wait_for_one_reading():
    async def play():
        disk = Disk()
        disk.may_read.clear()
        followed = disk.follow()
        opened = [asyncio.create_task(followed.now()) for _ in range(10)]
        while not disk.readings:
            await asyncio.sleep(0.001)
        opened.pop().cancel()  # who gives up spoils it for nobody
        disk.may_read.set()
        assert {text(version) for version in await asyncio.gather(*opened)} == {"first"}
        assert disk.readings == 1

    asyncio.run(play())


def test_nobody_listens_nothing_is_read():
    async def play():
        disk = Disk()
        followed = disk.follow()
        await followed.now()
        with followed.listened():
            pass
        disk.text = "second"
        await asyncio.sleep(0.05)
        assert disk.readings == 1

    asyncio.run(play())


def test_after_a_reading_that_failed_the_old_version_stays_and_the_next_one_comes(capsys):
    async def play():
        disk = Disk()
        followed = disk.follow()
        first = await followed.now()
        with followed.listened():
            disk.text = "broken"
            while disk.readings < 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            assert disk.readings == 2  # not again and again
            assert await followed.now() is first
            disk.text = "third"
            assert text(await followed.after(first.id, 10)) == "third"

    asyncio.run(play())
    assert "cannot be read" in capsys.readouterr().err


def test_the_same_content_is_no_new_version():
    async def play():
        states = iter(range(1_000_000))
        followed = Follow(lambda: next(states), lambda: {"text": "same"}, Pace())
        first = await followed.now()
        assert await followed.now() is first

    asyncio.run(play())


class Clock:
    """Time that passes only where somebody sleeps or works."""

    def __init__(self, monkeypatch):
        self.now, self.slept = 1000.0, []
        monkeypatch.setattr(follow.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(follow.asyncio, "sleep", self.sleep)
        monkeypatch.setattr(follow, "SHARE", 0.2)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def work(self, seconds):
        self.now += seconds


def test_reading_takes_a_fifth_of_the_time_at_most(monkeypatch):
    clock = Clock(monkeypatch)

    async def play():
        pace = Pace()
        began = clock.now
        for seconds in (1.0, 3.0, 0.5):
            await pace.turn(lambda seconds=seconds: clock.work(seconds), hurry=False)
        assert clock.now - began == pytest.approx(1 + 4 + 3 + 12 + 0.5)
        await pace.turn(lambda: clock.work(0.1), hurry=True)  # somebody waits
        assert clock.now - began == pytest.approx(20.5 + 0.1)
        await pace.turn(lambda: None, hurry=False)
        assert clock.slept[-1] == pytest.approx(0.4)

    asyncio.run(play())


def test_a_failure_comes_out_of_its_thread():
    async def play():
        with pytest.raises(KeyError):
            await aside(lambda: {}["nothing"])
        assert await aside(lambda: 7) == 7

    asyncio.run(play())


def test_a_version_is_one_event_whatever_is_in_it():
    content = {"text": "two\nlines\r\nand \u2028 <script> \U0001f600 é"}
    version = Version.of(content)
    head, data, *rest = version.event.decode().split("\n")
    assert head == f"id: {version.id}"
    assert json.loads(data.removeprefix("data: ")) == content
    assert rest == ["", ""]
    assert Version.of(dict(content)).id == version.id  # the same after a restart
    assert Version.of({"text": ""}).id != version.id
    with pytest.raises(ValueError, match="JSON"):
        Version.of({"text": float("nan")})  # which no browser could read


def test_packed_events_make_one_stream_in_any_order():
    pieces = [b"a" * 1000, b"", b"id: 1\ndata: {}\n\n", bytes(range(256)) * 10]
    unpack = zlib.decompressobj(wbits=31)
    assert unpack.decompress(GZIP) == b""
    for piece in (*pieces, *reversed(pieces)):
        assert unpack.decompress(packed(piece)) == piece  # at once, without what comes next


def test_a_first_reading_that_fails_is_tried_again_by_whoever_asks():
    async def play():
        disk = Disk()
        disk.text = "broken"
        followed = disk.follow()
        for count in (1, 2):
            with pytest.raises(ValueError, match="cannot be read"):
                await followed.now()
            assert disk.readings == count
        with followed.listened():
            assert await followed.after("", 0.05) is None
            assert disk.readings == 3
            disk.text = "second"
            assert text(await followed.after("", 10)) == "second"

    asyncio.run(play())
