"""Text, character by character: what comes next, asked at every step."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from longreach.batch import Batch
from longreach.errors import ArgumentError, DataError
from longreach.training.problem import Advice, Part, Problem, Shape, Sizes
from longreach.training.text.alphabet import Alphabet, Unit
from longreach.training.text.characters import CHUNK, Characters, read
from longreach.training.text.counts import Counts
from longreach.training.text.stream import Stream, Window

SAMPLE = "sample.txt"
LEAST = 500  # characters; of fewer, a twentieth is too few to judge by
HELD_OUT = 0.05  # share of the text for validation, and as much for the test,
JUDGED = 1_000_000  # but no more characters than this: judging takes time too
BATCH, STEPS, TIMES = 32, 128, 12  # rows, steps of a window, times through the text
COUNTED = 10_000_000  # characters to learn from, the last ones, that are counted


class Text(Problem):
    """The next character, at every step of one or several documents. At the start of each the state is reset.

    Parts     in the order of the text: to learn from, for validation, for the test; cut wherever that falls
    Unknown   what is in validation or test but not in the part that is learned from is one symbol more. It is asked
              like any other, and costs what the network, which never saw it, makes it cost
    Separator between documents inside a file: its end is foreseen as part of one document, and is the first input of
              the next. So the network learns how documents begin and end
    Unasked   what follows the last character of a file: the next one is another document
    Memory    the same for a text of any length: the characters are on the disk
    """

    kind = "text"
    carries = True

    def __init__(self, characters: Characters, *, unit: Unit, separator: str, validation: float, test: float):
        self._characters, self._unit, self._separator = characters, unit, separator
        total = len(characters)
        cuts = [0, round(total * (1 - validation - test)), round(total * (1 - test)), total]
        whole = Stream(total, characters.starts, marks=characters.marks)
        names: tuple[Literal["training"] | Part, ...] = ("training", "validation", "test")
        self._begin = dict(zip(names, cuts, strict=False))
        self.streams = {name: whole.part(*cuts[place : place + 2]) for place, name in enumerate(names)}
        known = int(np.searchsorted(np.array(characters.first), cuts[1]))
        self.alphabet = Alphabet(characters.alphabet[:known], unit)
        self._check()

    @classmethod
    def read(
        cls,
        files: Iterable[str | Path],
        *,
        unit: Unit = "character",
        encoding: str | None = None,
        document_separator: str = "",
        validation: float | None = None,
        test: float | None = None,
    ) -> Self:
        r"""The text of these files, each a document.

        encoding             of characters, as Python names it; None: UTF-8
        document_separator   stands between documents inside a file; \n is a line's end, \t a tabulator
        validation, test     shares of the text, at its end; None: HELD_OUT, and of a long text less

        Raises  ArgumentError for shares that leave nothing to learn from, or an unknown encoding; DataError for files
                that cannot be read or learned from
        """
        if unit not in ("character", "byte"):
            raise ArgumentError(f"--unit: expected character or byte, got {unit!r}")
        if unit == "byte" and encoding is not None:
            raise ArgumentError(f"--encoding: bytes have none; leave out --encoding {encoding}, or --unit byte")
        shares = [HELD_OUT if share is None else share for share in (validation, test)]
        if not (min(shares) > 0 and sum(shares) <= 0.9):
            raise ArgumentError(
                f"--validation, --test: expected shares above 0, together at most 0.9, got {shares[0]} and {shares[1]}"
            )
        separator = document_separator.replace("\\n", "\n").replace("\\t", "\t")
        if unit == "byte":
            separator = separator.encode().decode("latin-1")
        paths = [Path(file) for file in files]
        if not paths:
            raise ArgumentError("FILE: expected at least one text file, got none")
        form = None if unit == "byte" else "utf-8-sig" if encoding in (None, "utf-8") else encoding
        characters = read(paths, encoding=form, separator=separator)
        most = min(HELD_OUT, JUDGED / max(len(characters), 1))
        validation, test = (most if share is None else share for share in (validation, test))
        return cls(characters, unit=unit, separator=separator, validation=validation, test=test)

    @property
    def shape(self) -> Shape:
        """Symbols in, one number for each symbol out."""
        return Shape(self.alphabet.size, self.alphabet.size, symbols=True)

    @property
    def answers(self) -> float:
        """Characters to learn from that follow another one in their document."""
        return self.streams["training"].answers

    @property
    def longest(self) -> int:
        """Of a row, if the text is cut into as many as is advised."""
        return max(self.streams["training"].length // self.advice().batch, 1)

    def advice(self) -> Advice:
        """A dozen times through the text; judged so seldom that it takes a tenth of the time or so."""
        once = self.streams["training"].length // (BATCH * STEPS)
        return Advice(
            batch=BATCH,
            updates=min(max(TIMES * once, 500), 20_000),
            dropout=0.2,
            judge_every=max(self.streams["validation"].length // 1000, 1),
        )

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        """The windows of the part that is learned from."""
        stream = self.streams["training"]
        stream.hops(sizes)
        return lambda number: self._batch("training", stream.window(number, sizes))

    def held_out(self, part: Part, sizes: Sizes) -> Iterable[Batch]:
        """All characters of a part but the first one of each file."""
        return (self._batch(part, window) for window in self.streams[part].windows(sizes))

    def loss(self, answer: Float[Tensor, "answer output"], y: Int64[Tensor, " answer"]) -> Float[Tensor, ""]:
        """Cross-entropy in nats a character; 0 where nothing was asked."""
        return functional.cross_entropy(answer, y, reduction="sum") / max(len(y), 1)

    def scores(self, answer: Float[Tensor, "answer output"], y: Int64[Tensor, " answer"]) -> dict[str, Tensor]:
        """Bits per character: cross-entropy to the base 2."""
        return {self._score: functional.cross_entropy(answer, y, reduction="none") / log(2)}

    def naive(self, part: Part) -> dict[str, float]:
        """The best of `counted`, and each of them."""
        counted = self.counted(part)
        best = min(counted.values())
        return {self._score: best} | {f"{self._score}, by {rule}": bits for rule, bits in counted.items()}

    def counted(self, part: Part) -> dict[str, float]:
        """Bits per character by what was counted in the text to learn from, with the rule's context in words."""
        bits = {counts.rule: 0.0 for counts in self._counts}
        for before, then in self._contexts(part):
            for counts in self._counts:
                bits[counts.rule] += float(counts.bits(before, then).sum())
        return {rule: total / self.streams[part].answers for rule, total in bits.items()}

    def remarks(self) -> list[str]:
        """What the user should know of the text, in sentences."""
        of, known = {name: stream.length for name, stream in self.streams.items()}, self.alphabet.unknown
        ended = self._characters.marks + 1
        documents = len(np.union1d(self._characters.starts, ended[ended < len(self._characters)]))
        told = [
            f"{len(self._characters):,} {self._unit}s in {documents:,} document{'s' if documents > 1 else ''}, "
            f"{known} different: {of['training']:,} to learn from, then {of['validation']:,} for validation, "
            f"{of['test']:,} for the test"
        ]
        for part in ("validation", "test"):
            strange = sum(int((numbers == known).sum()) for numbers in self._numbers(part))
            if strange:
                told.append(
                    f"{strange:,} of the {of[part]:,} {self._unit}s for {part} never come in the text to learn from: "
                    "they count as one unknown character, which the network cannot foresee"
                )
        return told

    def recipe(self) -> dict[str, Any]:
        """The alphabet, whose first character begins the text; and what tells whether a text is the same."""
        return {
            "kind": self.kind,
            "unit": self._unit,
            "alphabet": self.alphabet.symbols,
            "separator": self._separator if len(self.streams["training"].marks) else "",
            "length": len(self._characters),
            "checksum": self._characters.checksum,
        }

    def leave(self, folder: Path, answer: Callable[[Batch], Tensor]) -> list[str]:
        """A sample of what the network writes."""
        from longreach.training.text.generate import generated

        sample = folder / SAMPLE
        sample.write_text("".join(generated(folder, length=500, seed=0)) + "\n", encoding="utf-8")
        return [f"a sample of what it writes: {sample}", f"more of it: longreach generate {folder}"]

    @property
    def _score(self) -> str:
        return f"bits per {self._unit}"

    @cached_property
    def _counts(self) -> tuple[Counts, ...]:
        """Of the text to learn from."""
        size = self.alphabet.size
        both = Counts(size + 1, 0), Counts(size + 1, 2)  # and one for "a document begins"
        for before, then in self._contexts("training", most=COUNTED):
            for counts in both:
                counts.learn(before, then)
        return both

    def _batch(self, part: Literal["training"] | Part, window: Window) -> Batch:
        positions = window.positions + self._begin[part]
        x, y = self._taken(positions), self._taken(positions[window.asked] + 1)
        resets = None if window.resets is None else torch.from_numpy(window.resets)
        return Batch(torch.from_numpy(x)[:, :, None], torch.from_numpy(y), torch.from_numpy(window.asked), resets)

    def _taken(self, positions: np.ndarray | slice) -> Int64[np.ndarray, "..."]:
        """The numbers there; later ones in the order of first appearance are the characters that are not learned."""
        return np.minimum(self._characters[positions], self.alphabet.unknown)

    def _numbers(self, part: Literal["training"] | Part) -> Iterator[Int64[np.ndarray, " step"]]:
        begin, length = self._begin[part], self.streams[part].length
        for first in range(0, length, CHUNK):
            yield self._taken(slice(begin + first, begin + min(first + CHUNK, length)))

    def _contexts(
        self, part: Literal["training"] | Part, most: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The two symbols before each answer, and the answer; of the last `most` steps."""
        stream, begin = self.streams[part], self._begin[part]
        for first in range(max(stream.length - (most or stream.length), 0), stream.length, CHUNK):
            positions = np.arange(first, min(first + CHUNK, stream.length))[None]
            begins, answered = stream.look_up(positions)
            before = self._taken(np.maximum(positions + begin - 1, 0))
            before = np.where(begins, self.alphabet.size, before)[answered]
            now, then = (self._taken(positions[answered] + begin + ahead) for ahead in (0, 1))
            yield np.stack([before, now], axis=1), then

    def _check(self) -> None:
        total = len(self._characters)
        if total < LEAST:
            raise DataError(
                f"the text: expected at least {LEAST} {self._unit}s, got {total}; give longer or more files"
            )
        if self.alphabet.unknown < 2:
            raise DataError(
                f"the text to learn from: expected at least two different {self._unit}s, got only "
                f"{self.alphabet.symbols!r}; there is nothing to learn"
            )
        for name, stream in self.streams.items():
            if not stream.answers:
                raise DataError(
                    f"the {name} part: expected two {self._unit}s of one file or more, got {stream.length} from "
                    f"{len(stream.starts)} files; give longer files"
                )
