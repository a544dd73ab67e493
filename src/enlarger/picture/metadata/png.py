"""Metadata of a PNG: chunks of EXIF and of texts, among them XMP and the blocks that ImageMagick writes as text."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from enlarger.picture.chunks import XMP_KEYWORD, png_chunks
from enlarger.picture.exif import EXIF_PREFIX
from enlarger.picture.metadata.found import (
    MOST_NAMED,
    MOST_TEXTS,
    Metadata,
    look_behind,
    note_unknown,
)
from enlarger.picture.metadata.jpeg import XMP_PREFIX
from enlarger.picture.metadata.photoshop import IPTC_RESOURCE, resources_of
from enlarger.picture.values import Note, Text

_MOST_UNPACKED_BYTES = 4 << 20
"""Longer texts are dropped. Workflows of image generators take 1 to 2 MB."""

_MOST_UNPACKED_IN_ALL_BYTES = 16 << 20
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")

_OF_SAMPLES = frozenset(
    {
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"),
        *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi"),
        *(b"sBIT", b"bKGD", b"hIST", b"sPLT", b"pHYs", b"tIME"),
    }
)
"""Kinds of PNG chunks that hold or describe samples, or state the file's time."""

_UNTRUE_TEXTS = re.compile(r"(?:exif|tiff|png|Thumb:):", re.IGNORECASE)
"""Keywords under which programs repeat what is elsewhere in the file: EXIF, its size, its thumbnail."""

RAW_PROFILE = "Raw profile type "
"""Beginning of the keywords under which ImageMagick writes blocks into PNG, in base 16."""


def read_png(data: bytes, found: Metadata) -> None:
    """Read the metadata of a PNG."""
    unpacking = _Unpacking()
    lost: list[str] = []
    unknown: dict[str, None] = {}
    raw: dict[str, bytes] = {}
    found.exif = found.xmp = None
    for kind, content in _sound_chunks(data, unknown, found):
        if kind == b"eXIf":
            found.exif = found.exif or EXIF_PREFIX + content.removeprefix(EXIF_PREFIX)
            continue
        if kind not in _TEXTS:
            unknown[_chunk_name(kind)] = None
            continue
        text = _png_text(kind, content, unpacking)
        if text is None or len(found.texts) == MOST_TEXTS:
            lost.append(content.split(b"\0", 1)[0][:79].decode("latin-1"))
        elif text.keyword == XMP_KEYWORD.decode():
            found.xmp = found.xmp or text.text.encode()
        elif text.keyword.startswith(RAW_PROFILE):
            _add_raw_profile(text, raw, lost)
        elif _UNTRUE_TEXTS.match(text.keyword):
            lost.append(text.keyword)
        else:
            found.texts.append(text)
    _use_raw_profiles(raw, found)
    if lost:
        more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
        names = ", ".join(map(repr, lost[:MOST_NAMED]))
        found.notes.append(Note("text_dropped", f"{names}{more}: damaged, too long or untrue"))
    note_unknown(unknown, found)


def raw_profile(kind: str, content: bytes) -> str:
    """Return a block as text, as ImageMagick writes it into PNG."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{kind}\n{len(content):8d}\n{lines}\n"


@dataclass(slots=True)
class _Unpacking:
    """Inflates texts, up to a number of bytes in all."""

    left: int = _MOST_UNPACKED_IN_ALL_BYTES

    def text(self, packed: bytes) -> bytes | None:
        """Return the inflated bytes; None if they are too many or damaged."""
        most = min(self.left, _MOST_UNPACKED_BYTES)
        if not most:
            return None
        inflate = zlib.decompressobj()
        try:
            content = inflate.decompress(packed, most)
        except zlib.error:
            return None
        self.left -= len(content)
        return content if inflate.eof else None


def _sound_chunks(
    data: bytes, damaged: dict[str, None], found: Metadata
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks that do not hold or describe samples. Chunks with a wrong checksum are named instead."""
    end = 8
    for kind, content in png_chunks(data):
        end += 12 + len(content)
        if kind == b"IEND":
            look_behind(data[end:], found)
            return
        if kind in _OF_SAMPLES:
            continue
        if data[end - 4 : end] == struct.pack(">I", zlib.crc32(kind + content)):
            yield kind, content
        else:
            damaged[f"{_chunk_name(kind)} (wrong checksum)"] = None


def _chunk_name(kind: bytes) -> str:
    name = kind.decode("ascii", errors="backslashreplace")
    return f"{name} (content credentials)" if kind == b"caBX" else name


def _png_text(kind: bytes, content: bytes, unpacking: _Unpacking) -> Text | None:
    """Return the text of a chunk (PNG third edition, 11.3.3); None if it is damaged or too long."""
    keyword, _, rest = content.partition(b"\0")
    if not 1 <= len(keyword) <= 79:
        return None
    name = keyword.decode("latin-1")
    if kind == b"tEXt":
        return Text(name, rest.rstrip(b"\0").decode("latin-1")) if _fits(rest) else None
    if kind == b"zTXt":
        plain = unpacking.text(rest[1:]) if rest[:1] == b"\0" else None
        return None if plain is None else Text(name, plain.rstrip(b"\0").decode("latin-1"))
    try:
        language, translated, value = rest[2:].split(b"\0", 2)
        unpacked = unpacking.text(value) if rest[:1] == b"\1" else value
        if unpacked is None or not _fits(unpacked):
            return None
        return Text(
            name,
            unpacked.rstrip(b"\0").decode(),
            language=language.decode("latin-1"),
            translated_keyword=translated.decode(),
        )
    except ValueError:
        return None


def _fits(text: bytes) -> bool:
    return len(text) <= _MOST_UNPACKED_BYTES


def _add_raw_profile(text: Text, raw: dict[str, bytes], lost: list[str]) -> None:
    """Add a block that is written as text: an empty line, its name, its length, and its bytes in base 16."""
    kind = text.keyword.removeprefix(RAW_PROFILE).lower()
    try:
        content = bytes.fromhex("".join(text.text.strip("\n").split("\n")[2:]))
    except ValueError:
        content = b""
    if kind in ("exif", "app1", "iptc", "8bim", "xmp") and content:
        raw.setdefault(kind, content)
    else:
        lost.append(text.keyword)


def _use_raw_profiles(raw: dict[str, bytes], found: Metadata) -> None:
    """Use blocks that have no chunk of their own in the file."""
    for kind in ("exif", "app1"):
        content = raw.get(kind, b"")
        if content.startswith(XMP_PREFIX):
            found.xmp = found.xmp or content[len(XMP_PREFIX) :]
        elif content:
            found.exif = found.exif or EXIF_PREFIX + content.removeprefix(EXIF_PREFIX)
    found.xmp = found.xmp or raw.get("xmp")
    for kind in ("iptc", "8bim"):
        content = raw.get(kind, b"")
        if content.startswith(b"8BIM"):
            content = resources_of(content).get(IPTC_RESOURCE, b"")
        found.iptc = found.iptc or content or None
