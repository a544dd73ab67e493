"""Long packets in JPEG: a short packet that names its extension (XMP specification, part 3, 1.1.3.1)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from enlarger.picture.xmp.namespaces import NOTE, RDF
from enlarger.picture.xmp.packet import DamagedXmpError, Packet, in_utf8, length

_EXTENDED = (NOTE, "HasExtendedXMP")


def extension_guid(xmp: bytes) -> str | None:
    """Return the GUID of the packet's extension; None if it has none."""
    if b"HasExtendedXMP" not in xmp:
        return None
    try:
        packet = Packet(in_utf8(xmp))
    except DamagedXmpError:
        return None
    return next((packet.text(part) for part in packet.properties() if part.name == _EXTENDED), None)


def joined(xmp: bytes, extension: bytes | None) -> bytes:
    """Return one packet with the properties of both. The packet no longer names an extension.

    Raises:
        DamagedXmpError: one of the packets cannot be read.
    """
    packet = Packet(in_utf8(xmp))
    for part in packet.properties():
        if part.name == _EXTENDED:
            packet.remove(part)
    if extension is not None:
        found = next(
            (each for each in packet.root.with_all_below() if each.name == (RDF, "RDF")), None
        )
        if found is None or not length(found.content):
            raise DamagedXmpError
        packet.insert(found.content.stop, b"".join(_descriptions(Packet(in_utf8(extension)))))
    return packet.changed()


def split(xmp: bytes, most_bytes: int) -> tuple[bytes, bytes | None]:
    """Return a packet of at most ``most_bytes``, and its extension, if it needs one.

    Without an extension, the packet is as it was or without its padding. Otherwise the extension has all properties,
    and the packet only names it.

    Raises:
        DamagedXmpError: the packet cannot be read.
    """
    if len(xmp) <= most_bytes:
        return xmp, None
    packet = Packet(in_utf8(xmp))
    bare = packet.bytes_of(packet.root.span)
    if len(bare) <= most_bytes:
        return bare, None
    first = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:xmpNote="{NOTE}" '
        f'xmpNote:HasExtendedXMP="{guid(bare)}"/></rdf:RDF></x:xmpmeta>'
    )
    return first.encode(), bare


def guid(extension: bytes) -> str:
    """Return the name of an extension: the MD5 of its bytes."""
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def _descriptions(packet: Packet) -> Iterator[bytes]:
    """Yield the descriptions of a packet, each with the declarations of the elements around it."""
    for description in packet.descriptions():
        own = {
            attribute.name[1] for attribute in description.attributes if attribute.is_declaration
        }
        missing = "".join(
            f' xmlns:{prefix}="{namespace}"'
            for prefix, namespace in description.namespaces.items()
            if prefix and prefix not in own and '"' not in namespace and "&" not in namespace
        )
        text = packet.bytes_of(description.span)
        head = re.match(rb"<[^\s/>]+", text)
        if head is not None:
            yield text[: head.end()] + missing.encode() + text[head.end() :]
