"""What files carry besides pixels: read whole, from every place where programs write it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.blocks import (
    IPTC,
    canon_exif,
    exif_block,
    exif_entry,
    extension_segments,
    gif_comment,
    gif_with,
    gif_xmp,
    jpeg_segment,
    jpeg_with,
    packed_text,
    packet,
    png_with,
    raw_profile,
    resources,
    xmp_segment,
)
from support.pictures import encoded, noise, noise16, png, png_chunk, tiff

from enlarger.picture.decode import decode, probe
from enlarger.picture.jpeg import end as jpeg_end
from enlarger.picture.metadata import Metadata, read_metadata
from enlarger.picture.values import Text
from enlarger.picture.xmp import guid

ORIENTED = exif_block(exif_entry(0x0112, 3, 1, b"\x06\0"), exif_entry(0x010F, 2, 4, b"Abc\0"))


def found_in(data: bytes, format_: str) -> Metadata:
    """What is read of a file whose own library has found nothing."""
    return read_metadata(data, format_, exif=None, xmp=None)


def codes(found: Metadata) -> list[str]:
    """The notes' codes."""
    return [note.code for note in found.notes]


def test_texts_of_a_png_are_read() -> None:
    """Plain, compressed and international, before the pixels and behind them, in their order."""
    international = b"prompt\0\0\0de\0Frage\0" + "\u00fc\u4e2d".encode()
    packed = b"workflow\0\1\0\0\0" + zlib.compress(b"{}")
    data = png_with(
        (b"tEXt", b"parameters\0a cat\nSteps: 20"),
        packed_text(b"Author", b"\xe9"),
        (b"iTXt", international),
        late=[(b"iTXt", packed)],
    )
    found = found_in(data, "png")
    assert found.texts == [
        Text("parameters", "a cat\nSteps: 20"),
        Text("Author", "\u00e9"),
        Text("prompt", "\u00fc\u4e2d", language="de", translated_keyword="Frage"),
        Text("workflow", "{}"),
    ]
    assert found.notes == []
    assert decode(data).texts == tuple(found.texts)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"tEXt", b"bad\0" + bytes(5 << 20)),
        packed_text(b"bad", bytes(5 << 20)),
        (b"zTXt", b"bad\0\0not zlib"),
        (b"iTXt", b"bad\0\0\0\0\0\xff"),
        (b"iTXt", b"bad\0\0"),
        (b"tEXt", b"exif:Orientation\x006"),
        (b"tEXt", b"\0no keyword"),
        raw_profile(b"icc", b"a profile"),
        (b"tEXt", b"Raw profile type exif\0no numbers"),
    ],
    ids=["long", "bomb", "damaged", "no UTF-8", "cut", "untrue", "no keyword", "colours", "no hex"],
)
def test_text_that_cannot_be_kept_costs_itself_alone(chunk: tuple[bytes, bytes]) -> None:
    """With a note; the others are read."""
    found = found_in(png_with(chunk, (b"tEXt", b"good\0text")), "png")
    assert found.texts == [Text("good", "text")]
    assert codes(found) == ["text_dropped"]


def test_unpacking_is_bounded_in_all() -> None:
    """However many texts there are; those that fit stay."""
    bombs = [packed_text(b"bomb", bytes(3 << 20)) for _ in range(20)]
    found = found_in(png_with(*bombs), "png")
    assert len(found.texts) == 5
    assert codes(found) == ["text_dropped"]
    many = found_in(png_with(*[(b"tEXt", b"a\0b")] * 1010), "png")
    assert len(many.texts) == 1000
    assert codes(many) == ["text_dropped"]


@pytest.mark.parametrize("kind", [b"tEXt", b"eXIf", b"prVt"])
def test_chunk_with_a_wrong_checksum_is_left_out_with_a_note(kind: bytes) -> None:
    """Its bytes are not those that were written."""
    data = bytearray(png_with((kind, b"a\0text"), (b"tEXt", b"good\0text")))
    data[33 + 8 + 3] ^= 1
    found = found_in(bytes(data), "png")
    assert found.texts == [Text("good", "text")]
    assert [(note.code, note.detail) for note in found.notes] == [
        ("blocks_dropped", f"{kind.decode()} (wrong checksum)")
    ]


@pytest.mark.parametrize("kind", [b"exif", b"APP1"])
def test_exif_in_a_raw_profile_is_read_and_turns_the_picture(kind: bytes) -> None:
    """As ImageMagick writes it; a chunk of its own comes first."""
    data = png_with(raw_profile(kind, ORIENTED))
    assert (probe(data).width_px, decode(data).width_px) == (16, 16)
    assert b"Abc" in (decode(data).exif or b"")
    other = exif_block(exif_entry(0x010F, 2, 4, b"Own\0"))
    both = png_with(raw_profile(kind, ORIENTED), late=[(b"eXIf", other[6:])])
    assert decode(both).exif == other


def test_xmp_and_iptc_in_raw_profiles_are_read() -> None:
    """In their own profiles, in Photoshop's resources, and where XMP stands in APP1."""
    xmp = packet("dc:title='a'")
    segment = xmp_segment(xmp)[1]
    assert found_in(png_with(raw_profile(b"APP1", segment)), "png").xmp == xmp
    assert found_in(png_with(raw_profile(b"xmp", xmp)), "png").xmp == xmp
    assert found_in(png_with(raw_profile(b"iptc", IPTC)), "png").iptc == IPTC
    block = resources((0x0404, IPTC))
    assert found_in(png_with(raw_profile(b"iptc", block)), "png").iptc == IPTC
    assert found_in(png_with(raw_profile(b"8bim", block)), "png").iptc == IPTC


def test_comments_and_iptc_of_a_jpeg_are_read() -> None:
    """IPTC that continues in a second segment is read as well."""
    block = resources((0x0425, bytes(16)), (0x0404, IPTC), (0x0425, b"a"))
    prefix = b"Photoshop 3.0\0"
    parts = [(0xED, prefix + part) for part in (block[:60], block[60:])]
    found = found_in(jpeg_with(*parts, (0xFE, b"one\0"), (0xFE, b"\xe9")), "jpeg")
    assert found.iptc == IPTC
    assert found.texts == [Text("Comment", "one"), Text("Comment", "\u00e9")]


def test_resources_of_photoshop_that_are_lost_are_named() -> None:
    """Those that speak of the picture; settings of the program are nothing to keep."""
    block = resources((0x03ED, bytes(16)), (0x040B, b"url"), (2000, bytes(26)), (2001, bytes(26)))
    found = found_in(jpeg_with((0xED, b"Photoshop 3.0\0" + block)), "jpeg")
    assert [(note.code, note.detail) for note in found.notes] == [
        ("blocks_dropped", "URL of Photoshop, 2 paths of Photoshop")
    ]


def test_comments_are_bounded() -> None:
    """A file may hold a million of them."""
    found = found_in(jpeg_with(*[(0xFE, b"a")] * 1003), "jpeg")
    assert len(found.texts) == 1000
    assert [(note.code, note.detail) for note in found.notes] == [
        ("text_dropped", "3 more comments")
    ]


def test_exif_of_several_segments_is_one_block() -> None:
    """The first has the header; a second block with a header of its own is another one."""
    data = jpeg_with(
        (0xE1, ORIENTED[:20]), (0xE1, b"Exif\0\0" + ORIENTED[20:]), (0xE1, canon_exif())
    )
    assert found_in(data, "jpeg").exif == ORIENTED


def extended(**damage: bytes) -> bytes:
    """A JPEG whose XMP goes on in an extension of several segments, which come in any order."""
    extension = packet("", f"<dc:rights>{'long ' * 50}</dc:rights>")
    first = packet(f"dc:title='a' xmpNote:HasExtendedXMP='{guid(extension)}'")
    segments = extension_segments(extension)
    if "missing" in damage:
        del segments[2]
    if "changed" in damage:
        segments[1] = (0xE1, segments[1][1][:-1] + b"?")
    if "cut" in damage:
        segments[1] = (0xE1, segments[1][1][:50])
    return jpeg_with(*reversed(segments), xmp_segment(first))


def test_extended_xmp_is_joined() -> None:
    """By name and offset, and checked against its name."""
    found = found_in(extended(), "jpeg")
    assert b"dc:title='a'" in (found.xmp or b"")
    assert (found.xmp or b"").count(b"long ") == 50
    assert found.notes == []


@pytest.mark.parametrize("damage", ["missing", "changed", "cut"])
def test_damaged_extension_costs_itself_alone(damage: str) -> None:
    """With a note; the first packet stays and asks for no extension."""
    found = found_in(extended(**{damage: b""}), "jpeg")
    assert b"dc:title='a'" in (found.xmp or b"")
    assert b"HasExtendedXMP" not in (found.xmp or b"")
    assert codes(found) == ["xmp_entries_dropped"]


def test_damaged_xmp_is_left_out_with_a_note() -> None:
    """What it says of size and orientation could not be set right."""
    found = found_in(jpeg_with(xmp_segment(b"<x:xmpmeta>")), "jpeg")
    assert (found.xmp, codes(found)) == (None, ["xmp_dropped"])


def test_orientation_of_xmp_is_called_so() -> None:
    """Where EXIF states none."""
    data = jpeg_with(xmp_segment(packet("tiff:Orientation='6'")))
    picture = decode(data)
    assert probe(data).width_px == picture.width_px == 16
    assert [(note.code, note.detail) for note in picture.notes] == [
        ("orientation_applied", "XMP orientation 6")
    ]
    upright = exif_block(exif_entry(0x0112, 3, 1, b"\x01\0"))
    both = jpeg_with((0xE1, upright), xmp_segment(packet("tiff:Orientation='6'")))
    assert decode(both).notes == ()


VIDEO = struct.pack(">I", 24) + b"ftypmp42" + bytes(1000)
GAIN_MAP = jpeg_with(xmp_segment(packet("hdrgm:Version='1.0'")))


@pytest.mark.parametrize(
    ("segments", "behind", "code"),
    [
        ([xmp_segment(packet("hdrgm:Version='1.0' dc:title='a'"))], GAIN_MAP, "gain_map_dropped"),
        ([], GAIN_MAP, "gain_map_dropped"),
        ([(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4))], b"", "gain_map_dropped"),
        ([], jpeg_with(xmp_segment(packet("HDRGainMap:Version='1'"))), "gain_map_dropped"),
        ([xmp_segment(packet("GCamera:MotionPhoto='1'"))], VIDEO, "video_dropped"),
        ([xmp_segment(packet("GCamera:MicroVideoOffset='1'"))], b"", "video_dropped"),
        ([], VIDEO, "video_dropped"),
        ([], b"\0\0\0\x08more", "attachment_dropped"),
        ([(0xE2, b"MPF\0" + bytes(40))], encoded(noise(8, 8, 3), "JPEG"), "attachment_dropped"),
    ],
)
def test_what_lies_behind_a_jpeg_is_dropped_with_every_word_on_it(
    segments: list[tuple[int, bytes]], behind: bytes, code: str
) -> None:
    """Gain maps, videos, and anything else."""
    picture = decode(jpeg_with(*segments, behind=behind))
    assert [note.code for note in picture.notes] == [code]
    for word in (b"hdr", b"Motion", b"Video", b"GCamera"):
        assert word not in (picture.xmp or b"")


def test_bytes_that_only_fill_up_are_nothing() -> None:
    """Some writers round the size of files up."""
    assert decode(jpeg_with(behind=bytes(500) + b"\r\n")).notes == ()


def test_end_of_a_jpeg_is_found() -> None:
    """Also where a segment holds the bytes of an end marker, and between scans."""
    data = b""
    for option in ("progressive", "restart_marker_blocks", "quality"):
        data = encoded(noise(40, 40, 3), "JPEG", **{option: 1})
        assert jpeg_end(data + b"\xff\xd9more") == len(data)
    inside = data[:2] + jpeg_segment(0xFE, b"a\xff\xd9b") + data[2:]
    assert jpeg_end(inside + b"more") == len(inside)
    assert jpeg_end(data[:-2]) == len(data) - 2


def test_comments_and_xmp_of_a_gif_are_read() -> None:
    """Long comments are many blocks."""
    xmp = packet("dc:title='a'")
    found = found_in(gif_with(gif_comment(b"c" * 300), gif_xmp(xmp), gif_comment(b"two")), "gif")
    assert found.texts == [Text("Comment", "c" * 300), Text("Comment", "two")]
    assert found.xmp == xmp
    assert found.notes == []


def test_iptc_of_a_tiff_is_read() -> None:
    """In its own tag, and in Photoshop's."""
    own = tiff(noise(4, 5, 3), "rgb", extratags=[(33723, 7, len(IPTC), IPTC, True)])
    assert decode(own).iptc == IPTC
    block = resources((0x0404, IPTC))
    photoshop = tiff(noise16(4, 5, 3), "rgb", extratags=[(34377, 7, len(block), block, True)])
    assert decode(photoshop).iptc == IPTC


def test_blocks_inside_of_exif_are_found() -> None:
    """Some programs repeat XMP and IPTC there, or have them nowhere else."""
    xmp = packet("dc:title='a'")
    block = exif_block(
        exif_entry(0x02BC, 1, len(xmp), struct.pack("<I", 8 + 2 + 24 + 4)),
        exif_entry(0x83BB, 7, len(IPTC), struct.pack("<I", 8 + 2 + 24 + 4 + len(xmp))),
        behind=xmp + IPTC,
    )
    found = found_in(jpeg_with((0xE1, block)), "jpeg")
    assert (found.xmp, found.iptc) == (xmp, IPTC)


CREDENTIALS = b"\0\0\0\x20jumb" + bytes(24)


def webp_with_credentials() -> bytes:
    """A WebP with a chunk behind its pixels."""
    data = encoded(noise(8, 8, 3), "WEBP", exif=ORIENTED) + b"C2PA" + struct.pack("<I", 4) + b"abcd"
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


@pytest.mark.parametrize(
    ("data", "format_", "name"),
    [
        (lambda: jpeg_with((0xEB, b"JP\0\0" + CREDENTIALS)), "jpeg", "APP11 (content credentials)"),
        (lambda: jpeg_with((0xEC, b"Ducky\0")), "jpeg", "APP12 (Ducky)"),
        (lambda: png_with((b"caBX", CREDENTIALS)), "png", "caBX (content credentials)"),
        (lambda: png_with((b"prVt", b"a")), "png", "prVt"),
        (webp_with_credentials, "webp", "C2PA (content credentials)"),
        (lambda: gif_with(b"\x21\xff\x0bSOME APP1.0\x01a\0"), "gif", "SOME APP1.0"),
        (
            lambda: encoded(noise(8, 8, 3), "AVIF") + struct.pack(">I4s", 8, b"uuid"),
            "avif",
            "uuid",
        ),
    ],
)
def test_blocks_that_are_not_known_are_named(
    data: Callable[[], bytes], format_: str, name: str
) -> None:
    """They are not in the result, and a note says so."""
    found = found_in(data(), format_)
    assert [(note.code, note.detail) for note in found.notes] == [("blocks_dropped", name)]
    assert decode(data()).notes[0].code == "blocks_dropped"


@pytest.mark.parametrize("format_", ["png", "jpeg", "gif", "webp", "avif", "tiff"])
def test_plain_files_carry_nothing(format_: str) -> None:
    """And have no notes."""
    samples = noise(16, 16, 3)
    found = found_in(encoded(samples, format_.upper()), format_)
    assert found == Metadata(turned=(1, "AVIF") if format_ == "avif" else None)


SAMPLES = {
    "png": png_with(
        packed_text(b"a", b"b"), raw_profile(b"exif", ORIENTED), (b"iTXt", b"c\0\0\0\0\0d")
    ),
    "jpeg": extended() + VIDEO,
    "gif": gif_with(gif_comment(b"c"), gif_xmp(packet())),
    "webp": webp_with_credentials(),
    "avif": encoded(noise(8, 8, 3), "AVIF", exif=ORIENTED),
    "tiff": tiff(noise(4, 5, 3), "rgb", extratags=[(33723, 7, len(IPTC), IPTC, True)]),
}


@settings(max_examples=300)
@given(
    format_=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 5000),
)
def test_damaged_files_raise_nothing(
    format_: str, changes: list[tuple[int, int]], cut: int
) -> None:
    """Whatever a file holds where it carries things, it is no reason to refuse it."""
    damaged = bytearray(SAMPLES[format_][:cut])
    for position, value in changes:
        if damaged:
            damaged[position % len(damaged)] = value
    found_in(bytes(damaged), format_).orientation()


def test_16_bits_carry_the_same() -> None:
    """They are read beside Pillow."""
    data = png(noise16(4, 5, 3), colour=2, depth_bits=16, chunks={b"tEXt": b"a\0b"})
    assert decode(data).texts == (Text("a", "b"),)
    late = data[:-12] + png_chunk(b"eXIf", ORIENTED[6:]) + data[-12:]
    assert (probe(late).width_px, decode(late).width_px) == (4, 4)
