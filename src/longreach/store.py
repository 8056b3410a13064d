"""The run folder's record.sqlite: one process writes, any number read, and a killed run keeps what it had measured."""

import ctypes
import json
import math
import os
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from longreach.errors import RunReadError
from longreach.folder import RECORD, Claim, unwritable
from longreach.plain import build, plain
from longreach.probes.samples import Curve, LayerKey, Pairs, Sample
from longreach.record import NonFinite

_T = TypeVar("_T")
_S = TypeVar("_S", bound=Sample)
_APPLICATION = 0x4C526368  # "LRch" in the file's header: tells our files from other people's
_SCHEMA = 2
_OLDEST = 1  # still read: it had no table of samples
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE notes (id INTEGER PRIMARY KEY, sentence TEXT NOT NULL UNIQUE);
CREATE TABLE losses (id INTEGER PRIMARY KEY, step INTEGER NOT NULL, value REAL, count INTEGER NOT NULL);
CREATE TABLE curves (id INTEGER PRIMARY KEY, layer TEXT NOT NULL, curve TEXT NOT NULL);
CREATE INDEX curves_of_layer ON curves (layer);
CREATE TABLE pairs (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, direction TEXT NOT NULL,
    step INTEGER NOT NULL, tokens INTEGER NOT NULL,
    inputs BLOB NOT NULL, errors BLOB NOT NULL, lengths BLOB NOT NULL, layout TEXT NOT NULL
);
CREATE INDEX pairs_of_layer ON pairs (module, direction);
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, place TEXT NOT NULL, step INTEGER NOT NULL, sample TEXT NOT NULL
);
CREATE INDEX samples_of_place ON samples (kind, place);
CREATE TABLE nonfinite (id INTEGER PRIMARY KEY CHECK (id = 0), event TEXT NOT NULL);
"""
# value in losses: SQLite turns NaN into NULL, and nothing else here is ever NULL: NULL is NaN.
# layout in pairs: dtype and shape of the three arrays, whose bytes stand in the columns before it.


class Store:
    """Everything measured in one run, in bounded space.

    Writes     only in the process that made it; in a forked worker every call does nothing
    Bounded    losses, curves and pairs are thinned as they come: file and memory stay flat however long the run is
    Survives   kill -9: what was committed is there. Not a power cut: the last commits may be missing then
    On a full  disk the call that fails raises RunFolderError, once; from then on the store takes nothing more
    Is not     an archive of a run: it holds what the diagnosis looks at
    """

    # More points than any screen has columns; one thinning costs some 50 ms and comes every 10,000 steps.
    LOSSES = 20_000
    # Curves per layer, other samples per quantity and place; pooling wants many, and late ones more than early ones.
    CURVES = SAMPLES = 512
    # The need test wants the run's first sequences (an untrained network: what the data offer) and its latest (what is
    # still missing). At some 500 sequences it has power; the latest are doubled, because they decide the verdict.
    FIRST_SEQUENCES = 512
    LATEST_SEQUENCES = 1024
    # What two inputs tell only together is looked for with more (`deepening.py`), in as many times the room.
    DEEP_SEQUENCES = 4096
    # Per layer, one third for the first and two for the latest: long or wide inputs must not fill a disk.
    PAIR_BYTES = 32 * 2**20

    def __init__(
        self,
        connection: sqlite3.Connection,
        where: Path,
        *,
        writing: bool,
        claim: Claim | None = None,
        deep: bool = False,
    ):
        """Use `create` or `open`."""
        self.deep = deep
        self._connection = connection
        self._where = where
        self._claim = claim
        self._owner = os.getpid()
        self._writing = writing
        self._schema = _SCHEMA
        self._mutex = threading.RLock()  # autograd calls hooks from threads of its own
        self._loss_rows = 0
        self._first: dict[tuple[str, str], _Kept] = {}
        self._latest: dict[tuple[str, str], _Kept] = {}
        self._curve_rows: dict[str, int] = {}
        self._sample_rows: dict[tuple[str, str], int] = {}
        _OPEN.add(self)

    @classmethod
    def create(cls, folder: Path | None, *, claimed: bool = False, deep: bool = False) -> Self:
        """A new record in `folder`, or in memory for None.

        claimed  the calling program holds the folder already
        deep     keep as many sequences as the deep need test wants
        """
        claim = Claim(folder) if folder is not None and not claimed else None
        where = Path(":memory:") if folder is None else folder / RECORD
        try:
            connection = sqlite3.connect(where, isolation_level=None, check_same_thread=False)
            # Readers never wait for the writer nor the writer for them; nearly every commit waits for no disk.
            connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            connection.executescript(
                f"BEGIN; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_SCHEMA}; COMMIT;"
            )
        except sqlite3.Error as error:
            if claim:
                claim.release()
            raise unwritable(where.parent, error) from None
        return cls(connection, where, writing=True, claim=claim, deep=deep)

    @classmethod
    def open(cls, folder: Path, *, writing: bool = False) -> Self:
        """The record of a run, live or over, to be read; `writing`: to add how it ended, once its writer is gone."""
        where = folder / RECORD
        if not where.is_file():
            raise RunReadError(
                f"{folder}: expected a run folder with a {RECORD}, found none; "
                "pass the folder that `longreach run` named in its last line"
            )
        mode = "rw" if writing else "ro"
        store = None
        try:
            connection = sqlite3.connect(
                f"{where.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            store = cls(connection, where, writing=writing)
            (application,), (schema,) = store._read("PRAGMA application_id") + store._read("PRAGMA user_version")
            store._schema = schema
            if application != _APPLICATION or not _OLDEST <= schema <= _SCHEMA:
                came = (
                    f"schema {schema}"
                    if application == _APPLICATION
                    else "an empty file or the database of another program"
                )
                raise RunReadError(
                    f"{where}: expected a record of schema {_OLDEST} to {_SCHEMA}, got {came}; "
                    "read it with the version of longreach that wrote it, or run the script again"
                )
        except sqlite3.Error as error:
            raise _unreadable(where, error) from None
        except RunReadError:
            if store:
                store.close()
            raise
        return store

    # ---- writing

    def put_meta(self, **values: Any) -> None:
        """Keep each value under its name; a later one replaces an earlier one."""
        self._write(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [(key, json.dumps(value, default=_number)) for key, value in values.items()],
        )

    def note(self, sentence: str) -> None:
        """Tell the user what could not be seen, and why; the same sentence is kept once."""
        self._write("INSERT OR IGNORE INTO notes (sentence) VALUES (?)", [(sentence,)])

    def set_nonfinite(self, event: NonFinite) -> None:
        """Keep the first NaN or infinity of the run; later ones are ignored."""
        self._write("INSERT OR IGNORE INTO nonfinite VALUES (0, ?)", [(json.dumps(asdict(event)),)])

    def add_losses(self, losses: Sequence[tuple[int, float]]) -> None:
        """Append (step, loss), in the order of the run."""
        with self._mutex:
            self._write(
                "INSERT INTO losses (step, value, count) VALUES (?, ?, 1)",
                [(step, float(value)) for step, value in losses],
            )
            self._loss_rows += len(losses)
            if self._loss_rows > self.LOSSES:
                self._thin_losses()

    def add_curve(self, key: LayerKey, curve: Curve) -> None:
        """Append what one sampled step says about one layer."""
        layer = json.dumps(asdict(key))
        with self._mutex:
            self._write(
                "INSERT INTO curves (layer, curve) VALUES (?, ?)", [(layer, json.dumps(plain(curve), default=_number))]
            )
            self._curve_rows[layer] = self._curve_rows.get(layer, 0) + 1
            if self._curve_rows[layer] > self.CURVES:
                self._curve_rows[layer] = self._thin("curves", "layer = ?", (layer,))

    def add(self, sample: Sample) -> None:
        """Append what one sampled step says about one place, of whatever quantity."""
        key = (type(sample).__name__, sample.place)
        text = json.dumps(plain(sample), default=_number)
        with self._mutex:
            self._write(
                "INSERT INTO samples (kind, place, step, sample) VALUES (?, ?, ?, ?)", [(*key, sample.step, text)]
            )
            self._sample_rows[key] = self._sample_rows.get(key, 0) + 1
            if self._sample_rows[key] > self.SAMPLES:
                self._sample_rows[key] = self._thin("samples", "kind = ? AND place = ?", key)

    def add_pairs(self, module: str, direction: str, pairs: Pairs) -> None:
        """Keep the pairs of one sampled step among the first or the latest of the run; those between are given up."""
        arrays = [np.ascontiguousarray(array) for array in (pairs.inputs, pairs.errors, pairs.lengths)]
        layout = json.dumps([(array.dtype.str, array.shape) for array in arrays])
        sequences, size = len(pairs.lengths), sum(array.nbytes for array in arrays)
        with self._mutex:
            row = self._write(
                "INSERT INTO pairs (module, direction, step, tokens, inputs, errors, lengths, layout)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(module, direction, pairs.step, pairs.tokens, *(array.tobytes() for array in arrays), layout)],
            )
            if row is None:
                return
            latest = self._latest.setdefault((module, direction), _Kept())
            first = self._first.setdefault((module, direction), _Kept())
            room = first.sequences < self.FIRST_SEQUENCES and first.size + size <= self.PAIR_BYTES // 3
            if not latest.rows and (room or not first.rows):
                first.add(row, sequences, size)
                return
            latest.add(row, sequences, size)
            most = self.DEEP_SEQUENCES if self.deep else self.LATEST_SEQUENCES
            heaviest = self.PAIR_BYTES * 2 // 3 * (most // self.LATEST_SEQUENCES)
            while len(latest.rows) > 1 and (latest.sequences - latest.rows[0][1] >= most or latest.size > heaviest):
                self._write("DELETE FROM pairs WHERE id = ?", [(latest.drop(),)])

    def commit(self) -> None:
        """Make everything written so far safe from the process's death and visible to readers."""
        with self._mutex:
            if self._writes() and self._connection.in_transaction:
                self._attempt(lambda: self._connection.execute("COMMIT"))

    def close(self) -> None:
        """Commit and let go of the file and the folder; nothing can be written or read afterwards."""
        if self._owner != os.getpid():
            return
        with self._mutex:
            try:
                self.commit()
                if self._writing:
                    self._settle()
            finally:
                self._writing = False
                self._connection.close()
                if self._claim:
                    self._claim.release()
                    self._claim = None

    # ---- reading

    def meta(self) -> dict[str, Any]:
        """What was run, and how it went."""
        return {key: self._parse(value) for key, value in self._read("SELECT key, value FROM meta ORDER BY rowid")}

    def notes(self) -> list[str]:
        """What could not be seen, in the order it came up."""
        return [sentence for (sentence,) in self._read("SELECT sentence FROM notes ORDER BY id")]

    def nonfinite(self) -> NonFinite | None:
        """The first NaN or infinity; None if there was none."""
        rows = self._read("SELECT event FROM nonfinite")
        return self._build(NonFinite, rows[0][0]) if rows else None

    def losses(self) -> list[tuple[int, float]]:
        """(step, mean loss from there to the next step listed), in the order of the run."""
        rows = self._read("SELECT step, value FROM losses ORDER BY id")
        return [(step, math.nan if value is None else value) for step, value in rows]

    def curves(self) -> dict[LayerKey, list[Curve]]:
        """The curves kept of each layer, in the order of the run; layers in the order they first ran."""
        found: dict[LayerKey, list[Curve]] = {}
        for layer, curve in self._read("SELECT layer, curve FROM curves ORDER BY id"):
            found.setdefault(self._build(LayerKey, layer), []).append(self._build(Curve, curve))
        return found

    def samples(self, kind: type[_S]) -> dict[str, list[_S]]:
        """All samples of one quantity by place, in the order of the run; places in the order they first appeared."""
        if self._schema < 2:
            return {}
        found: dict[str, list[_S]] = {}
        rows = self._read("SELECT place, sample FROM samples WHERE kind = ? ORDER BY id", (kind.__name__,))
        for place, text in rows:
            found.setdefault(place, []).append(self._build(kind, text))
        return found

    def pairs(self, module: str, direction: str) -> list[Pairs]:
        """The first and the latest pairs of one layer, in the order of the run."""
        rows = self._read(
            "SELECT step, tokens, inputs, errors, lengths, layout FROM pairs"
            " WHERE module = ? AND direction = ? ORDER BY id",
            (module, direction),
        )
        return [
            Pairs(step, *self._arrays(columns, layout), tokens=bool(tokens)) for step, tokens, *columns, layout in rows
        ]

    # ---- inside

    def _writes(self) -> bool:
        return self._writing and self._owner == os.getpid()

    def _write(self, statement: str, rows: Iterable[tuple]) -> int | None:
        """Run `statement` for each row; the id of the last row inserted, None where this store does not write."""
        with self._mutex:
            if not self._writes():
                return None

            def write() -> int | None:
                if not self._connection.in_transaction:
                    self._connection.execute("BEGIN IMMEDIATE")
                last = None
                for row in rows:
                    last = self._connection.execute(statement, row).lastrowid
                return last

            return self._attempt(write)

    def _attempt(self, action: Callable[[], _T]) -> _T:
        try:
            return action()
        except sqlite3.Error as error:
            self._writing = False
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise unwritable(self._where.parent, error) from None

    def _settle(self) -> None:
        """Leave one plain file: even the readers of a WAL database write beside it, which a later disk may forbid."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            self._connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise unwritable(self._where.parent, error) from None
            # someone is reading right now, and keeps the file in WAL mode

    def _thin_losses(self) -> None:
        """Merge neighbours into stretches of about equal length, until half of the room is free."""
        if not self._writes():
            return
        rows = self._read("SELECT step, value, count FROM losses ORDER BY id")
        width = math.ceil(sum(count for *_, count in rows) / (self.LOSSES // 2))
        merged: list[tuple[int, float, int]] = []
        for step, value, count in rows:
            value = math.nan if value is None else value
            if merged and merged[-1][2] < width:
                start, mean, n = merged[-1]
                total = n + count
                # each divided first: the sum of two large losses may overflow, their mean cannot
                merged[-1] = (start, mean * (n / total) + value * (count / total), total)
            else:
                merged.append((step, value, count))
        self._write("DELETE FROM losses", [()])
        self._write("INSERT INTO losses (step, value, count) VALUES (?, ?, ?)", merged)
        self._loss_rows = len(merged)

    def _thin(self, table: str, which: str, values: tuple) -> int:
        """Drop every other row of the older half; how many are left."""
        ids = [row for (row,) in self._read(f"SELECT id FROM {table} WHERE {which} ORDER BY id", values)]
        if not self._writes():
            return len(ids)
        dropped = ids[1 : len(ids) // 2 : 2]
        self._write(f"DELETE FROM {table} WHERE id = ?", [(row,) for row in dropped])
        return len(ids) - len(dropped)

    def _read(self, query: str, values: tuple = ()) -> list[tuple]:
        if self._owner != os.getpid():
            raise RunReadError(
                f"{self._where}: expected to be read by the process that opened it ({self._owner}), "
                f"got its forked worker {os.getpid()}; call Store.open there"
            )
        try:
            with self._mutex:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(self._where, error) from None

    def _parse(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, TypeError) as error:
            raise _unreadable(self._where, error) from None

    def _build(self, kind: type[_T], text: str) -> _T:
        try:
            return build(kind, self._parse(text))
        except (TypeError, AttributeError, ValueError) as error:
            raise _unreadable(self._where, error) from None

    def _arrays(self, columns: list[bytes], layout: str) -> list[np.ndarray]:
        try:
            return [
                np.frombuffer(data, dtype).reshape(shape)
                for data, (dtype, shape) in zip(columns, self._parse(layout), strict=True)
            ]
        except (TypeError, ValueError) as error:
            raise _unreadable(self._where, error) from None


class _Kept:
    """Which rows of pairs are kept, oldest first: (id, sequences, bytes), and the sums of the last two."""

    def __init__(self):
        self.rows: deque[tuple[int, int, int]] = deque()
        self.sequences = 0
        self.size = 0

    def add(self, row: int, sequences: int, size: int) -> None:
        self.rows.append((row, sequences, size))
        self.sequences += sequences
        self.size += size

    def drop(self) -> int:
        row, sequences, size = self.rows.popleft()
        self.sequences -= sequences
        self.size -= size
        return row


def _number(value: Any) -> Any:
    """A numpy scalar as the plain number it is."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected a number, a string, a list or a dict of them, got {type(value).__name__}")


def _unreadable(where: Path, error: Exception) -> RunReadError:
    return RunReadError(
        f"{where}: expected a whole record, got: {error}; it is damaged or was cut off while it was copied: "
        "copy the run folder again, or run the script again"
    )


_OPEN: weakref.WeakSet[Store] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """In a forked process: never close the parent's connection, even at its end; never wait for the parent's threads.

    SQLite allows no use of a connection across a fork, and closing is a use: it would touch the parent's locks, files.
    """
    for store in _OPEN:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(store._connection))
        store._mutex = threading.RLock()


os.register_at_fork(after_in_child=_leave_to_the_parent)
