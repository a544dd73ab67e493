"""XMP packets: what is set right for a result, and that all else stays as it was written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.blocks import NAMESPACES, packet, parsed_xml

from enlarger.picture.xmp import (
    Announced,
    DamagedXmpError,
    extension_guid,
    guid,
    in_utf8,
    joined,
    orientation,
    split,
    without_announcements,
    xmp_for,
)

DIRECTORY = (
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item '
    'Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource">'
    '<Container:Item Item:Semantic="{semantic}" Item:Length="395"/></rdf:li></rdf:Seq></Container:Directory>'
)


def made(xmp: bytes, **options: object) -> bytes:
    """The packet of a result of 80x60 pixels."""
    result, _ = xmp_for(xmp, **{"width_px": 80, "height_px": 60, **options})  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("tiff:Orientation='8'", "tiff:Orientation='1'"),
        ('tiff:Orientation = "3"', 'tiff:Orientation = "1"'),
        ('tiff:ImageWidth="40"', 'tiff:ImageWidth="80"'),
        ('tiff:ImageLength="40"', 'tiff:ImageLength="60"'),
        ('exif:PixelXDimension="40"', 'exif:PixelXDimension="80"'),
        ('exif:PixelYDimension="40"', 'exif:PixelYDimension="60"'),
        ('dc:title="6"', 'dc:title="6"'),
    ],
)
def test_orientation_and_size_are_set_as_attribute_and_as_element(before: str, after: str) -> None:
    """And nothing but that: every other byte stays."""
    assert made(packet(before)) == packet(after)
    name = before.split(" ")[0].split("=")[0]
    old, new = (re.split("[\"']", text)[1] for text in (before, after))
    element = f"<{name}>{{}}</{name}>"
    assert made(packet("", element.format(old))) == packet("", element.format(new))


def test_names_are_told_by_namespace() -> None:
    """The prefix is the writer's choice; undeclared ones mean what everybody means by them."""
    declared = f"xmlns:t='{NAMESPACES['tiff']}' t:Orientation='6' xmlns:other='urn:o' other:Orientation='6'"
    expected = declared.replace("t:Orientation='6'", "t:Orientation='1'", 1)
    assert made(packet(declared)) == packet(expected)
    bare = b"<x:xmpmeta><rdf:Description tiff:Orientation='6'/></x:xmpmeta>"
    assert made(bare) == bare.replace(b"6", b"1")


def test_what_is_said_of_other_pictures_stays() -> None:
    """Ingredients of a picture have sizes of their own."""
    ingredient = "<dc:relation><rdf:Description><tiff:ImageWidth>7</tiff:ImageWidth></rdf:Description></dc:relation>"
    assert made(packet("", ingredient)) == packet("", ingredient)


PANORAMA = (
    'GPano:CroppedAreaImageWidthPixels="{}" GPano:FullPanoWidthPixels="{}" GPano:CroppedAreaLeftPixels="{}" '
    'GPano:CroppedAreaImageHeightPixels="{}" GPano:FullPanoHeightPixels="{}" GPano:CroppedAreaTopPixels="{}" '
    'GPano:LargestValidInteriorRectWidth="{}" GPano:LargestValidInteriorRectTop="{}" '
    'GPano:SourcePhotosCount="9" GPano:ProjectionType="equirectangular"'
)


def test_pixels_of_a_panorama_are_scaled() -> None:
    """Those across by the width, those down by the height; counts of anything else stay."""
    before = packet(PANORAMA.format(40, 80, 5, 30, 60, 4, 30, 3))
    after = packet(PANORAMA.format(80, 160, 10, 120, 240, 16, 60, 12))
    assert made(before, magnification=(2, 4)) == after


REGIONS = (
    '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="{}" stDim:h="{}" '
    'stDim:unit="pixel"/></mwg-rs:Regions>'
)


def test_regions_name_the_size_of_the_result() -> None:
    """They themselves are shares of it."""
    assert made(packet("", REGIONS.format(40, 30))) == packet("", REGIONS.format(80, 60))


@pytest.mark.parametrize(
    "said", [PANORAMA.format(*range(8)), REGIONS.format(4, 3), "exif:SubjectArea='1'"]
)
def test_places_are_removed_where_the_result_is_a_part(said: str) -> None:
    """With the declarations that nothing else needs; and they are named."""
    attributes, elements = ("", said) if said.startswith("<") else (said, "")
    xmp = packet(f"{attributes} dc:title='a'", elements)
    result, untrue = xmp_for(xmp, width_px=8, height_px=6, magnification=(2, 2), is_whole=False)
    assert untrue
    assert "dc:title='a'" in result.decode()
    for word in ("GPano", "mwg-rs", "stDim", "SubjectArea"):
        assert word not in result.decode()
    parsed_xml(result)


def test_thumbnails_are_removed() -> None:
    """They show the old picture."""
    thumbnails = "<xmp:Thumbnails><rdf:Alt><rdf:li>base64</rdf:li></rdf:Alt></xmp:Thumbnails>"
    assert made(packet("dc:title='a'", thumbnails)).count(b"base64") == 0


@pytest.mark.parametrize(
    ("attributes", "elements", "announced"),
    [
        ('hdrgm:Version="1.0"', DIRECTORY.format(semantic="GainMap"), {"gain_map"}),
        ("", "<hdrgm:Version>1.0</hdrgm:Version>", {"gain_map"}),
        ('HDRGainMap:HDRGainMapVersion="65536"', "", {"gain_map"}),
        ('GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"', "", {"video"}),
        ('GCamera:MicroVideo="1" GCamera:MicroVideoOffset="2000"', "", {"video"}),
        ("", DIRECTORY.format(semantic="MotionPhoto"), {"video"}),
        ("", DIRECTORY.format(semantic="Depth"), {"others"}),
    ],
)
def test_every_word_on_what_is_gone_is_removed(
    attributes: str, elements: str, announced: set[str]
) -> None:
    """Mentions of gain maps, videos and further pictures are removed with their namespaces, and reported."""
    xmp = packet(f"{attributes} dc:title='a'", f"{elements}<dc:rights>b</dc:rights>")
    result, found = without_announcements(xmp)
    assert found == Announced(**dict.fromkeys(announced, True))
    assert result.replace(b" ", b"") == packet("dc:title='a'", "<dc:rights>b</dc:rights>").replace(
        b" ", b""
    )


def test_packet_that_speaks_of_nothing_else_becomes_empty() -> None:
    """Nobody needs one that says nothing; one that was empty before stays."""
    assert without_announcements(packet("hdrgm:Version='1'"))[0] == b""
    assert without_announcements(packet())[0] == packet()


def test_packet_that_announces_nothing_stays_as_it_is() -> None:
    """Byte by byte."""
    xmp = packet("GCamera:BurstID='a'", "<dc:title>b</dc:title>")
    assert without_announcements(xmp) == (xmp, Announced())


@pytest.mark.parametrize(
    ("said", "expected"),
    [("tiff:Orientation='6'", 6), ("tiff:Orientation='x'", None), ("dc:title='6'", None)],
)
def test_orientation_is_read(said: str, expected: int | None) -> None:
    """As attribute and as element."""
    assert orientation(packet(said)) == expected
    assert orientation(None) is None
    assert orientation(b"<Orientation") is None
    if expected:
        assert orientation(packet("", "<tiff:Orientation> 6 </tiff:Orientation>")) == 6


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-8-sig"])
def test_every_encoding_becomes_utf8(encoding: str) -> None:
    """PNG and JPEG ask for it."""
    text = packet("dc:title='\u00e9'").decode().replace("\ufeff", "")
    mark = "" if encoding == "utf-8-sig" else "\ufeff"
    stored = (mark + '<?xml version="1.0" encoding="x"?>' * bool(mark) + text).encode(encoding)
    assert in_utf8(stored + bytes(4 if "32" in encoding else 2)) == text.encode()


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"no markup",
        b"\xff<a/>",
        b"<a><b></a>",
        b"<a",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a>" * 300 + b"</a>" * 300,
        b"<a>" + b"<b/>" * 50_001 + b"</a>",
    ],
    ids=["empty", "text", "no text", "crossed", "cut", "entities", "deep", "many"],
)
def test_what_is_no_packet_is_damaged(xmp: bytes) -> None:
    """Also what would take long, or defines entities."""
    with pytest.raises(DamagedXmpError):
        made(xmp)


def test_bytes_behind_the_packet_are_no_damage() -> None:
    """Some writers leave zeros there, or more."""
    assert made(packet("tiff:Orientation='6'") + b"\0\0") == packet("tiff:Orientation='1'")
    assert (
        made(packet("tiff:Orientation='6'") + b" junk <")
        == packet("tiff:Orientation='1'") + b" junk <"
    )


def test_extension_is_joined() -> None:
    """The packet says all that both say, and asks for an extension no longer."""
    extension = packet("", "<dc:rights>long</dc:rights>")
    extension = extension[extension.index(b"<x:") : extension.rindex(b"<?xpacket")]
    first = packet(f"dc:title='a' xmpNote:HasExtendedXMP='{guid(extension)}'")
    assert extension_guid(first) == guid(extension)
    both = joined(first, extension)
    assert extension_guid(both) is None
    parsed_xml(both)
    assert b"dc:title='a'" in both
    assert b"<dc:rights>long</dc:rights>" in both
    assert joined(first, None).replace(b" ", b"") == packet("dc:title='a'").replace(b" ", b"")


def test_extension_brings_its_namespaces() -> None:
    """Also those that are declared around its descriptions."""
    first = packet("dc:title='a' xmpNote:HasExtendedXMP='0'")
    extension = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:own="urn:own"><rdf:RDF xmlns:rdf="'
        b'http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description own:a="b"/></rdf:RDF></x:xmpmeta>'
    )
    tree = parsed_xml(joined(first, extension))
    assert "{urn:own}a" in {name for element in tree.iter() for name in element.attrib}


@pytest.mark.parametrize("length", [100, 5000])
def test_long_packet_is_split_and_joined_again(length: int) -> None:
    """What is short enough, or is without its padding, needs no extension."""
    xmp = packet("dc:title='a'", f"<dc:rights>{'r' * length}</dc:rights>")
    first, extension = split(xmp, 1000)
    assert len(first) <= 1000
    if extension is None:
        assert (first, length) == (xmp, 100)
        return
    assert extension_guid(first) == guid(extension)
    assert b"r" * length in joined(first, extension)
    padded = xmp.replace(b"<?xpacket end", b" " * 9000 + b"<?xpacket end")
    bare, none = split(padded, 6000)
    assert none is None
    assert bare in padded


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 5000),
)
def test_damaged_packets_raise_nothing_else(changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever is wrong in a packet, XML comes out, or the one error."""
    said = f"hdrgm:Version='1' tiff:Orientation='6' {PANORAMA.format(*range(8))}"
    damaged = bytearray(packet(said, DIRECTORY.format(semantic="GainMap") + REGIONS)[:cut])
    for position, value in changes:
        if damaged:
            damaged[position % len(damaged)] = value
    try:
        result, _ = without_announcements(bytes(damaged))
        result, _ = xmp_for(result, width_px=8, height_px=6, is_whole=False)
    except DamagedXmpError:
        return
    assert xmp_for(result, width_px=8, height_px=6, is_whole=False) == (result, ())
