"""What a refusal says of a file that is not read here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.mutants import originals
from support.pictures import encoded, noise

from enlarger.errors import UnsupportedFormat
from enlarger.picture.decode import decode, probe
from enlarger.picture.kinds import kind_of, raw_photo_in_tiff
from enlarger.picture.values import FORMATS

PHRASE = f"not a picture of a format read here ({', '.join(FORMATS)})"
"""What clients know."""


def media(major: bytes, *others: bytes) -> bytes:
    """The beginning of a file of ISO/IEC 14496-12, with its brands."""
    box = b"ftyp" + major + bytes(4) + b"".join(others)
    return (4 + len(box)).to_bytes(4, "big") + box + bytes(40)


FILES = {
    "an empty file": [b""],
    "a raw photo (Canon CR2)": [b"II*\0\x10\0\0\0CR\x02\0" + bytes(40)],
    "a raw photo (Canon CR3)": [media(b"crx ", b"crx ", b"isom")],
    "a raw photo (Canon CRW)": [b"II\x1a\0\0\0HEAPCCDR" + bytes(20)],
    "a raw photo (Fujifilm RAF)": [b"FUJIFILMCCD-RAW 0201" + bytes(20)],
    "a raw photo (Olympus ORF)": [b"IIRO\x08\0\0\0", b"IIRS\x08\0\0\0", b"MMOR\0\0\0\x08"],
    "a raw photo (Panasonic RW2)": [b"IIU\0\x18\0\0\0"],
    "a raw photo (Minolta MRW)": [b"\0MRM" + bytes(20)],
    "a raw photo (Sigma X3F)": [b"FOVb" + bytes(20)],
    "a raw photo (Phase One IIQ)": [
        b"II*\0\x08\0\0\0IIII\x01waR" + bytes(20),
        b"MM\0*\0\0\0\x08MMMMRaw\x01" + bytes(20),
    ],
    "a HEIC picture": [
        media(b"heic", b"mif1", b"heic"),
        media(b"mif1", b"mif1", b"heic"),
        media(b"msf1", b"hevc"),
        media(b"heix"),
    ],
    "a HEIF picture": [media(b"mif1", b"mif1", b"miaf"), media(b"avci")],
    "a JPEG XL picture": [b"\xff\x0a" + bytes(9), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(9)],
    "a JPEG 2000 picture": [
        encoded(noise(8, 8, 3), "JPEG2000"),
        encoded(noise(8, 8, 3), "JPEG2000", no_jp2=True),
    ],
    "a Photoshop document (PSD)": [b"8BPS\0\x01" + bytes(20)],
    "an icon (ICO)": [encoded(noise(16, 16, 4), "ICO")],
    "a TGA picture": [encoded(noise(16, 16, 3), "TGA")],
    "an SGI picture": [encoded(noise(16, 16, 3), "SGI")],
    "a DDS texture": [encoded(noise(16, 16, 3), "DDS")],
    "a Netpbm picture (PPM)": [encoded(noise(4, 4, 3), "PPM"), b"P1\n1 1\n0\n"],
    "a DICOM picture": [bytes(128) + b"DICM" + bytes(20)],
    "an SVG drawing": [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?>\n<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' ''>\n<svg/>",
        b"\xef\xbb\xbf<!-- drawn --><svg:svg/>",
    ],
    "a PDF document": [b"%PDF-1.7\n" + bytes(20)],
    "a PostScript or EPS document": [b"%!PS-Adobe-3.0 EPSF-3.0\n", encoded(noise(4, 4, 3), "EPS")],
    "an EPS document": [b"\xc5\xd0\xd3\xc6" + bytes(20)],
    "a ZIP archive": [b"PK\x03\x04" + bytes(20)],
    "a gzip archive": [b"\x1f\x8b\x08" + bytes(20)],
    "a video": [
        media(b"isom", b"isom", b"mp41"),
        media(b"qt  "),
        media(b"mp42", b"heic"),
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\x1a\x45\xdf\xa3" + bytes(20),
        b"RIFF\x24\0\0\0AVI LIST",
    ],
    "an audio file": [b"RIFF\x24\0\0\0WAVEfmt ", media(b"M4A "), b"ID3\x04\0"],
    "an HTML page, such as a login or an error": [
        b"<!DOCTYPE html><title>Sign in</title>",
        b"\n\n<HTML><body>404 Not Found</body></HTML>",
        b"<!-- saved --><!doctype HTML PUBLIC ''><svg>",
        b"<title>Anmeldung \xfcber</title>",
        "\ufeff<html></html>".encode("utf-16-le"),
        b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>",
    ],
    "XML text": [b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", b"<feed/>"],
    "JSON text": [b'{"error": "not found"}', b'\xef\xbb\xbf[\n  {"a": 1}]', b"[]", b"{}"],
    "a data URL in a file": [b"data:image/png;base64,iVBORw0KGgo="],
    "a pointer of Git LFS": [b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"],
}
"""By what they are called."""


@pytest.mark.parametrize("name", FILES)
def test_refusal_says_what_the_file_is(name: str) -> None:
    """Behind the words that were always there, with what to do."""
    for data in FILES[name]:
        for read in (probe, decode):
            with pytest.raises(UnsupportedFormat) as raised:
                read(data)
            text = str(raised.value)
            assert text.startswith(f"{PHRASE}: this is {name}")
            assert text.rpartition("; ")[2]


def test_nothing_is_said_of_what_is_not_known() -> None:
    """The words that were always there, and no guess."""
    for data in (
        bytes(20),
        b"\x93\x07\xfe\x80" * 9,
        b"RIFF\x24\0\0\0WHAT",
        b"a\0b",
        b"any text",
        b"get free stuff",
        b"<3",
        b"[sic] {x}",
    ):
        with pytest.raises(UnsupportedFormat) as raised:
            probe(data)
        assert str(raised.value) == PHRASE


@pytest.mark.parametrize("name", sorted(originals()))
def test_what_is_read_here_is_no_other_kind(name: str) -> None:
    """No format that is read begins like one that is not."""
    assert kind_of(originals()[name]) is None
    assert raw_photo_in_tiff(originals()[name]) is None


def test_avif_by_a_common_brand_is_read() -> None:
    """Its major brand may be that of all HEIF files; the others tell."""
    data = encoded(Image.new("RGB", (8, 8)), "AVIF").replace(b"ftypavif", b"ftypmif1", 1)
    assert kind_of(data) is None
    assert probe(data).format == "avif"


@given(
    data=st.binary(max_size=200),
    head=st.sampled_from([b"", b"<", b"{", b"\xff\xfe", b"\0\0\0\xffftypmif1"]),
)
def test_any_bytes_have_a_kind_or_none(data: bytes, head: bytes) -> None:
    """Whatever a file holds."""
    kind = kind_of(head + data)
    assert kind is None or (kind.name and kind.advice)
