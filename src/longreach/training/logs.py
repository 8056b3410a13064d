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

from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]  # made when it is imported
from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from tensorboardX.record_writer import masked_crc32c

from longreach.whole import write_whole


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
    """What TensorBoard shows: scalars over the steps, in tensorboardX's words.

    Format  records of length, checksum, event, checksum. Its own writer can take nothing back, which a run that goes on
            from a checkpoint has to
    """

    def add(self, step: int, scalars: dict[str, float]) -> None:
        """Numbers of one step, under their names."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._begin(_record(Event(file_version="brain.Event:2")))
        self._waiting += _record(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def cut(self, step: int) -> None:
        """Keep the records up to a step, and none that was cut off."""
        if self.path.exists():
            self._keep(b"".join(record for at, record in _records(self.path.read_bytes()) if at <= step))


def _line(values: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()


def _record(event: Event) -> bytes:
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(content))


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Step and bytes of each whole record."""
    begin = 0
    while begin + 12 <= len(content):
        end = begin + 16 + struct.unpack_from("<Q", content, begin)[0]
        if end > len(content):
            return
        yield Event.FromString(content[begin + 12 : end - 4]).step, content[begin:end]
        begin = end
