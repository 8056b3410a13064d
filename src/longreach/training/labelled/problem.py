"""Whole sequences and what each of them is: numbers or text of unequal length, one label each."""

import csv
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from longreach.batch import Batch
from longreach.errors import ArgumentError, DataError
from longreach.training.labelled import folder as labelled_folder
from longreach.training.labelled import table as labelled_table
from longreach.training.labelled.confusion import Confusion
from longreach.training.labelled.encoding import encoding_of
from longreach.training.labelled.sequence import Labelled
from longreach.training.labelled.splitting import split
from longreach.training.problem import Advice, Part, Problem, Shape, Sizes
from longreach.training.side_by_side import drawn, in_order, padded

SCORE = "accuracy"
CONFUSION = "confusion.csv"
MOST = 0.4  # share of the sequences that is set apart, for each of two parts


class Sequences(Problem):
    """Which label a sequence has, asked at its last step.

    loss      cross-entropy, the mean over sequences; nats
    data      sequences with their labels
    parts     places of the sequences to learn from, to validate and to test
    Memory    the sequences once; scaling and numbering are done for each batch
    """

    kind: ClassVar[str] = "classify"

    def __init__(self, data: Labelled, parts: dict[str, Int64[np.ndarray, " sequence"]]):
        self.data, self.parts, self.sequences = data, parts, len(parts["training"])
        self.labels = tuple(sorted({data.labels[place] for place in parts["training"]}))
        _check_labels(data, parts, self.labels)
        number = {label: place for place, label in enumerate(self.labels)}
        self._numbers = np.array([number[label] for label in data.labels])
        self._lengths = np.array([len(one) for one in data.sequences])
        self.encoding = encoding_of(data, parts["training"])

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        label: str = "label",
        sequence: str | None = None,
        time: str | None = None,
        text: str | None = None,
        split_column: str | None = None,
        validation: float = 0.15,
        test: float = 0.15,
        split_seed: int = 0,
    ) -> Self:
        """A folder with a folder for each label, or a table.

        label … text      columns of a table, see `labelled_table.read`
        split_column      says train, validation or test; without it a share of each label's sequences is set apart
        validation, test  these shares
        split_seed        decides which

        Raises  DataError where the data cannot be learned from, ArgumentError for options that do not fit them
        """
        path = Path(path)
        for name, share in (("validation", validation), ("test", test)):
            if not 0 < share <= MOST:
                raise ArgumentError(f"--{name}: expected a share above 0 and up to {MOST}, got {share}")
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        if path.is_dir():
            of_tables = {"--sequence": sequence, "--time": time, "--text": text, "--split-column": split_column}
            given = [option for option, column in of_tables.items() if column is not None]
            if given:
                raise ArgumentError(f"{', '.join(given)}: expected with a table, got the folder {path}; leave it out")
            data = labelled_folder.read(path)
        else:
            data = labelled_table.read(path, label=label, sequence=sequence, time=time, text=text, split=split_column)
        return cls(data, split(data, validation=validation, test=test, seed=split_seed))

    @property
    def shape(self) -> Shape:
        """Features or symbols in, a number for each label out."""
        return Shape(self.encoding.inputs, len(self.labels), symbols=self.encoding.alphabet is not None)

    @property
    def answers(self) -> float:
        """Sequences to learn from."""
        return float(len(self.parts["training"]))

    @property
    def longest(self) -> int:
        """Steps of the longest sequence to learn from."""
        return int(self._lengths[self.parts["training"]].max())

    def advice(self) -> Advice:
        """Some fifty epochs, within limits; a judgement an epoch, as a few sequences judge with much noise.

        Two layers: one that is linear in its state adds up what it reads, and knows of no inputs that go together.
        """
        batch = 32
        updates = int(np.clip(50 * self.answers / batch, 500, 10_000))
        epoch = -(-len(self.parts["training"]) // batch)
        hidden = 64 if self.answers < 1000 else 128
        return Advice(batch, updates, hidden=hidden, layers=2, dropout=0.2, patience=20, judge_every=epoch)

    def remarks(self) -> list[str]:
        """How many sequences of which labels there are, and what is odd about them."""
        counts = Counter(self.data.labels)
        (often, most), (seldom, least) = counts.most_common()[0], counts.most_common()[-1]
        sizes = ", ".join(f"{len(self.parts[part])} to {verb}" for part, verb in VERBS.items())
        found = [
            f"{len(self.data.labels)} sequences of {self._lengths.min()} to {self._lengths.max()} steps, "
            f"{len(self.labels)} labels: {sizes}"
        ]
        if most >= 3 * least:
            found.append(
                f"labels are unequal: {most} sequences are {often!r}, {least} {seldom!r}; look at balanced accuracy"
            )
        judged = {self.data.labels[place] for place in self.parts["test"]}
        if unjudged := [label for label in self.labels if label not in judged]:
            found.append(f"labels with too few sequences to be tested: {', '.join(map(repr, unjudged))}")
        return found + self.encoding.remarks()

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        """Whole sequences, those of about one length together."""
        mine = self.parts["training"]
        places = drawn(self._lengths[mine], sizes)
        return lambda number: self._batch(mine[places(number)])

    def held_out(self, part: Part, sizes: Sizes) -> Iterator[Batch]:
        """Whole sequences, the shortest first."""
        mine = self.parts[part]
        return (self._batch(mine[places]) for places in in_order(self._lengths[mine], sizes))

    def _batch(self, places: Int64[np.ndarray, " sequence"]) -> Batch:
        x, own = padded([self.encoding.encode(self.data.sequences[place]) for place in places])
        last = own.sum(1, keepdim=True) - 1
        asked = torch.arange(x.shape[1]) == last
        return Batch(x, torch.from_numpy(self._numbers[places]), asked)

    def loss(self, answer: Float[Tensor, "answer label"], y: Int64[Tensor, " answer"]) -> Float[Tensor, ""]:
        """Cross-entropy."""
        return F.cross_entropy(answer, y)

    def scores(self, answer: Float[Tensor, "answer label"], y: Int64[Tensor, " answer"]) -> dict[str, Tensor]:
        """1 where the likeliest label is the right one, else 0."""
        return {SCORE: (answer.argmax(1) == y).to(answer.dtype)}

    def naive(self, part: Part) -> dict[str, float]:
        """Always the label that is most frequent in training; its loss is that of the labels' shares there."""
        counts = np.bincount(self._numbers[self.parts["training"]])
        asked = self._numbers[self.parts[part]]
        return {
            "loss": float(-np.log(counts / counts.sum())[asked].mean()),
            SCORE: float((asked == counts.argmax()).mean()),
        }

    def recipe(self) -> dict[str, Any]:
        """Labels, and how a sequence is read; a checksum of all sequences, their labels and their parts."""
        checksum = 0
        for part, places in self.parts.items():
            for place in places:
                one = self.data.sequences[place]
                content = one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one.tobytes()
                told = f"{part} {self.data.labels[place]} {len(one)} "
                checksum = zlib.crc32(told.encode("utf-8", "surrogatepass") + content, checksum)
        return {"labels": list(self.labels), "encoding": self.encoding.recipe(), "checksum": checksum}

    def leave(self, folder: Path, answer: Callable[[Batch], Tensor]) -> list[str]:
        """confusion.csv, and what it says: of the test sequences of each label, how many were taken for which."""
        counts = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        for batch in self.held_out("test", Sizes(batch=64, window=1, hop=1)):
            np.add.at(counts, (batch.y.numpy(), answer(batch).argmax(1).numpy()), 1)
        confusion = Confusion(self.labels, counts)
        with (folder / CONFUSION).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(confusion.rows())
        return [*confusion.told(), f"of each label how many were taken for which: {folder / CONFUSION}"]


VERBS = {"training": "learn from", "validation": "validate", "test": "test"}


def _check_labels(data: Labelled, parts: dict[str, Int64[np.ndarray, " sequence"]], labels: tuple[str, ...]) -> None:
    if len(labels) < 2:
        raise DataError(f"expected two labels or more to tell apart, got {', '.join(map(repr, labels))} in training")
    for part in ("validation", "test"):
        strange = sorted({data.labels[place] for place in parts[part]} - set(labels))
        if strange:
            raise DataError(
                f"expected labels that training shows too, got {', '.join(map(repr, strange))} in {part} alone; "
                "put sequences of each label into training"
            )
