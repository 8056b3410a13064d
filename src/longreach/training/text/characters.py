"""Text files as numbers: one symbol a step, on the disk, so that memory does not grow with the text."""

import codecs
import mmap
import re
import tempfile
import weakref
import zlib
from array import array
from collections.abc import Iterable, Iterator
from io import BytesIO, IncrementalNewlineDecoder, TextIOWrapper
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Int64

from longreach.errors import ArgumentError, DataError

CHUNK = 1 << 18  # bytes or characters read at once
WIDTHS = (np.uint8, np.uint16, np.int32)  # of the symbols on the disk, the narrowest that holds the alphabet


class Characters:
    """The characters of some documents as the numbers of an alphabet, on the disk.

    alphabet   every character, in the order of its first appearance
    first      where each first appeared
    checksum   of all characters, CRC-32: tells whether data are the same as at another time
    Memory     what is added or asked for at once, and eight bytes a document and a mark
    """

    def __init__(self) -> None:
        self.alphabet, self.first, self.checksum = "", array("q"), 0
        self._starts, self._marks, self._length, self._width = array("q"), array("q"), 0, 0
        self._file = _scratch(self)
        self._number = np.full(0x110000, -1, dtype=np.int32)  # of every code point

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, positions: np.ndarray | slice) -> Int64[np.ndarray, "..."]:
        """The numbers there. The file is mapped anew each time: what was read does not stay in the memory."""
        self._file.flush()
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            numbers = np.frombuffer(mapped, dtype=WIDTHS[self._width])
            taken = numbers[positions].astype(np.int64)
            del numbers  # a map that is looked at cannot be closed
        return taken

    @property
    def starts(self) -> Int64[np.ndarray, " document"]:
        """Where documents begin."""
        return np.array(self._starts, dtype=np.int64)

    @property
    def marks(self) -> Int64[np.ndarray, " mark"]:
        """Where separators between documents end: their last characters."""
        return np.array(self._marks, dtype=np.int64)

    def begin(self) -> None:
        """What is added next is another document."""
        self._starts.append(self._length)

    def add(self, text: str, marks: Iterable[int] = ()) -> None:
        """More text; where in it separators end."""
        self._marks.extend(self._length + mark for mark in marks)
        data = text.encode("utf-32-le", "surrogatepass")
        self.checksum = zlib.crc32(data, self.checksum)
        codes = np.frombuffer(data, dtype=np.uint32)
        self._learn(codes)
        self._file.write(self._number[codes].astype(WIDTHS[self._width]).tobytes())
        self._length += len(codes)

    def _learn(self, codes: np.ndarray) -> None:
        """Take into the alphabet what is not yet there."""
        places = np.flatnonzero(self._number[codes] < 0)
        _, firsts = np.unique(codes[places], return_index=True)
        for place in np.sort(places[firsts]):
            self._number[codes[place]] = len(self.alphabet)
            self.alphabet += chr(codes[place])
            self.first.append(self._length + int(place))
        while len(self.alphabet) - 1 > np.iinfo(WIDTHS[self._width]).max:
            self._widen()

    def _widen(self) -> None:
        narrow, wide = self._file, _scratch(self)
        narrow.seek(0)
        while data := narrow.read(CHUNK):
            wide.write(np.frombuffer(data, dtype=WIDTHS[self._width]).astype(WIDTHS[self._width + 1]).tobytes())
        narrow.close()
        self._file, self._width = wide, self._width + 1


def read(files: Iterable[Path], *, encoding: str | None = "utf-8-sig", separator: str = "") -> Characters:
    """The characters of these files, each a document.

    encoding   as Python names it; line ends become \\n. None: no encoding, each byte is a character for itself
    separator  what stands between documents inside a file; its last character is their mark

    Raises  ArgumentError if there is no such encoding; DataError if a file cannot be read, or has nothing in it, or if
            none has the separator in it
    """
    characters, found = Characters(), False
    for file in files:
        before = len(characters)
        characters.begin()
        for piece, marks in marked(decoded(file, encoding), separator):
            _kept(characters, piece, marks)
            found = found or bool(marks)
        if len(characters) == before:
            raise DataError(f"{file}: expected text, got an empty file; leave it out")
    if separator and not found:
        raise DataError(
            f"--document-separator: expected {separator!r} between documents, found it in none of the files; "
            "without the option each file is one document"
        )
    return characters


def decoded(file: Path, encoding: str | None) -> Iterator[str]:
    """The text of a file, a piece at a time.

    Raises  DataError with the first byte that is no text, or with the reason why the file cannot be read
    """
    decoder, done = _decoder(encoding), 0
    try:
        with file.open("rb") as opened:
            while data := opened.read(CHUNK):
                done += len(data)
                yield decoder.decode(data)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        place = done - len(error.object) + error.start
        raise _undecodable(file, encoding, f"the byte 0x{error.object[error.start]:02x} at offset {place}") from None
    except UnicodeError as error:
        raise _undecodable(file, encoding, f"none: {error}") from None
    except IsADirectoryError:
        raise DataError(f"{file}: expected a text file, got a folder; name files in it, as in {file}/*.txt") from None
    except OSError as error:
        raise DataError(f"{file}: expected a file that can be read, got: {error.strerror}") from None


def marked(pieces: Iterable[str], separator: str) -> Iterator[tuple[str, list[int]]]:
    """The text in pieces again, each with the places in it of the last characters of separators."""
    rest = ""
    for piece in pieces:
        text = rest + piece
        marks = [found.end() - 1 for found in re.finditer(re.escape(separator), text)] if separator else []
        # what may be the start of a separator waits for the next piece
        cut = max(len(text) - max(len(separator) - 1, 0), marks[-1] + 1 if marks else 0)
        yield text[:cut], marks
        rest = text[cut:]
    yield rest, []


def _decoder(encoding: str | None) -> codecs.IncrementalDecoder | IncrementalNewlineDecoder:
    if encoding is None:
        return codecs.getincrementaldecoder("latin-1")()
    try:
        TextIOWrapper(BytesIO(), encoding)  # knows which encodings are of text
        return IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    except LookupError:
        raise ArgumentError(
            f"--encoding: expected one that Python knows, as utf-8, latin-1, cp1252 or utf-16, got {encoding!r}"
        ) from None


def _undecodable(file: Path, encoding: str | None, got: str) -> DataError:
    return DataError(
        f"{file}: expected text in {(encoding or '').removesuffix('-sig')}, got {got}; say how the text is encoded, as "
        "in --encoding latin-1 or --encoding utf-16, or learn its bytes: --unit byte"
    )


def _kept(characters: Characters, text: str, marks: list[int]) -> None:
    try:
        characters.add(text, marks)
    except OSError as error:
        raise DataError(
            f"temporary folder {tempfile.gettempdir()}: expected room for the text, a byte a character, got: "
            f"{error.strerror}; name another folder in the variable TMPDIR"
        ) from None


def _scratch(owner: object) -> IO[Any]:
    """A file without a name: gone with its owner, or with the process, however that ends."""
    file = tempfile.TemporaryFile(prefix="longreach-")  # noqa: SIM115  # it lives as long as its owner
    weakref.finalize(owner, file.close)
    return file
