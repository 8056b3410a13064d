import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from longreach.errors import RunFolderError, RunReadError
from longreach.folder import Claim
from longreach.probes.samples import Curve, LayerKey, Pairs
from longreach.record import NonFinite
from longreach.store import Store

KEY = LayerKey("encoder.rnn", "LSTM", 1, "reverse", 64)
EVENT = NonFinite(7, "backward", "overflow", "encoder", "MulBackward0", 3, "inf")


def curve(step: int) -> Curve:
    return Curve(step, (0, 1, 5), (0.0, -2.5, -math.inf), (0.0, -3.0, -700.5), (0.0, 0.0, 0.25), True)


def pairs(step: int, sequences: int = 2, time: int = 3, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((sequences, time, 2)).astype(np.float32)
    errors = rng.standard_normal((sequences, time, 4)).astype(np.float32)
    return Pairs(step, inputs, errors, np.full(sequences, time), tokens=False)


def assert_same(one: Pairs, other: Pairs) -> None:
    assert (one.step, one.tokens) == (other.step, other.tokens)
    for name in ("inputs", "errors", "lengths"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path) -> Path | None:
    return tmp_path / "run" if request.param == "disk" else None


def test_what_goes_in_comes_out(folder):
    store = Store.create(folder)
    sample = pairs(4)
    ids = Pairs(
        5, np.array([[[3], [0]]], np.int64), np.ones((1, 2, 1), np.float32), np.array([2], np.int32), tokens=True
    )
    store.put_meta(script="train.py", argv=["--lr", "0.1"], seconds=np.float64(1.5), steps=np.int64(3), worst=math.inf)
    store.put_meta(script="other.py")
    store.add_losses([(0, 1.5), (1, math.nan), (2, math.inf), (3, -math.inf), (4, 1e-310)])
    store.add_curve(KEY, curve(0))
    store.add_curve(KEY, curve(1))
    store.add_pairs("encoder.rnn", "reverse", sample)
    store.add_pairs("encoder.rnn", "reverse", ids)
    store.note("first")
    store.note("second")
    store.note("first")
    store.set_nonfinite(EVENT)
    store.set_nonfinite(NonFinite(8, "forward", "data", None, None, None, "nan"))
    if folder:
        store.close()
        store = Store.open(folder)

    assert store.meta() == {
        "script": "other.py", "argv": ["--lr", "0.1"], "seconds": 1.5, "steps": 3, "worst": math.inf,
    }  # fmt: skip
    steps, values = zip(*store.losses(), strict=True)
    assert steps == (0, 1, 2, 3, 4)
    np.testing.assert_array_equal(values, [1.5, math.nan, math.inf, -math.inf, 1e-310])
    assert store.curves() == {KEY: [curve(0), curve(1)]}
    back = store.pairs("encoder.rnn", "reverse")
    assert_same(back[0], sample)
    assert_same(back[1], ids)
    assert store.pairs("encoder.rnn", "forward") == []
    assert store.notes() == ["first", "second"]
    assert store.nonfinite() == EVENT


def test_an_empty_record_is_empty(folder):
    store = Store.create(folder)
    assert (store.meta(), store.losses(), store.curves(), store.notes(), store.nonfinite()) == ({}, [], {}, [], None)


def test_a_curve_without_an_error_has_no_signal(folder):
    store = Store.create(folder)
    blind = Curve(3, (0, 1), (0.0, -1.0), None, None, False)
    store.add_curve(KEY, blind)
    assert store.curves() == {KEY: [blind]}


def test_a_reader_sees_what_was_committed_and_nothing_else(tmp_path):
    store = Store.create(tmp_path / "run")
    store.note("safe")
    store.commit()
    store.note("not yet")
    reader = Store.open(tmp_path / "run")
    assert reader.notes() == ["safe"]
    store.commit()
    assert reader.notes() == ["safe", "not yet"]


def test_a_finished_record_is_one_plain_file(tmp_path):
    store = Store.create(tmp_path / "run")
    store.note("done")
    store.close()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["record.sqlite"]
    Store.open(tmp_path / "run").notes()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["record.sqlite"]


# ---- bounded


def test_losses_are_thinned_into_means_of_stretches(folder, monkeypatch):
    monkeypatch.setattr(Store, "LOSSES", 100)
    store = Store.create(folder)
    losses = [(step, float(np.sin(step / 50))) for step in range(1234)]
    for start in range(0, 1234, 7):
        store.add_losses(losses[start : start + 7])
    kept = store.losses()
    assert 50 <= len(kept) <= 100
    bounds = [step for step, _ in kept] + [1234]
    assert bounds == sorted(bounds)
    assert bounds[0] == 0
    for (start, value), end in zip(kept, bounds[1:], strict=True):
        assert value == pytest.approx(np.mean([loss for _, loss in losses[start:end]]), rel=1e-12, abs=1e-12)
    widths = np.diff(bounds)
    assert widths.max() <= 4 * np.median(widths), "no part of the run may be drawn much coarser than the rest"


def test_a_thinned_stretch_with_a_nan_is_nan_and_large_losses_do_not_overflow(folder, monkeypatch):
    monkeypatch.setattr(Store, "LOSSES", 10)
    store = Store.create(folder)
    values = [1e308] * 10 + [math.nan] + [1.0] * 12 + [math.inf] + [1.0]
    for step, value in enumerate(values):
        store.add_losses([(step, value)])
    kept = dict(store.losses())
    bounds = [*kept, len(values)]
    for (start, value), end in zip(kept.items(), bounds[1:], strict=True):
        stretch = values[start:end]
        if math.nan in stretch or math.inf in stretch:
            assert not math.isfinite(value)
            assert math.isnan(value) == (math.nan in stretch)
        else:
            assert math.isfinite(value)


def test_curves_are_thinned_among_the_older_half(folder, monkeypatch):
    monkeypatch.setattr(Store, "CURVES", 16)
    other = LayerKey("decoder", "GRU", 0, "forward", 8)
    store = Store.create(folder)
    store.add_curve(other, curve(0))
    for step in range(300):
        store.add_curve(KEY, curve(step))
    kept = store.curves()
    steps = [one.step for one in kept[KEY]]
    assert len(steps) <= 16
    assert steps[0] == 0, "the first curve shows the untrained network"
    assert steps[-8:] == list(range(292, 300))
    assert kept[other] == [curve(0)]


def test_pairs_keep_the_first_and_the_latest_sequences(folder, monkeypatch):
    monkeypatch.setattr(Store, "FIRST_SEQUENCES", 6)
    monkeypatch.setattr(Store, "LATEST_SEQUENCES", 10)
    store = Store.create(folder)
    store.add_pairs("other", "forward", pairs(0))
    for step in range(50):
        store.add_pairs("rnn", "forward", pairs(step, sequences=2, seed=step))
    kept = store.pairs("rnn", "forward")
    assert [one.step for one in kept] == [0, 1, 2, 45, 46, 47, 48, 49]
    assert_same(kept[-1], pairs(49, seed=49))
    assert [one.step for one in store.pairs("other", "forward")] == [0]


def test_pairs_are_bounded_in_bytes_too_and_never_lose_the_last(folder, monkeypatch):
    size = sum(array.nbytes for array in (pairs(0).inputs, pairs(0).errors, pairs(0).lengths))
    monkeypatch.setattr(Store, "PAIR_BYTES", 6 * size)
    store = Store.create(folder)
    for step in range(50):
        store.add_pairs("rnn", "forward", pairs(step))
    assert [one.step for one in store.pairs("rnn", "forward")] == [0, 1, 46, 47, 48, 49]
    store.add_pairs("rnn", "forward", pairs(50, sequences=100))
    assert [one.step for one in store.pairs("rnn", "forward")] == [0, 1, 50]


def test_file_and_memory_stay_flat(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "LOSSES", 200)
    monkeypatch.setattr(Store, "CURVES", 20)
    monkeypatch.setattr(Store, "PAIR_BYTES", 2**20)
    store = Store.create(tmp_path / "run")

    def size_after(steps: range) -> int:
        for step in steps:
            store.add_losses([(step, 0.5)])
            store.add_curve(KEY, curve(step))
            store.add_pairs("rnn", "forward", pairs(step, sequences=8, time=100))
            if step % 10 == 0:
                store.commit()
        store.commit()
        return sum(path.stat().st_size for path in (tmp_path / "run").iterdir())

    early = size_after(range(400))
    assert size_after(range(400, 2000)) <= 1.1 * early


# ---- one writer


def test_a_forked_worker_writes_nothing(tmp_path):
    done = python(
        """
        import os, sys
        from pathlib import Path
        import numpy as np
        from longreach.probes.samples import Curve, LayerKey, Pairs
        from longreach.record import NonFinite
        from longreach.store import Store
        store = Store.create(Path(sys.argv[1]))
        store.note("parent")
        store.commit()
        if os.fork() == 0:
            store.note("worker")
            store.put_meta(steps=99)
            store.add_losses([(0, 9.0)])
            store.add_curve(LayerKey("rnn", "GRU", 0, "forward", 4), Curve(0, (0,), (0.0,), None, None, False))
            ones = np.ones((1, 1, 1), np.float32)
            store.add_pairs("rnn", "forward", Pairs(0, ones, ones, np.ones(1, int), False))
            store.set_nonfinite(NonFinite(0, "forward", "data", None, None, None, "nan"))
            store.commit()
            store.close()
            os._exit(17)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 17
        assert Store.open(Path(sys.argv[1])).notes() == ["parent"]
        store.note("parent again")
        store.close()
        """,
        str(tmp_path / "run"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    back = Store.open(tmp_path / "run")
    assert back.notes() == ["parent", "parent again"]
    assert (back.meta(), back.losses(), back.curves(), back.nonfinite()) == ({}, [], {}, None)
    assert back.pairs("rnn", "forward") == []


def test_a_forked_process_that_ends_in_order_does_not_close_its_parents_connection(tmp_path):
    done = python(
        """
        import gc, os, sys
        from pathlib import Path
        from longreach.store import Store
        store = Store.create(Path(sys.argv[1]))
        store.note("before")
        store.commit()
        if os.fork() == 0:
            del store
            gc.collect()
            opened = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
            assert os.path.realpath(Path(sys.argv[1], "record.sqlite")) in opened
            sys.exit(0)  # the whole interpreter is taken down, every object with it
        assert os.wait()[1] == 0
        assert Path(sys.argv[1], "record.sqlite-wal").stat().st_size > 0
        store.note("after")
        store.commit()
        print(Store.open(Path(sys.argv[1])).notes())
        """,
        str(tmp_path / "run"),
    )
    assert (done.stdout, done.stderr) == ("['before', 'after']\n", "")


def test_reading_in_a_forked_worker_says_what_to_do(tmp_path):
    done = python(
        """
        import os, sys
        from pathlib import Path
        from longreach.store import Store
        store = Store.create(Path(sys.argv[1]))
        if os.fork() == 0:
            store.notes()
        os.wait()
        """,
        str(tmp_path / "run"),
    )
    assert "RunReadError" in done.stderr
    assert "call Store.open there" in done.stderr


def test_kill_9_keeps_what_was_committed(tmp_path):
    killed = python(
        """
        import os, signal, sys
        from pathlib import Path
        from longreach.store import Store
        store = Store.create(Path(sys.argv[1]))
        store.add_losses([(0, 1.0), (1, float("nan"))])
        store.note("kept")
        store.commit()
        store.note("lost")
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        str(tmp_path / "run"),
    )
    assert killed.returncode == -signal.SIGKILL
    back = Store.open(tmp_path / "run")
    assert back.notes() == ["kept"]
    assert back.losses()[0] == (0, 1.0)
    assert math.isnan(back.losses()[1][1])


# ---- the folder


def test_a_second_run_is_refused_while_the_first_is_alive(tmp_path):
    store = Store.create(tmp_path / "run")
    store.note("mine")
    store.commit()
    second = python(
        """
        import sys
        from pathlib import Path
        from longreach.errors import RunFolderError
        from longreach.store import Store
        try:
            Store.create(Path(sys.argv[1]))
        except RunFolderError as error:
            print(error)
        """,
        str(tmp_path / "run"),
    )
    assert second.stdout == (
        f"run folder {tmp_path}/run: expected a new or empty folder, but another run is writing there right now; "
        "choose another with --run-dir\n"
    )
    store.close()
    assert Store.open(tmp_path / "run").notes() == ["mine"]


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    Store.create(tmp_path / "over").close()
    with pytest.raises(RunFolderError, match="holds an earlier run; choose another with --run-dir"):
        Store.create(tmp_path / "over")
    assert not (tmp_path / "over" / "run.lock").exists()
    python(
        """
        import os, sys
        from pathlib import Path
        from longreach.store import Store
        store = Store.create(Path(sys.argv[1]))
        os.kill(os.getpid(), 9)
        """,
        str(tmp_path / "killed"),
    )
    with pytest.raises(RunFolderError, match="holds a run that did not end; choose another with --run-dir"):
        Store.create(tmp_path / "killed")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunFolderError, match=r"expected a folder that can be written, got: .*; choose another"):
            Store.create(place)
    with pytest.raises(RunFolderError, match="expected a folder that can be written, got: "):
        Store.create(Path("/proc/longreach"))


def test_default_folders_are_unique_and_named_after_the_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "20260102-030405")
    claims = [Claim.default("train") for _ in range(3)]
    assert [claim.folder.relative_to(tmp_path).as_posix() for claim in claims] == [
        "longreach-runs/20260102-030405-train",
        "longreach-runs/20260102-030405-train-2",
        "longreach-runs/20260102-030405-train-3",
    ]
    for claim in claims:
        claim.release()


def test_default_folders_that_cannot_be_made_are_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("longreach-runs").write_text("in the way")
    with pytest.raises(RunFolderError, match="choose another with --run-dir"):
        Claim.default("train")


# ---- trouble with the disk


def test_a_full_disk_is_told_once_and_what_was_committed_stays(tmp_path):
    store = Store.create(tmp_path / "run")
    store.note("kept")
    store.commit()
    store._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(RunFolderError, match=r"expected a folder that can be written, got: .*full"):
        store.add_pairs("rnn", "forward", pairs(0, sequences=200, time=500))
    store.note("too late")
    store.add_pairs("rnn", "forward", pairs(0))
    store.commit()
    store.close()
    assert Store.open(tmp_path / "run").notes() == ["kept"]


def test_a_disk_that_is_full_from_the_start_is_told_at_creation(tmp_path):
    # a limit on file size fails writes as a full disk does, below SQLite
    done = python(
        """
        import resource, signal, sys
        from pathlib import Path
        from longreach.errors import RunFolderError
        from longreach.store import Store
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            Store.create(Path(sys.argv[1]))
        except RunFolderError as error:
            print(error)
        """,
        str(tmp_path / "run"),
    )
    assert "expected a folder that can be written, got: " in done.stdout
    assert not (tmp_path / "run" / "run.lock").exists()


# ---- damaged records


def written(folder: Path) -> Path:
    store = Store.create(folder)
    for step in range(40):
        store.add_pairs("rnn", "forward", pairs(step, sequences=20, time=50))
    store.close()
    return folder / "record.sqlite"


def everything(folder: Path) -> None:
    store = Store.open(folder)
    store.meta(), store.losses(), store.curves(), store.pairs("rnn", "forward"), store.notes(), store.nonfinite()


def test_no_record_there(tmp_path):
    with pytest.raises(RunReadError, match=r"expected a run folder with a record.sqlite, found none; pass the folder"):
        Store.open(tmp_path)
    with pytest.raises(RunReadError, match="found none"):
        Store.open(tmp_path / "nowhere")


@pytest.mark.parametrize("part", [0.99, 0.5, 0.02])
def test_a_record_cut_off(tmp_path, part):
    record = written(tmp_path / "run")
    os.truncate(record, int(record.stat().st_size * part))
    with pytest.raises(RunReadError, match=r"expected a whole record, got: .*; it is damaged or was cut off .* again"):
        everything(tmp_path / "run")


def test_a_record_that_is_no_database(tmp_path):
    (tmp_path / "record.sqlite").write_bytes(b"#!/bin/sh\n" * 1000)
    with pytest.raises(RunReadError, match="expected a whole record, got: file is not a database"):
        everything(tmp_path)


@pytest.mark.parametrize(
    ("change", "came"),
    [("PRAGMA user_version = 7", "schema 7"), ("PRAGMA application_id = 0", "the database of another program")],
)
def test_a_record_of_another_schema_or_program(tmp_path, change, came):
    with sqlite3.connect(written(tmp_path / "run")) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(
        RunReadError, match=f"expected a record of schema 1 to 2, got .*{came}; read it with the version"
    ):
        everything(tmp_path / "run")


def test_an_empty_file_is_no_record(tmp_path):
    (tmp_path / "record.sqlite").touch()
    with pytest.raises(RunReadError, match="got an empty file or the database of another program"):
        everything(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pairs SET inputs = x'00' WHERE id = 3",
        "UPDATE pairs SET layout = '[]' WHERE id = 3",
        "INSERT INTO meta VALUES ('steps', '{')",
        "INSERT INTO nonfinite VALUES (0, '{\"step\": 1}')",
        "INSERT INTO curves VALUES (1, '[]', '{}')",
        "DROP TABLE losses",
    ],
)
def test_a_record_with_something_wrong_inside(tmp_path, change):
    with sqlite3.connect(written(tmp_path / "run")) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(RunReadError, match="expected a whole record, got: "):
        everything(tmp_path / "run")


def test_what_is_no_number_is_refused_before_it_is_written(folder):
    store = Store.create(folder)
    with pytest.raises(TypeError, match="expected a number, a string, a list or a dict of them, got PosixPath"):
        store.put_meta(script=Path("train.py"))
    assert store.meta() == {}
