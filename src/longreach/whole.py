"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place in one go: whoever reads sees the old one or the new one, whole. Raises OSError."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        written(draft, content)
        draft.replace(path)
        flush(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def written(path: Path, content: bytes) -> str:
    """Put content on the disk; its checksum. Raises OSError."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def flush(folder: Path) -> None:
    """A new name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
