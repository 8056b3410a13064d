"""The secret that tells this user's browsers from everybody else on the machine, kept over a restart."""

import contextlib
import hmac
import os
import stat
import tempfile
from pathlib import Path

SIZE = 32  # bytes


def key() -> bytes:
    """The user's own secret: read, or drawn and kept in a file that nobody else can read.

    Where   $XDG_RUNTIME_DIR/longreach/view.key, else ~/.cache/longreach/view.key
    Raises  nothing: where it cannot be kept it counts for this process alone, and after a restart a new link is needed
    """
    place = _place()
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _read(place) or _drawn(place)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return os.urandom(SIZE)


def derived(key: bytes, *purpose: object) -> str:
    """A word that only who has the key can make, one for each purpose."""
    return hmac.new(key, "\0".join(map(str, purpose)).encode(errors="surrogateescape"), "sha256").hexdigest()


def _place() -> Path:
    folder = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder, "longreach", "view.key")


def _read(place: Path) -> bytes | None:
    """What is kept there; None where there is nothing, or what others may have read or written."""
    try:
        file = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(file, "rb") as kept:
        found = os.fstat(kept.fileno())
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        secret = kept.read(SIZE + 1) if ours else b""
    if len(secret) == SIZE:
        return secret
    place.unlink()
    return None


def _drawn(place: Path) -> bytes:
    """A new secret, there as a whole or not at all; that of another server where it was sooner."""
    secret = os.urandom(SIZE)
    file, part = tempfile.mkstemp(dir=place.parent)  # readable by us alone
    try:
        with open(file, "wb") as kept:
            kept.write(secret)
        with contextlib.suppress(FileExistsError):
            os.link(part, place)
        return _read(place) or secret
    finally:
        os.unlink(part)
