"""What a file carries besides its pixels: EXIF, XMP, IPTC and texts, read from the structure of the file itself.

Pillow keeps the last of several blocks, joins none of them, and knows nothing of some. Nothing here decodes a pixel, and
whatever a file holds in these places, it never costs the picture: what cannot be read is left out with a note.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from enlarger.picture import avif, gif, jpeg
from enlarger.picture import exif as exif_
from enlarger.picture import xmp as xmp_
from enlarger.picture.exif import EXIF_PREFIX
from enlarger.picture.metadata import WEBP_KNOWN, XMP_KEYWORD, png_chunks, webp_chunks
from enlarger.picture.values import Note, Text

COMMENT = "Comment"
"""The keyword that comments of JPEG and GIF have among texts, as PNG has it (third edition, 11.3.3.1)."""

PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
"""What segments of a JPEG begin with."""

_EXTENSION_HEAD_BYTES = 40
"""The name of an extension, its length, and where the segment's part of it belongs."""

_SEGMENTS = (
    (0xE1, EXIF_PREFIX, "exif"),
    (0xE1, XMP_PREFIX, "xmp"),
    (0xE1, EXTENSION_PREFIX, "extension"),
    (0xED, PHOTOSHOP_PREFIX, "resources"),
    (0xFE, b"", "comment"),
)
"""Marker and beginning of the segments of a JPEG that are kept."""

IPTC_RESOURCE = 0x0404
"""Number of the Photoshop resource that holds IPTC."""

_PATH_RESOURCES = range(2000, 2998)
_LOST_RESOURCES = {0x040A: "copyright flag of Photoshop", 0x040B: "URL of Photoshop"}
"""Numbers of resources that speak of the picture; others hold settings of the program, or what stands elsewhere, too."""

_MOST_UNPACKED_BYTES = 4 << 20
"""The largest text that is kept; workflows of image generators take 1 to 2 MB."""

_MOST_UNPACKED_IN_ALL_BYTES = 16 << 20
_MOST_TEXTS = 1000
_MOST_NAMED = 8
"""Things that a note names."""

_FOUR_LETTERS = re.compile(rb"[\x20-\x7e]{4}")

_GAIN_MAP = re.compile(
    rb"http://ns\.adobe\.com/hdr-gain-map/|hdrgm:|http://ns\.apple\.com/HDRGainMap/|aux:hdrgainmap|"
    rb"urn:iso:std:iso:ts:21496"
)
_VIDEO = re.compile(rb"ftyp(?:mp4|isom|iso\d|avc|qt  |M4V|3gp|hvc)|MotionPhoto_Data")

_SKIPPED_SEGMENTS = (b"JFIF\0", b"JFXX\0", b"ICC_PROFILE\0", b"Adobe", b"AVI1", b"MPF\0")
"""What JPEG segments begin with that speak of the file: its form, its colours, a thumbnail, further pictures."""

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_OF_SAMPLES = frozenset(
    {
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"),
        *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi"),
        *(b"sBIT", b"bKGD", b"hIST", b"sPLT", b"pHYs", b"tIME"),
    }
)
"""Kinds of PNG chunks that hold or describe samples, or state the file's time."""

_OF_AVIF = frozenset(
    {b"ftyp", b"styp", b"meta", b"mdat", b"moov", b"moof", b"free", b"skip", b"wide", b"sidx"}
)

_UNTRUE_TEXTS = re.compile(r"(?:exif|tiff|png|Thumb:):", re.IGNORECASE)
"""Keywords under which programs repeat facts of the file: of EXIF, its size, its thumbnail."""

RAW_PROFILE = "Raw profile type "
"""Keywords under which ImageMagick keeps blocks in PNG, as numbers of base 16."""


@dataclass(slots=True, kw_only=True)
class Carried:
    """What was found."""

    exif: bytes | None = None
    """As it stands in the file, with prefix."""

    xmp: bytes | None = None
    iptc: bytes | None = None
    """Records of IPTC-IIM."""

    texts: list[Text] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    turned: tuple[int, str] | None = None
    """Orientation that the format itself states, and its name; None where EXIF and XMP state it."""

    gain_map: bool = False
    video: bool = False
    others_bytes: int = 0
    """What lies behind the picture besides."""

    def orientation(self) -> tuple[int, str]:
        """The orientation of the format, else of EXIF, else of XMP; and whose it is."""
        if self.turned is not None:
            return self.turned
        block = exif_.read_or_none(self.exif)
        stated = block.number(exif_.ORIENTATION) if block else None
        if stated is None:
            stated = xmp_.orientation(self.xmp)
            return stated or 1, "XMP"
        return stated, "EXIF"


def carried(data: bytes, format_: str, *, exif: bytes | None, xmp: bytes | None) -> Carried:
    """All that a file carries, and notes on what cannot be kept whatever the result's format is.

    Args:
        data: the file.
        format_: as ``Header.format``.
        exif: the block that the format's own library found, for formats that are not read here.
        xmp: the packet likewise.
    """
    found = Carried(exif=exif, xmp=xmp)
    read = _READERS.get(format_)
    if read is not None:
        try:
            read(data, found)
        except (LookupError, ValueError, struct.error, zlib.error):
            found.notes.append(Note("blocks_dropped", "the file's blocks are damaged"))
    _settle(found)
    return found


def photoshop_block(iptc: bytes) -> bytes:
    """The Photoshop resource that holds IPTC, as JPEG and TIFF have it."""
    head = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc))
    return head + iptc + bytes(len(iptc) % 2)


def raw_profile(kind: str, content: bytes) -> str:
    """A block as text, as ImageMagick writes it into PNG."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{kind}\n{len(content):8d}\n{lines}\n"


def _settle(found: Carried) -> None:
    """Take out what blocks hold in one another and what speaks of what is gone, and note that."""
    block = exif_.read_or_none(found.exif)
    if block is not None:
        found.xmp = found.xmp or block.bytes_of(exif_.XMP)
        found.iptc = found.iptc or block.bytes_of(exif_.IPTC)
        resources = block.bytes_of(exif_.PHOTOSHOP)
        if resources is not None:
            _use_resources(resources, found)
    if found.xmp is not None:
        try:
            said, announced = xmp_.without_announcements(found.xmp)
        except xmp_.DamagedXmpError:
            found.notes.append(Note("xmp_dropped", "the packet is damaged"))
            found.xmp = None
        else:
            found.xmp = said or None
            found.gain_map |= announced.gain_map
            found.video |= announced.video
            if announced.others and not found.others_bytes:
                found.notes.append(
                    Note("attachment_dropped", "further pictures that XMP speaks of")
                )
    if found.gain_map:
        found.notes.append(
            Note("gain_map_dropped", "what makes the picture brighter on HDR screens")
        )
    if found.video:
        found.notes.append(Note("video_dropped", "the moving part of a motion photo"))
    if found.others_bytes and not (found.gain_map or found.video):
        found.notes.append(
            Note("attachment_dropped", f"{found.others_bytes} bytes behind the picture")
        )


def _of_jpeg(data: bytes, found: Carried) -> None:
    kinds: dict[str, list[bytes]] = {name: [] for _, _, name in _SEGMENTS}
    unknown: dict[str, None] = {}
    end = len(data)
    for segment in jpeg.segments(data):
        marker, content = segment.marker, data[segment.content]
        if marker == jpeg.EOI:
            end = segment.stop
        for its_marker, prefix, name in _SEGMENTS:
            if marker == its_marker and content.startswith(prefix):
                kinds[name].append(content[len(prefix) :])
                break
        else:
            if 0xE0 <= marker <= 0xEF and _GAIN_MAP.match(content):
                found.gain_map = True
            elif 0xE0 <= marker <= 0xEF and not content.startswith(_SKIPPED_SEGMENTS):
                unknown[_segment_name(marker, content)] = None
    comments = kinds["comment"]
    found.texts += [Text(COMMENT, _decoded(comment)) for comment in comments[:_MOST_TEXTS]]
    if len(comments) > _MOST_TEXTS:
        found.notes.append(Note("text_dropped", f"{len(comments) - _MOST_TEXTS} more comments"))
    found.exif, found.xmp = None, next(iter(kinds["xmp"]), None)
    if kinds["exif"]:
        first, *others = kinds["exif"]
        # A block of more than one segment goes on without a header of its own.
        more = (part for part in others if not part.startswith((b"II*\0", b"MM\0*")))
        found.exif = EXIF_PREFIX + b"".join([first, *more])
    if len(kinds["xmp"]) > 1:
        found.notes.append(Note("xmp_dropped", "a further packet"))
    _use_resources(b"".join(kinds["resources"]), found)
    _note_unknown(unknown, found)
    _join_extension(found, kinds["extension"])
    _look_behind(data[end:], found)


def _segment_name(marker: int, content: bytes) -> str:
    name = f"APP{marker & 15}"
    if b"jumb" in content[:40]:
        return f"{name} (content credentials)"
    said = re.match(rb"[\x20-\x7e]{3,40}", content)
    return f"{name} ({said[0].decode()})" if said else name


def _join_extension(found: Carried, segments: list[bytes]) -> None:
    """Make one packet of the first one and its extension, if that is whole."""
    wanted = found.xmp and xmp_.is_extended(found.xmp)
    if not wanted and not segments:
        return
    own = [segment for segment in segments if wanted and segment.startswith(wanted.encode())]
    extension = _whole(own)
    trouble = None
    if extension is None or xmp_.guid(extension) != wanted:
        extension, trouble = None, "the extended part is damaged or incomplete"
    try:
        found.xmp = found.xmp and xmp_.joined(found.xmp, extension)
    except xmp_.DamagedXmpError:
        trouble = "the extended part is damaged or incomplete"
    if trouble is not None:
        found.notes.append(Note("xmp_entries_dropped", trouble))


def _whole(segments: list[bytes]) -> bytes | None:
    """The segments of an extension put together: name, length, place and bytes of each; None where some are missing."""
    if any(len(segment) < _EXTENSION_HEAD_BYTES for segment in segments):
        return None
    parts = sorted((struct.unpack_from(">2I", segment, 32)[::-1], segment) for segment in segments)
    content = b""
    for (at, size), segment in parts:
        content += segment[_EXTENSION_HEAD_BYTES:]
        if at + len(segment) - _EXTENSION_HEAD_BYTES != len(content) or size != parts[0][0][1]:
            return None
    return content if parts and len(content) == parts[0][0][1] else None


def _look_behind(rest: bytes, found: Carried) -> None:
    """Tell what lies behind the end of a picture."""
    if not rest.strip(b"\0\xff \r\n\t"):
        return
    found.others_bytes = len(rest)
    found.gain_map |= _GAIN_MAP.search(rest) is not None
    found.video |= _VIDEO.search(rest) is not None


def _use_resources(data: bytes, found: Carried) -> None:
    """Photoshop's resources: IPTC is kept, and what is of the picture besides is named."""
    resources = _resources(data)
    found.iptc = found.iptc or resources.get(IPTC_RESOURCE)
    paths = sum(number in _PATH_RESOURCES for number in resources)
    lost = [name for number, name in _LOST_RESOURCES.items() if number in resources]
    _note_unknown([*lost, *([f"{paths} paths of Photoshop"] if paths else [])], found)


def _resources(data: bytes) -> dict[int, bytes]:
    """Photoshop's resources by number, as far as they go."""
    resources: dict[int, bytes] = {}
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 7 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        at += (
            6 + (data[at + 6] + 2) // 2 * 2
        )  # the name has an even number of bytes with its length
        if at + 4 > len(data):
            break
        (size,) = struct.unpack_from(">I", data, at)
        content = data[at + 4 : at + 4 + size]
        resources[number] = resources.get(number, b"") + content
        at += 4 + size + size % 2
    return {number: content for number, content in resources.items() if content}


@dataclass(slots=True)
class _Unpacking:
    """Inflates texts, as many bytes as may be had in all."""

    left: int = _MOST_UNPACKED_IN_ALL_BYTES

    def text(self, packed: bytes) -> bytes | None:
        """The bytes; None where they are too many or damaged."""
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


def _of_png(data: bytes, found: Carried) -> None:
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
        if text is None or len(found.texts) == _MOST_TEXTS:
            lost.append(content.split(b"\0", 1)[0][:79].decode("latin-1"))
        elif text.keyword == XMP_KEYWORD.decode():
            found.xmp = found.xmp or text.text.encode()
        elif text.keyword.startswith(RAW_PROFILE):
            _keep_raw_profile(text, raw, lost)
        elif _UNTRUE_TEXTS.match(text.keyword):
            lost.append(text.keyword)
        else:
            found.texts.append(text)
    _use_raw_profiles(raw, found)
    if lost:
        more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        names = ", ".join(map(repr, lost[:_MOST_NAMED]))
        found.notes.append(Note("text_dropped", f"{names}{more}: damaged, too long or untrue"))
    _note_unknown(unknown, found)


def _sound_chunks(
    data: bytes, damaged: dict[str, None], found: Carried
) -> Iterator[tuple[bytes, bytes]]:
    """The chunks that do not hold or describe samples; those with a wrong checksum are named instead."""
    end = 8
    for kind, content in png_chunks(data):
        end += 12 + len(content)
        if kind == b"IEND":
            _look_behind(data[end:], found)
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
    """A text chunk (PNG third edition, 11.3.3); None where it is damaged or too long."""
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


def _keep_raw_profile(text: Text, raw: dict[str, bytes], lost: list[str]) -> None:
    """A block that is written as text: an empty line, its name, its length, and its bytes in base 16."""
    kind = text.keyword.removeprefix(RAW_PROFILE).lower()
    try:
        content = bytes.fromhex("".join(text.text.strip("\n").split("\n")[2:]))
    except ValueError:
        content = b""
    if kind in ("exif", "app1", "iptc", "8bim", "xmp") and content:
        raw.setdefault(kind, content)
    else:
        lost.append(text.keyword)


def _use_raw_profiles(raw: dict[str, bytes], found: Carried) -> None:
    """The blocks that chunks of their own do not hold already."""
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
            content = _resources(content).get(IPTC_RESOURCE, b"")
        found.iptc = found.iptc or content or None


def _of_gif(data: bytes, found: Carried) -> None:
    unknown: dict[str, None] = {}
    end = len(data)
    for block in gif.blocks(data):
        end = block.stop
        if block.label == gif.COMMENT and len(found.texts) < _MOST_TEXTS:
            found.texts.append(Text(COMMENT, _decoded(b"".join(gif.sub_blocks(data, block)))))
        elif block.label == gif.APPLICATION:
            name = next(iter(gif.sub_blocks(data, block)), b"")[:11]
            if name == b"XMP DataXMP":
                found.xmp = found.xmp or _gif_xmp(data, block.stop)
            elif name and name not in _KNOWN_APPLICATIONS:
                unknown[_decoded(name)] = None
    _note_unknown(unknown, found)
    rest = data[end:].lstrip(b"\0")
    if rest.startswith(b";"):
        _look_behind(rest[1:], found)


_KNOWN_APPLICATIONS = (*gif.LOOPS, b"ICCRGBG1012")
"""Applications whose blocks say how often to play, and in which colours."""


def _gif_xmp(data: bytes, end: int) -> bytes | None:
    """The packet that ends there: it stands as it is, with a ramp of bytes behind it that leads out of it."""
    begin = data.rfind(b"XMP DataXMP", 0, end) + 11
    stop = data.rfind(b">", begin, max(begin, end - 257))
    return data[begin : stop + 1] if stop > 0 else None


def _of_webp(data: bytes, found: Carried) -> None:
    unknown: dict[str, None] = {}
    found.exif = found.xmp = None
    stop = len(data)
    for kind, begin, stop in webp_chunks(data):
        if kind == b"EXIF":
            found.exif = found.exif or data[begin + 8 : stop]
        elif kind == b"XMP ":
            found.xmp = found.xmp or data[begin + 8 : stop].rstrip(b"\0")
        elif kind not in WEBP_KNOWN and _FOUR_LETTERS.fullmatch(kind):
            name = kind.decode().strip()
            unknown[f"{name} (content credentials)" if kind == b"C2PA" else name] = None
    _note_unknown(unknown, found)
    _look_behind(data[stop:], found)


def _of_avif(data: bytes, found: Carried) -> None:
    unknown: dict[str, None] = {}
    for kind, begin, end in avif.boxes(data, 0, len(data)):
        if kind == b"mpvd":
            found.video = True
        elif kind == b"meta":
            listed = data[begin:end]
            found.gain_map |= b"tmap" in listed or b"aux:hdrgainmap" in listed
        elif kind not in _OF_AVIF and _FOUR_LETTERS.fullmatch(kind):
            unknown[kind.decode()] = None
    _note_unknown(unknown, found)
    # Properties of the picture say how it is turned, whatever EXIF says; Pillow hands them out as a block.
    block = exif_.read_or_none(found.exif)
    found.turned = ((block and block.number(exif_.ORIENTATION)) or 1, "AVIF")
    packet = avif.xmp_item(data)
    found.xmp = (packet and packet.block) or None
    item = avif.exif_item(data)
    if item is not None or (block is not None and set(block.directory) == {exif_.ORIENTATION}):
        found.exif = None
    if item is not None and item.block:
        found.exif = EXIF_PREFIX + item.block.removeprefix(EXIF_PREFIX)


def _of_tiff(data: bytes, found: Carried) -> None:
    block = exif_.read_or_none(data)
    if block is None:
        return
    found.exif, notes = exif_.exif_of_tiff(block)
    found.notes += notes
    found.iptc = block.bytes_of(exif_.IPTC)
    _use_resources(block.bytes_of(exif_.PHOTOSHOP) or b"", found)


def _note_unknown(names: Iterable[str], found: Carried) -> None:
    """Name what is not read here; a file may hold much of it."""
    named = list(names)
    if named:
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        found.notes.append(Note("blocks_dropped", ", ".join(named[:_MOST_NAMED]) + more))


def _decoded(text: bytes) -> str:
    """A comment, whose encoding no format states."""
    text = text.rstrip(b"\0")
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


_READERS: dict[str, Callable[[bytes, Carried], None]] = {
    "jpeg": _of_jpeg,
    "png": _of_png,
    "gif": _of_gif,
    "webp": _of_webp,
    "avif": _of_avif,
    "tiff": _of_tiff,
}
