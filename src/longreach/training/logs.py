"""Files that grow line by line while a run goes on: CSV for tables, events for TensorBoard.

A run that goes on from a checkpoint cuts them there, so that they hold each step once, as if it had never stopped.
"""

import csv
import io
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from longreach.training.checkpoint import write_whole


class Log:
    """A file that grows at its end. What the disk does not take waits, and is tried again at the next `flush`."""

    def __init__(self, path: Path):
        self.path = path
        self._waiting = bytearray()

    def flush(self) -> None:
        """Bring to the file what waits. Raises OSError where the disk does not take it; the file is as before then."""
        if not self._waiting:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(self._waiting) < len(self._waiting):
                    raise OSError(28, os.strerror(28))
            except OSError:
                with suppress(OSError):
                    file.truncate(size)
                raise
        self._waiting.clear()

    def _begin(self, head: bytes) -> None:
        """Of a file that is not there yet."""
        if not self._waiting and not self.path.exists():
            self._waiting += head

    def _keep(self, content: bytes) -> None:
        write_whole(self.path, content)


class Table(Log):
    """A CSV file whose first column is the step."""

    def add(self, values: dict[str, Any]) -> None:
        """A line; the names stand in the first one."""
        self._begin(_line(values))
        self._waiting += _line(values.values())

    def cut(self, step: int) -> None:
        """Keep the lines up to a step, and no line that was cut off."""
        if not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8", errors="replace")
        rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
        kept = rows[:1] + [row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) <= step]
        self._keep(b"".join(map(_line, kept)))


class Board(Log):
    """What TensorBoard shows: scalars over the steps.

    Format  records of length, checksum, content, checksum; each content a protocol buffer of tensorflow.Event
    """

    def add(self, step: int, scalars: dict[str, float]) -> None:
        """Numbers of one step, under their names."""
        self._begin(_record(_event(0, _field(3, b"brain.Event:2"))))
        values = (_field(1, tag.encode()) + b"\x15" + struct.pack("<f", value) for tag, value in scalars.items())
        self._waiting += _record(_event(step, _field(5, b"".join(_field(1, value) for value in values))))

    def cut(self, step: int) -> None:
        """Keep the records up to a step, and none that was cut off."""
        if self.path.exists():
            self._keep(b"".join(record for at, record in _records(self.path.read_bytes()) if at <= step))


def _line(values: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()


def _event(step: int, content: bytes) -> bytes:
    """Wall time is field 1, a double; the step field 2, of eight bytes here so that it can be found again."""
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _number(step) + content


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that there is more."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Step and bytes of each whole record."""
    begin = 0
    while begin + 12 <= len(content):
        end = begin + 16 + struct.unpack_from("<Q", content, begin)[0]
        if end > len(content):
            return
        step, shift, place = 0, 0, begin + 12 + 10  # after the length, its checksum, the wall time, and the field's key
        while content[place] > 0x7F:
            step |= (content[place] & 0x7F) << shift
            shift, place = shift + 7, place + 1
        yield step | content[place] << shift, content[begin:end]
        begin = end


def _table() -> list[int]:
    """Of CRC-32C (Castagnoli), one entry a byte."""
    entries = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        entries.append(entry)
    return entries


_TABLE = _table()


def _checksum(content: bytes) -> bytes:
    """CRC-32C, turned by 15 bits and moved, as in TensorFlow's records."""
    rest = 0xFFFFFFFF
    for byte in content:
        rest = _TABLE[(rest ^ byte) & 0xFF] ^ rest >> 8
    rest ^= 0xFFFFFFFF
    return struct.pack("<I", ((rest >> 15 | rest << 17) + 0xA282EAD8) & 0xFFFFFFFF)
