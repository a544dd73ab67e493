"""Recognises file formats that are not supported by their first bytes, so that an error message can give advice."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from enlarger.errors import UnsupportedFormat
from enlarger.picture.values import FORMATS


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file, as an error message describes it."""

    name: str
    """The name with its article: ``a HEIC picture``."""

    advice: str
    """What the user can do, as an imperative."""


def _picture(name: str) -> Kind:
    return Kind(name, "convert it to PNG or JPEG first")


def _document(name: str) -> Kind:
    return Kind(name, "export the page as PNG or JPEG first")


def _archive(name: str) -> Kind:
    return Kind(name, "unpack it first")


def _text(name: str) -> Kind:
    return Kind(name, "send the file of the picture itself")


def raw_photo(name: str | None = None) -> Kind:
    """Return a camera's unprocessed sensor data, which no program shows as it is; ``name`` is the maker and the format."""
    return Kind(
        f"a raw photo ({name}), of which only a small preview could be read"
        if name
        else "a raw photo, of which only a small preview could be read",
        "develop it to TIFF or JPEG first",
    )


_EMPTY = Kind("an empty file", "check that it was written or sent completely")
_HTML = Kind(
    "an HTML page, such as a login or an error",
    "use the address of the picture itself",
)
_SVG = _picture("an SVG drawing")
_VIDEO = Kind("a video", "save one of its frames as PNG or JPEG first")
_AUDIO = Kind("an audio file", "send a picture")
_HEIC, _HEIF = _picture("a HEIC picture"), _picture("a HEIF picture")

_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    # Raw photos. LibRaw's identify.cpp and ExifTool's %magicNumber look for the same headers.
    (6, b"HEAPCCDR", raw_photo("Canon CRW")),
    (0, b"FUJIFILMCCD-RAW", raw_photo("Fujifilm RAF")),
    (0, b"IIRO", raw_photo("Olympus ORF")),
    (0, b"IIRS", raw_photo("Olympus ORF")),
    (0, b"MMOR", raw_photo("Olympus ORF")),
    (0, b"IIU\0", raw_photo("Panasonic RW2")),
    (0, b"\0MRM", raw_photo("Minolta MRW")),
    (0, b"FOVb", raw_photo("Sigma X3F")),
    # Pictures.
    (0, b"\xff\x0a", _picture("a JPEG XL picture")),  # ISO/IEC 18181-2, codestream
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", _picture("a JPEG XL picture")),  # ISO/IEC 18181-2, container
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", _picture("a JPEG 2000 picture")),  # ISO/IEC 15444-1, I.5.1
    (0, b"\xff\x4f\xff\x51", _picture("a JPEG 2000 picture")),  # ISO/IEC 15444-1, A.4
    (0, b"II\xbc\x01", _picture("a JPEG XR picture")),  # ITU-T T.832, A.5
    (0, b"8BPS", _picture("a Photoshop document (PSD)")),  # Adobe Photoshop file formats
    (0, b"gimp xcf ", _picture("a GIMP document (XCF)")),  # XCF format of GIMP
    (0, b"\0\0\x01\0", _picture("an icon (ICO)")),  # WHATWG MIME Sniffing, 6.1
    (0, b"\0\0\x02" + bytes(9), _picture("a TGA picture")),  # Truevision TGA 2.0, true colour
    (0, b"icns", _picture("an icon (ICNS)")),  # Apple icon services
    (0, b"qoif", _picture("a QOI picture")),  # QOI specification
    (0, b"\x76\x2f\x31\x01", _picture("an OpenEXR picture")),  # OpenEXR file layout
    (0, b"#?RADIANCE", _picture("a Radiance HDR picture")),  # Radiance file formats
    (0, b"DDS ", _picture("a DDS texture")),  # Microsoft DDS programming guide
    (0, b"\x01\xda", _picture("an SGI picture")),  # SGI image file format
    (0, b"BPG\xfb", _picture("a BPG picture")),  # BPG specification
    (0, b"AT&TFORM", _document("a DjVu document")),  # DjVu 3 specification
    (128, b"DICM", _picture("a DICOM picture")),  # DICOM PS3.10, 7.1
    (0, b"SIMPLE  =", _picture("a FITS picture")),  # FITS standard 4.0, 4.4.1
    (0, b"\xd7\xcd\xc6\x9a", _picture("a Windows metafile (WMF)")),  # MS-WMF, 2.3.2.3
    (40, b" EMF", _picture("a Windows metafile (EMF)")),  # MS-EMF, 2.2.9
    # Documents and archives.
    (0, b"%PDF-", _document("a PDF document")),  # ISO 32000-1, 7.5.2
    (0, b"%!PS", _document("a PostScript or EPS document")),  # Adobe EPSF 3.0, 3
    (0, b"\xc5\xd0\xd3\xc6", _document("an EPS document")),  # Adobe EPSF 3.0, 5.2
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _document("an Office document")),  # MS-CFB, 2.2
    (0, b"PK\x03\x04", _archive("a ZIP archive")),  # PKWARE APPNOTE, 4.3.7
    (0, b"\x1f\x8b", _archive("a gzip archive")),  # RFC 1952, 2.3.1
    (0, b"BZh", _archive("a bzip2 archive")),  # WHATWG and libmagic
    (0, b"\xfd7zXZ\0", _archive("an xz archive")),  # the .xz file format, 2.1.1.1
    (0, b"(\xb5/\xfd", _archive("a Zstandard archive")),  # RFC 8878, 3.1.1
    (0, b"7z\xbc\xaf\x27\x1c", _archive("a 7z archive")),  # 7-Zip, 7zFormat.txt
    (0, b"Rar!\x1a\x07", _archive("a RAR archive")),  # WHATWG MIME Sniffing, 6.4
    # Video and sound.
    (0, b"\x1a\x45\xdf\xa3", _VIDEO),  # RFC 8794, EBML: Matroska and WebM
    (0, b"\0\0\x01\xba", _VIDEO),  # ISO/IEC 13818-1, 2.5.3.3: MPEG
    (0, b"FLV\x01", _VIDEO),  # Adobe Flash video file format
    (0, b"0&\xb2u\x8ef\xcf\x11", _VIDEO),  # Microsoft ASF, 10.1: WMV
    (0, b"OggS\0", Kind("an Ogg file", "send a picture")),  # RFC 3533, 6
    (0, b"ID3", _AUDIO),  # WHATWG MIME Sniffing, 6.2
    (0, b"fLaC", _AUDIO),  # RFC 9639, 6
)
"""The position of each signature, its bytes, and the kind of file. Supported formats are not in this table."""

_CANON = b"II*\0\x10\0\0\0CR\x02\0"
_PHASE_ONE = re.compile(rb"(?s)(II\*\0.{4}IIII.waR|MM\0\*.{4}MMMMRaw)")
"""The beginning of raw photos that are also TIFF files, as in LibRaw. A shorter pattern could match other TIFF files."""

_NETPBM = re.compile(rb"P[1-7f]\s")
"""PBM, PGM, PPM, PAM and PFM (netpbm.sourceforge.net)."""

_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
"""Pictures and sequences coded with HEVC (ISO/IEC 23008-12, B.4)."""

_AV1_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf", b"avci", b"avcs", b"jpeg", b"jpgs"}
_SOUND_BRANDS = {b"M4A ", b"M4B ", b"M4P "}

_QUICKTIME_ATOMS = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
"""First atoms of a QuickTime file without a file type (QuickTime file format, movie files)."""

_RIFF = {
    b"AVI ": _VIDEO,
    b"WAVE": _AUDIO,
}

_HEAD_BYTES = 4096
"""The number of bytes of a text that are examined."""

_BLANK = "\ufeff \t\r\n\f"
"""White space, and the byte order mark before a text."""

_ELEMENT = re.compile(r"<(?:[a-z][\w.-]*:)?([a-z][\w.-]*)")
_HTML_ELEMENTS = {
    *("html", "head", "body", "title", "meta", "link", "script", "style", "iframe", "base"),
    *("div", "p", "h1", "h2", "a", "br", "b", "table", "center", "form", "font", "pre"),
}
"""First elements of a page without ``<!DOCTYPE html>``, including those of WHATWG MIME Sniffing 7.1."""

_JSON = re.compile(r"""\{\s*["}]|\[\s*(["\[{\]\d-]|true|false|null)""")


def kind_of(data: bytes) -> Kind | None:
    """Return the kind of a file; None for a supported format, and for unknown files."""
    if not data:
        return _EMPTY
    for offset, signature, kind in _SIGNATURES:
        if data.startswith(signature, offset):
            return kind
    if _NETPBM.match(data):
        return _picture("a Netpbm picture (PPM)")
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12])
    return _media(data) or _written(data)


def raw_photo_in_tiff(data: bytes) -> Kind | None:
    """Return the raw photo that a TIFF's header identifies; None for one that only its pages identify, and for others."""
    if data.startswith(_CANON):
        return raw_photo("Canon CR2")
    return raw_photo("Phase One IIQ") if _PHASE_ONE.match(data) else None


def unsupported(kind: Kind | None) -> UnsupportedFormat:
    """Return the error for such a file. It lists the supported formats, the kind of the file if known, and advice."""
    text = f"not a picture of a format read here ({', '.join(FORMATS)})"
    return UnsupportedFormat(f"{text}: this is {kind.name}; {kind.advice}" if kind else text)


def _media(data: bytes) -> Kind | None:
    """Return a kind that uses the boxes of ISO/IEC 14496-12: pictures of phones, and video."""
    if data[4:8] != b"ftyp":
        # A text may contain such a word at this position, but no zero byte before it.
        return _VIDEO if data[:1] == b"\0" and data[4:8] in _QUICKTIME_ATOMS else None
    size = min(int.from_bytes(data[:4], "big"), _HEAD_BYTES)
    major = data[8:12]
    brands = {major, *(data[at : at + 4] for at in range(16, size - 3, 4))}
    if major == b"crx ":
        return raw_photo("Canon CR3")
    if major in _AV1_BRANDS | _HEVC_BRANDS | _HEIF_BRANDS:
        if brands & _AV1_BRANDS:
            return None
        return _HEIC if brands & _HEVC_BRANDS else _HEIF
    return _AUDIO if major in _SOUND_BRANDS else _VIDEO


def _written(data: bytes) -> Kind | None:
    """Return a kind of text: a page, a drawing, the output of a program."""
    head = data[:_HEAD_BYTES]
    text = _decoded(head)
    # Markup can be recognised in any encoding that contains ASCII. Other text cannot.
    markup = _markup((head.decode("latin-1") if text is None else text).lstrip(_BLANK).lower())
    if markup or text is None:
        return markup
    text = text.strip(_BLANK)
    if text.startswith("version https://git-lfs"):
        return Kind("a pointer of Git LFS", "fetch the picture itself with 'git lfs pull'")
    if text.startswith("data:image/"):
        return _text("a data URL in a file")
    return _text("JSON text") if _JSON.match(text) else None


def _decoded(head: bytes) -> str | None:
    """Return the beginning of a text in UTF-8, or in UTF-16 with a byte order mark; None for other bytes."""
    is_wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        # A character that is cut by the end of the head is not an error.
        return codecs.getincrementaldecoder("utf-16" if is_wide else "utf-8")().decode(head)
    except UnicodeDecodeError:
        return None


def _markup(lower: str) -> Kind | None:
    """Return HTML, SVG or XML, by the first element; ``lower`` begins with neither capitals nor blanks."""
    if not lower.startswith("<"):
        return None
    first = _ELEMENT.search(lower)
    if "<!doctype html" in lower[: first.start() if first else None]:
        return _HTML
    element = first[1] if first else None
    if element in _HTML_ELEMENTS:
        return _HTML
    if element == "svg":
        return _SVG
    return _text("XML text") if element or lower.startswith("<?xml") else None
