"""What a run tells: logs that hold each step once, read back by other people's readers, and a disk that is full."""

import csv
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from longreach.training import trouble
from longreach.training.logs import Board, Table
from longreach.training.progress import LOGGED, Progress

NAMES = st.text(alphabet="ab/ ,\"'é\n", min_size=1, max_size=5)
SCALARS = st.dictionaries(NAMES, st.floats(width=32, allow_nan=False), min_size=1, max_size=3)


def events(path):
    """By tensorboardX's own words for them, checksums included."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack_from("<Q", content)
        record = content[12 : 12 + length]
        sums = struct.unpack_from("<I", content, 8), struct.unpack_from("<I", content, 12 + length)
        assert sums == ((masked_crc32c(content[:8]),), (masked_crc32c(record),))
        found.append(Event.FromString(record))
        content = content[16 + length :]
    return found


def scalars(path):
    return [(event.step, {one.tag: one.simple_value for one in event.summary.value}) for event in events(path)[1:]]


@given(st.lists(st.tuples(st.integers(0, 2**40), SCALARS), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_tensorboard_reads_what_is_written(tmp_path_factory, steps):
    board = Board(tmp_path_factory.mktemp("board") / "events.out.tfevents.test")
    for step, values in steps:
        board.add(step, values)
        board.flush()
    assert scalars(board.path) == steps
    assert events(board.path)[0].file_version == "brain.Event:2"


@pytest.mark.parametrize("lost", [0, 1, 9, 30])
@pytest.mark.parametrize("kind", [Table, Board])
def test_what_came_after_a_step_is_cut_and_so_is_what_is_not_whole(tmp_path, kind, lost):
    def add(log, step):
        log.add({"step": step, "x": 0.5 * step}) if kind is Table else log.add(step, {"x": 0.5 * step})

    log, short = kind(tmp_path / "log"), kind(tmp_path / "short")
    for step in range(200, 210):
        add(log, step)
        if step <= 205:
            add(short, step)
    log.flush()
    short.flush()
    log.path.write_bytes(log.path.read_bytes()[: -lost or None])
    again = kind(log.path)
    again.cut(205)
    assert again.path.stat().st_size == short.path.stat().st_size
    add(again, 206)
    again.flush()
    read = scalars if kind is Board else lambda path: path.read_text().splitlines()
    assert len(read(again.path)) == len(read(short.path)) + 1


def test_a_log_that_is_not_there_is_cut_without_a_word(tmp_path):
    Table(tmp_path / "log").cut(3)
    assert not list(tmp_path.iterdir())


class Full:
    """A disk that takes so many bytes."""

    def __init__(self, monkeypatch, room):
        self.room, self.real = room, open
        monkeypatch.setattr("builtins.open", self.open)

    def open(self, path, mode="r", *given, **options):
        file = self.real(path, mode, *given, **options)
        return file if "a" not in mode else Limited(file, self)


class Limited:
    def __init__(self, file, disk):
        self.file, self.disk = file, disk

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        taken = min(len(content), self.disk.room)
        self.disk.room -= taken
        if not taken:
            raise OSError(28, "No space left on device")
        return self.file.write(bytes(content[:taken]))


@pytest.mark.parametrize("room", [0, 7, 60])
def test_on_a_full_disk_lines_wait_in_memory(tmp_path, monkeypatch, capsys, room):
    def told(folder):
        folder.mkdir()
        progress = Progress(folder, 10, quiet=False, reach=3, need=2)
        progress.begin(0)
        return progress

    def tell(progress, steps):
        for step in steps:
            progress.updated(step, 1.5, 0.25, 1e-3)
        progress.judged(steps[-1], {"loss": 1.0})
        progress.flush()

    clean, full = told(tmp_path / "clean"), told(tmp_path / "full")
    for steps in ((1, 2), (3, 4), (5, 6), (7, 8)):
        tell(clean, steps)
    clean.end()
    capsys.readouterr()
    tell(full, (1, 2))
    with monkeypatch.context() as patch:
        Full(patch, room)
        tell(full, (3, 4))
        tell(full, (5, 6))
    full_told = capsys.readouterr().err
    assert full_told.count("No space left on device; training goes on") == 1
    tell(full, (7, 8))
    full.end()
    for name in ("metrics.csv", "validation.csv"):
        assert (tmp_path / "full" / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
    name = "tensorboard/events.out.tfevents.longreach"
    assert scalars(tmp_path / "full" / name) == scalars(tmp_path / "clean" / name)


def test_a_long_run_is_logged_thinly_and_the_logs_say_what_they_were_told(tmp_path):
    progress = Progress(tmp_path, 10 * LOGGED, quiet=True, reach=None, need=None)
    progress.begin(0)
    for step in range(1, 10 * LOGGED + 1):
        progress.updated(step, step / 4, 2.0, 0.5)
    progress.happened(trouble.Event(7, "skipped", "the loss is nan"))
    progress.judged(20, {"loss": 0.5, "bits, per character": 2.0})
    progress.end()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert len(rows) == LOGGED
    assert all(float(row["loss"]) == int(row["step"]) / 4 for row in rows)
    assert (tmp_path / "events.csv").read_text().splitlines() == ["step,what,why", "7,skipped,the loss is nan"]
    assert (tmp_path / "validation.csv").read_text().splitlines()[0] == 'step,loss,"bits, per character"'
