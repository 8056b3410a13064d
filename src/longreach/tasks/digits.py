"""Digits pixel by pixel: 784 steps of one number, then which digit it was."""

import gzip
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from longreach.batch import Batch
from longreach.errors import ArgumentError
from longreach.tasks.task import Choosing, Published

PIXELS = 28 * 28
SEED = 92916
FEWEST = 15
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Digits(Choosing):
    """xₜ is the t-th of 784 pixels, in rows from the top, divided by 255; at the last step: which digit?

    folder      where the files of MNIST lie, as published: {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz
    permuted    one random order for all images, numpy's RandomState(92916).permutation(784), as in the code of the
                dilated RNN and of expRNN
    part        "train" is 11/12 of the train files, 55,000 images; "validation" their last 5000; "test" the t10k files.
                Where the folder holds only t10k, its last fifth is "test" and the rest is divided so: figures are then
                not comparable with published ones
    length      784
    draw        takes images at random, again and again; whole() gives each of the part once
    chance      entropy of the ten shares of the part, about ln 10 = 2.3026 nats
    wrong       where another digit scores highest
    solved      the literature has accuracies; here fewer than 1 in 100 wrong
    Is not      one benchmark: whether 5000 digits are held back, and the seed of the order, differ between papers; and
                tables quote each other wrongly. IRNN's and others' figures at second hand are left out
    Raises      ArgumentError where a file is missing, no gzip, no idx, or cut off
    Source      Le, Jaitly & Hinton 2015, arXiv 1504.00941
    """

    length: int = PIXELS
    folder: str | Path = ""
    permuted: bool = False
    part: str = "train"

    name: ClassVar[str] = "digits"
    source: ClassVar[str] = "Le, Jaitly & Hinton 2015, arXiv 1504.00941"
    criterion: ClassVar[str] = "fewer than 1 % of sequences wrong (the literature: accuracy)"
    published: ClassVar[tuple[Published, ...]] = tuple(
        Published(source, net, PIXELS, f"{accuracy} % right", variant)
        for source, net, in_order, permuted in [
            ("Bai et al. 2018", "RNN", "21.5", "25.3"),
            ("Bai et al. 2018", "LSTM", "87.2", "85.7"),
            ("Bai et al. 2018", "GRU", "96.2", "87.3"),
            ("Bai et al. 2018", "TCN", "99.0", "97.2"),
            ("Talathi & Vartak 2016", "np-RNN", "96.8", ""),
            ("Arjovsky et al. 2016", "LSTM", "98.2", "88"),
            ("Arjovsky et al. 2016", "uRNN", "95.1", "91.4"),
            ("Cooijmans et al. 2016", "LSTM 100", "98.9", "90.2"),
            ("Cooijmans et al. 2016", "BN-LSTM 100", "99.0", "95.4"),
            ("Krueger et al. 2017", "LSTM with zoneout", "", "93.1"),
            ("Li et al. 2018", "IndRNN 6x128", "99.0", "96.0"),
            ("Rusch & Mishra 2021", "coRNN 256", "99.35", "97.34"),
            ("Rusch & Mishra 2021", "UnICORNN 3x256", "", "98.4"),
            ("Rusch et al. 2022", "LEM 128", "99.45", "96.62"),
            ("Gu et al. 2021", "LSSL", "99.53", "98.76"),
        ]
        for variant, accuracy in (("in order", in_order), ("permuted", permuted))
        if accuracy
    )

    def __post_init__(self):
        self._expect("length", self.length == PIXELS, f"{PIXELS}, the pixels of an image")
        self._expect("part", self.part in PARTS, f"one of {', '.join(PARTS)}")
        self._expect(
            "folder", bool(self.folder), "the folder that holds MNIST's four files, train-images-idx3-ubyte.gz ..."
        )
        _ = self._digits  # what is wrong with the files is said now

    @property
    def inputs(self) -> int:
        """A pixel."""
        return 1

    @property
    def outputs(self) -> int:
        """One score a digit."""
        return 10

    @property
    def chance(self) -> float:
        """Cross-entropy of the shares of the ten digits."""
        shares = torch.bincount(self._digits[1], minlength=10).double() / len(self._digits[1])
        return torch.special.entr(shares).sum().item()

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Images at random."""
        return self._shown(torch.randint(len(self._digits[1]), (count,), generator=generator))

    def held_out(self, part: Literal["validation", "test"]) -> "Digits":
        """The same in another part."""
        return replace(self, part=part)

    def whole(self) -> Batch:
        """Every image of the part, once."""
        return self._shown(torch.arange(len(self._digits[1])))

    def _shown(self, which: Int[Tensor, " sequence"]) -> Batch:
        images, labels = self._digits
        asked = torch.zeros(len(which), PIXELS, dtype=torch.bool)
        asked[:, -1] = True
        return Batch(images[which].float()[..., None] / 255, labels[which], asked)

    @property
    def _digits(self) -> tuple[UInt8[Tensor, "image pixel"], Int[Tensor, " image"]]:
        return part_of(Path(self.folder), self.part, self.permuted)


@cache
def part_of(folder: Path, part: str, permuted: bool) -> tuple[UInt8[Tensor, "image pixel"], Int[Tensor, " image"]]:
    """Images and labels of one part; read once in a process."""
    complete = (folder / "train-images-idx3-ubyte.gz").exists()
    half = "train" if complete and part != "test" else "t10k"
    images = idx(folder / f"{half}-images-idx3-ubyte.gz", 3).flatten(1)
    labels = idx(folder / f"{half}-labels-idx1-ubyte.gz", 1).long()
    if len(images) != len(labels) or images.shape[1] != PIXELS:
        raise ArgumentError(
            f"{folder}: expected as many labels as images, of 28 x 28 pixels; got {len(labels)} labels and "
            f"{len(images)} images of {images.shape[1]} pixels. Are the files of one and the same set?"
        )
    if len(labels) < FEWEST:
        raise ArgumentError(
            f"{folder}: expected at least {FEWEST} images, so that each part has some, got {len(labels)}"
        )
    if labels.max() > 9:
        raise ArgumentError(f"{folder}: expected labels from 0 to 9, got {labels.max()}; are these MNIST's files?")
    trained = len(labels) if complete else len(labels) - len(labels) // 5
    twelfth = trained // 12
    kept = {
        "train": slice(0, trained - twelfth),
        "validation": slice(trained - twelfth, trained),
        "test": slice(0 if complete else trained, None),
    }[part]
    if permuted:
        order = np.random.RandomState(SEED).permutation(PIXELS)  # legacy, and published
        images = images[:, torch.from_numpy(order)]
    return images[kept], labels[kept]


def idx(path: Path, axes: int) -> UInt8[Tensor, "..."]:
    """What a gzipped idx file of bytes holds: 0, 0, 8, the number of axes, the length of each, the bytes."""
    try:
        with gzip.open(path) as file:
            raw = file.read()
    except FileNotFoundError:
        raise ArgumentError(
            f"{path}: expected a file of MNIST, gzipped; there is none. Is this the right folder?"
        ) from None
    except (OSError, EOFError) as error:
        raise ArgumentError(
            f"{path}: expected a gzipped file, could not unpack it ({error}); fetch it again"
        ) from error
    if raw[:4] != bytes([0, 0, 8, axes]):
        raise ArgumentError(
            f"{path}: expected an idx file of bytes with {axes} axes, it begins with {raw[:4].hex(' ')}"
        )
    header = 4 + 4 * axes
    shape = [int.from_bytes(raw[at : at + 4]) for at in range(4, header, 4)]
    if len(raw) != header + np.prod(shape, dtype=np.int64):
        raise ArgumentError(
            f"{path}: expected {shape} bytes behind the header, got {len(raw) - header}; fetch it again"
        )
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy())
