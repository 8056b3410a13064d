"""What a page says at a time, and the event that tells browsers so."""

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any, Self

# A gzip stream of pieces that stand alone (RFC 1952): so each event is packed once, whoever listens and since when.
GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True)
class Version:
    """What a page says at a time.

    id       of the content: the same content has the same, also after a restart of the server
    content  as JSON can hold it
    event    the content as a server-sent event
    packed   the event as a piece of a gzip stream
    """

    id: str
    content: dict[str, Any]
    event: bytes
    packed: bytes

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """Cost  some 50 ms for each MB of content, nearly all of it for packing."""
        text = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
        id = hashlib.sha256(text).hexdigest()[:16]
        event = b"id: %s\ndata: %s\n\n" % (id.encode(), text)
        return cls(id, content, event, packed(event))


def packed(text: bytes) -> bytes:
    """A piece of a gzip stream, to follow GZIP and other pieces."""
    packer = zlib.compressobj(level=3, wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
