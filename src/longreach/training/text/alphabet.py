"""The characters that a network knows, by number."""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from longreach.errors import ArgumentError

Unit = Literal["character", "byte"]


@dataclass(frozen=True)
class Alphabet:
    """The characters of the text that was learned from, and one more that stands for all others.

    symbols  character of each number; of a byte, the character of the same number
    unit     what a symbol is
    """

    symbols: str
    unit: Unit = "character"

    @property
    def size(self) -> int:
        """Numbers, with that of the unknown."""
        return len(self.symbols) + 1

    @property
    def unknown(self) -> int:
        """The number of whatever is not in the text that was learned from."""
        return len(self.symbols)

    def numbers(self, text: str) -> list[int]:
        """Of what a user typed. Raises ArgumentError with the characters that are not known."""
        if self.unit == "byte":
            text = text.encode("utf-8", "surrogateescape").decode("latin-1")
        known = {symbol: number for number, symbol in enumerate(self.symbols)}
        strange = [symbol for symbol in dict.fromkeys(text) if symbol not in known]
        if strange:
            got = ", ".join(repr(symbol) if self.unit == "character" else f"0x{ord(symbol):02x}" for symbol in strange)
            raise ArgumentError(
                f"--prompt: expected {self.unit}s of the text that the network learned from, got {got}; leave them "
                f"out. It knows {self.shown()}"
            )
        return [known[symbol] for symbol in text]

    def text(self, numbers: Iterable[int]) -> Iterator[str]:
        """What the numbers stand for, piece by piece as they come. Bytes that are no UTF-8 become �."""
        if self.unit == "character":
            yield from (self.symbols[number] for number in numbers)
            return
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for number in numbers:
            yield decoder.decode(self.symbols[number].encode("latin-1"))
        yield decoder.decode(b"", final=True)

    def shown(self, most: int = 100) -> str:
        """The characters in order, for people."""
        symbols = sorted(self.symbols)
        if self.unit == "byte":
            return f"{len(symbols)} of the 256 bytes"
        more = f" and {len(symbols) - most} more" if len(symbols) > most else ""
        return "".join(symbol if symbol.isprintable() else repr(symbol)[1:-1] for symbol in symbols[:most]) + more
