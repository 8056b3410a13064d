"""Pieces of music from files: piano rolls, 1 where a key sounds."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from longreach.errors import DataError

Piece = UInt8[np.ndarray, "time key"]

PARTS = {  # what the parts are called in files
    "training": ("traindata", "train", "training"),
    "validation": ("validdata", "valid", "validation"),
    "test": ("testdata", "test"),
}
LOWEST, KEYS = 21, 88  # of a piano, as MIDI numbers its notes


def read(path: Path) -> dict[str, list[Piece]]:
    """The pieces to learn from, to validate and to test, in the order of the file.

    .mat    of MATLAB: fields traindata, validdata and testdata, each a row of piano rolls [time, key]
    .json   {"train": …, "valid": …, "test": …}, each a list of pieces, a piece a list of steps, a step a list of the
            MIDI numbers that sound, 21 to 108; -1 is a rest
    folder  with folders train, valid and test, in each a piano roll [time, key] a file, .npy

    Raises  DataError where it is not so, or where a roll holds anything but 0 and 1
    """
    found = _reader(path)(path)
    parts: dict[str, list[Piece]] = {}
    for part, names in PARTS.items():
        rolls = next((found[name] for name in names if name in found), None)
        if not rolls:
            raise DataError(f"{path}: expected pieces under {names[0]!r}, got {_listed(found)}")
        parts[part] = [
            _checked(np.asarray(roll), f"{path}: piece {place} of {part}") for place, roll in enumerate(rolls)
        ]
    keys = {roll.shape[1] for rolls in parts.values() for roll in rolls}
    if len(keys) > 1:
        raise DataError(f"{path}: expected as many keys in every piece, got {', '.join(map(str, sorted(keys)))}")
    return parts


def _reader(path: Path) -> Callable[[Path], Mapping[str, Sequence[Any]]]:
    readers = {".mat": _mat, ".json": _json}
    if path.is_dir():
        return _folder
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if path.suffix not in readers:
        raise DataError(f"{path}: expected piano rolls as .mat, .json or a folder of .npy files")
    return readers[path.suffix]


def _mat(path: Path) -> Mapping[str, Sequence[Any]]:
    from scipy.io import loadmat

    try:
        fields = loadmat(path)
    except Exception as error:  # a broken file breaks its reader in many ways
        raise DataError(
            f"{path}: expected a MATLAB file up to version 7.2, got one that cannot be read: {error}"
        ) from error
    return {
        name: list(cells.flat)
        for name, cells in fields.items()
        if isinstance(cells, np.ndarray) and cells.dtype.hasobject
    }


def _json(path: Path) -> Mapping[str, Sequence[Any]]:
    try:
        parts = json.loads(path.read_text())
        return {part: [_roll(piece) for piece in pieces] for part, pieces in parts.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected lists of MIDI numbers, a list a step, in pieces, in parts: {error}"
        ) from error


def _roll(piece: Sequence[Sequence[int]]) -> Piece:
    roll = np.zeros((len(piece), KEYS), np.uint8)
    for step, notes in enumerate(piece):
        for note in notes:
            if note == -1:
                continue
            if not LOWEST <= note < LOWEST + KEYS:
                raise ValueError(f"note {note} lies beyond a piano's {LOWEST} to {LOWEST + KEYS - 1}")
            roll[step, note - LOWEST] = 1
    return roll


def _folder(path: Path) -> Mapping[str, Sequence[Any]]:
    folders = [one for one in sorted(path.iterdir()) if one.is_dir()]
    return {folder.name: [_array(file) for file in sorted(folder.glob("*.npy"))] for folder in folders}


def _array(file: Path) -> np.ndarray:
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{file}: expected an array of numpy, got a file that cannot be read: {error}") from error


def _checked(roll: np.ndarray, name: str) -> Piece:
    if roll.ndim != 2 or 0 in roll.shape:
        raise DataError(f"{name}: expected a piano roll [time, key], got {_sized(roll)}")
    if not np.issubdtype(roll.dtype, np.number) and roll.dtype != bool:
        raise DataError(f"{name}: expected numbers, got {roll.dtype}")
    if not ((roll == 0) | (roll == 1)).all():
        raise DataError(f"{name}: expected 1 where a key sounds and 0 elsewhere, got other values, up to {roll.max()}")
    return np.ascontiguousarray(roll, dtype=np.uint8)


def _sized(array: np.ndarray) -> str:
    return f"{' x '.join(map(str, array.shape)) or 'one number'}"


def _listed(found: Mapping[str, Sequence[Any]]) -> str:
    return ", ".join(f"{len(rolls)} pieces under {name!r}" for name, rolls in found.items()) or "none at all"
