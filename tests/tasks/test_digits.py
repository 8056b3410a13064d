"""Digits: the pixels of the files, in the published order; every file that is not what it should be is named."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from longreach.errors import ArgumentError
from longreach.tasks import Digits

from .conftest import write_idx

REAL = Path(__file__).parents[2] / "../shared/data"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def raw(folder, half):
    with (
        gzip.open(folder / f"{half}-images-idx3-ubyte.gz") as images,
        gzip.open(folder / f"{half}-labels-idx1-ubyte.gz") as labels,
    ):
        return np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 784), np.frombuffer(
            labels.read(), np.uint8, offset=8
        )


@pytest.mark.parametrize(
    ("part", "half", "first", "end"),
    [("train", "train", 0, 37), ("validation", "train", 37, 40), ("test", "t10k", 0, 25)],
)
def test_parts_are_those_of_the_files(mnist, part, half, first, end):
    images, labels = raw(mnist, half)
    x, y, asked, _ = Digits(folder=mnist, part=part).whole()
    np.testing.assert_allclose(x[..., 0].numpy(), images[first:end] / 255, rtol=1e-6)
    assert y.tolist() == labels[first:end].tolist()
    assert (asked.nonzero()[:, 1] == 783).all()


def test_the_test_files_alone_are_divided(mnist, tmp_path):
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{kind}-ubyte.gz").write_bytes((mnist / f"t10k-{kind}-ubyte.gz").read_bytes())
    labels = raw(mnist, "t10k")[1].tolist()  # 25 of them: 20 to train on, of which one judges, and 5
    parts = {part: Digits(folder=tmp_path, part=part).whole().y.tolist() for part in ("train", "validation", "test")}
    assert parts == {"train": labels[:19], "validation": labels[19:20], "test": labels[20:]}


def test_judged_on_another_part(mnist):
    task = Digits(folder=mnist, permuted=True)
    assert task.held_out("test") == Digits(folder=mnist, permuted=True, part="test")
    assert task.held_out("validation").part == "validation"


def test_draw_takes_images_of_the_part(mnist):
    task = Digits(folder=mnist, part="test")
    whole, drawn = task.whole(), task.draw(300, generator())
    same = (drawn.x[:, None, :, 0] == whole.x[None, :, :, 0]).all(dim=2)
    assert (same.sum(dim=1) == 1).all()
    assert torch.equal(whole.y[same.long().argmax(dim=1)], drawn.y)
    assert same.any(dim=0).all()  # each one is met at some time


def test_the_published_order(mnist):
    order = np.random.RandomState(92916).permutation(784)
    plain, permuted = Digits(folder=mnist).whole(), Digits(folder=mnist, permuted=True).whole()
    assert torch.equal(permuted.x, plain.x[:, torch.from_numpy(order)])
    assert torch.equal(permuted.y, plain.y)


def test_chance_is_the_loss_of_the_shares(mnist):
    task = Digits(folder=mnist)
    y = task.whole().y
    shares = torch.bincount(y, minlength=10).double() / len(y)
    loss = task.loss(shares.log().repeat(len(y), 1), y)
    assert task.chance == pytest.approx(loss.item(), rel=1e-12)
    assert task.chance <= math.log(10)


def test_real_digits():
    if not (REAL / "t10k-images-idx3-ubyte.gz").exists():
        pytest.skip(f"no MNIST in {REAL}")
    task = Digits(folder=REAL, part="test")
    x, y, _, _ = task.whole()
    assert len(y) == 2000
    assert torch.bincount(y).min() > 150
    assert 0.12 < x.mean() < 0.15  # 0.1307, as everybody's normalisation has it
    image = x.view(-1, 28, 28)
    assert image[:, :2].mean() < 0.01  # margins
    assert image[:, 10:18, 10:18].mean() > 0.3
    assert len(Digits(folder=REAL).whole().y) == 8000 - 8000 // 12


def test_files_that_are_not_what_they_should_be(mnist, tmp_path):
    names = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    good = {name: (mnist / name).read_bytes() for name in names}

    def refused(message):
        with pytest.raises(ArgumentError, match=message):
            Digits(folder=tmp_path)

    refused("t10k-images-idx3-ubyte.gz: expected a file of MNIST, gzipped; there is none")
    (tmp_path / names[0]).write_bytes(good[names[0]])
    refused("train-labels-idx1-ubyte.gz: .* there is none")
    (tmp_path / names[1]).write_bytes(b"<html>")
    refused("train-labels-idx1-ubyte.gz: expected a gzipped file, could not unpack it .*fetch it again")
    (tmp_path / names[1]).write_bytes(good[names[1]][:-9])
    refused("could not unpack it")
    (tmp_path / names[1]).write_bytes(good[names[0]])
    refused("expected an idx file of bytes with 1 axes, it begins with 00 00 08 03")
    (tmp_path / names[1]).write_bytes(gzip.compress(gzip.decompress(good[names[1]])[:-3]))
    refused(r"expected \[40\] bytes behind the header, got 37")
    (tmp_path / names[1]).write_bytes(gzip.compress(b"\0\0\x08\x01\0"))
    refused("expected")
    write_idx(tmp_path / names[1], np.zeros(39))
    refused("got 39 labels and 40 images")
    write_idx(tmp_path / names[1], np.full(40, 11))
    refused("labels from 0 to 9")
    for count in (0, 14):
        write_idx(tmp_path / names[0], np.zeros((count, 28, 28)))
        write_idx(tmp_path / names[1], np.zeros(count))
        refused(f"expected at least 15 images, so that each part has some, got {count}")
