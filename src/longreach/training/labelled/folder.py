"""A folder for each label, a sequence a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from longreach.errors import DataError
from longreach.training.labelled.sequence import PARTS, Labelled, Numbers, finite, part_of
from longreach.training.table import numbers, table


def read(folder: Path) -> Labelled:
    """FOLDER/LABEL/FILE, or FOLDER/train/LABEL/FILE beside validation and test.

    .csv  rows are steps, columns features, with names in the first row or without
    .npy  an array [time] or [time, feature]
    .txt  text, UTF-8

    Raises  DataError where files cannot be read, are of several kinds, or differ in their features
    """
    found, kinds, widths = Labelled(), set[str](), dict[tuple[str, ...], Path]()
    for file, label, part in _files(folder):
        reader = READERS.get(file.suffix.lower())
        if reader is None:
            raise DataError(f"{file}: expected sequences as .csv, .npy or .txt, got {file.suffix or 'no ending'}")
        kinds.add(file.suffix.lower())
        sequence, features = reader(file)
        widths.setdefault(features, file)
        found.add(sequence, label, str(file), part)
    if not found.sequences:
        raise DataError(f"{folder}: expected a folder for each label with a sequence a file in it, found no file there")
    if len(kinds) > 1:
        raise DataError(f"{folder}: expected files of one kind, got {', '.join(sorted(kinds))}; leave out the others")
    if len(widths) > 1:
        (first, one), (other, two) = list(widths.items())[:2]
        raise DataError(f"{two}: expected the same columns as in {one}, {_shortened(first)}, got {_shortened(other)}")
    found.features = next(iter(widths))
    return found


def _files(folder: Path) -> Iterator[tuple[Path, str, str | None]]:
    """Every file with its label and part."""
    inner = _folders(folder)
    split = bool(inner) and all(one.name.lower() in PARTS for one in inner)
    for outer in inner if split else [folder]:
        part = part_of(outer.name, str(outer)) if split else None
        for label in _folders(outer):
            for file in sorted(label.iterdir()):
                if file.is_file() and not file.name.startswith("."):
                    yield file, label.name, part


def _folders(folder: Path) -> list[Path]:
    return [one for one in sorted(folder.iterdir()) if one.is_dir() and not one.name.startswith(".")]


def _text(file: Path) -> tuple[str, tuple[str, ...]]:
    from longreach.training.text.characters import decoded

    return "".join(decoded(file, "utf-8-sig")), ()


def _array(file: Path) -> tuple[Numbers, tuple[str, ...]]:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{file}: expected an array of numpy, got a file that cannot be read: {error}") from None
    if array.ndim not in (1, 2) or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise DataError(f"{file}: expected numbers [time] or [time, feature], got {array.dtype} {list(array.shape)}")
    array = array.reshape(len(array), -1)
    return finite(array, str(file)), tuple(f"column {place + 1}" for place in range(array.shape[1]))


def _csv(file: Path) -> tuple[Numbers, tuple[str, ...]]:
    """With names in the first row, unless all that stands there is numbers."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            first = opened.readline().strip()
    except OSError as error:
        raise DataError(f"{file}: expected a file that can be read, got: {error.strerror}") from None
    named = not all(_is_number(entry) for entry in first.split(","))
    frame = table(file, has_header=named)
    names = tuple(frame.columns) if named else tuple(f"column {place + 1}" for place in range(frame.width))
    return numbers(frame, frame.columns, str(file)), names


def _is_number(entry: str) -> bool:
    try:
        float(entry.strip().strip('"') or "nan")
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[Path], tuple[Any, tuple[str, ...]]]] = {".csv": _csv, ".npy": _array, ".txt": _text}


def _shortened(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
