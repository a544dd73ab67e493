"""Makes blocks of metadata and files that carry them, byte by byte where no library writes what we need."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from xml.etree import ElementTree

from PIL import Image, PngImagePlugin

from support.pictures import encoded, noise, png_chunk

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

NAMESPACES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "HDRGainMap": "http://ns.apple.com/HDRGainMap/1.0/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}


def packet(attributes: str = "", elements: str = "") -> bytes:
    """An XMP packet of one description; the namespaces that it needs are declared there."""
    said = attributes + elements
    declared = "".join(
        f' xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items() if f"{prefix}:" in said
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=""{declared} {attributes}>{elements}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def parsed_xml(xmp: bytes) -> ElementTree.Element:
    """The root of a packet, which has to be sound."""
    return ElementTree.fromstring(xmp)  # noqa: S314 - a packet of ours


IPTC = b"\x1c\x02\x78\x00\x09A caption\x1c\x02\x50\x00\x06Author"
"""Two records of IPTC-IIM: caption and author."""


def resources(*contents: tuple[int, bytes]) -> bytes:
    """Photoshop resources."""
    return b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)
        for number, content in contents
    )


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def jpeg_with(*segments: tuple[int, bytes], behind: bytes = b"") -> bytes:
    """A JPEG with these segments before its own, and bytes behind its end."""
    data = encoded(noise(16, 24, 3), "JPEG")
    made = b"".join(jpeg_segment(*segment) for segment in segments)
    return data[:2] + made + data[2:] + behind


def xmp_segment(xmp: bytes) -> tuple[int, bytes]:
    """The segment of a JPEG that holds a packet."""
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp


def extension_segments(extension: bytes, *, size: int = 50) -> list[tuple[int, bytes]]:
    """The segments of extended XMP, in parts of so many bytes (XMP specification, part 3, 1.1.3.1)."""
    name = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    return [
        (
            0xE1,
            b"http://ns.adobe.com/xmp/extension/\0"
            + name
            + struct.pack(">2I", len(extension), at)
            + extension[at : at + size],
        )
        for at in range(0, len(extension), size)
    ]


def png_with(*chunks: tuple[bytes, bytes], late: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A PNG with these chunks before its pixels, and others behind them."""
    data = encoded(noise(16, 24, 3))
    made = b"".join(png_chunk(*chunk) for chunk in chunks)
    return (
        data[:33] + made + data[33:-12] + b"".join(png_chunk(*each) for each in late) + data[-12:]
    )


def packed_text(keyword: bytes, text: bytes) -> tuple[bytes, bytes]:
    """A zTXt chunk."""
    return b"zTXt", keyword + b"\0\0" + zlib.compress(text)


def raw_profile(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
    """A block as ImageMagick writes it into PNG."""
    digits = content.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n" + kind + b"\n%8d\n" % len(content) + lines + b"\n"
    return packed_text(b"Raw profile type " + kind, text)


def gif_with(*extensions: bytes) -> bytes:
    """A GIF with these extensions before its picture."""
    data = encoded(Image.fromarray(noise(16, 24, 3)).quantize(), "GIF")
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:at] + b"".join(extensions) + data[at:]


def gif_comment(text: bytes) -> bytes:
    """A comment extension, in blocks of up to 255 bytes."""
    parts = [text[at : at + 255] for at in range(0, len(text), 255)]
    return b"\x21\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def gif_xmp(xmp: bytes) -> bytes:
    """XMP in a GIF: as it stands, and a ramp of bytes that leads out of it (XMP specification, part 3, 1.1.2)."""
    return b"\x21\xff\x0bXMP DataXMP" + xmp + b"\x01" + bytes(range(255, -1, -1)) + b"\0"


def exif_entry(tag: int, type_: int, count: int, stored: bytes) -> bytes:
    """An entry of a little-endian directory, with its value or offset."""
    return struct.pack("<HHI", tag, type_, count) + stored.ljust(4, b"\0")


def exif_block(*entries: bytes, behind: bytes = b"", next_offset: int = 0) -> bytes:
    """A little-endian block of one directory, and bytes behind it."""
    return b"".join(
        [
            b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)),
            *entries,
            struct.pack("<I", next_offset),
            behind,
        ]
    )


def canon_exif() -> bytes:
    """A block whose maker's note points to its own text by an offset from the start of the block."""
    text = b"NOTE-OK\0"
    first, second = 8 + 2 + 2 * 12 + 4, 8 + 2 + 2 * 12 + 4 + 2 + 12 + 4
    padding = 40  # so that a note which is moved points elsewhere
    note_at = second + len(b"Canon\0") + padding
    note = struct.pack("<H", 1) + struct.pack("<HHII", 6, 2, 8, note_at + 18) + bytes(4) + text
    details = struct.pack("<H", 1) + struct.pack("<HHII", 0x927C, 7, len(note), note_at) + bytes(4)
    return exif_block(
        exif_entry(0x010F, 2, 6, struct.pack("<I", second)),
        exif_entry(0x8769, 4, 1, struct.pack("<I", first)),
        behind=details + b"Canon\0" + bytes(padding) + note,
    )


def png_text(**texts: str) -> PngImagePlugin.PngInfo:
    """Texts for Pillow's writer of PNG."""
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    return info


def pillow_info(data: bytes) -> dict[str | tuple[int, int], object]:
    """What Pillow finds in a file besides pixels."""
    with Image.open(BytesIO(data)) as image:
        image.load()
        return dict(image.info)
