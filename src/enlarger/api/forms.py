"""The parts of a ``multipart/form-data`` body (RFC 7578)."""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from enlarger.errors import MalformedMultipart

MOST_PARTS = 64
"""More than there are options."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part. Its data is bytes, whether it has a file name or not: some clients send pictures without one."""

    name: str
    data: bytes
    has_file_name: bool

    @property
    def text(self) -> str:
        """The data of a part that is a value."""
        return self.data.decode("utf-8", "replace")


def parts_of(body: bytes, boundary: str | None) -> list[Part]:
    """All parts, in order.

    Raises:
        MalformedMultipart: there is no boundary, the body is not of parts, one has no name, or there are too many.
    """
    if not boundary:
        raise MalformedMultipart("the body is not multipart/form-data with a boundary")
    decoder = MultipartDecoder(boundary.encode("latin1", "replace"), max_parts=MOST_PARTS)
    parts: list[Part] = []
    head: Field | File | None = None
    pieces: list[bytes] = []
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Field | File):
                head, pieces = event, []
            elif isinstance(event, Data) and head is not None:
                pieces.append(event.data)
                if not event.more_data:
                    parts.append(_part(head, b"".join(pieces)))
    except RequestEntityTooLarge as error:
        raise MalformedMultipart(f"the body has more than {MOST_PARTS} parts") from error
    except ValueError as error:
        raise MalformedMultipart("the body is not multipart/form-data with a boundary") from error
    return parts


def _part(head: Field | File, data: bytes) -> Part:
    name: str | None = head.name  # werkzeug's types do not say that it may be missing
    if name is None:
        raise MalformedMultipart("a part of the body has no name")
    return Part(name, data, has_file_name=isinstance(head, File))
