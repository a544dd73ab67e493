"""XMP packets: what they say of orientation, size, places and further pictures, set right; all else stays as it is.

A packet is XML. It is read for where things stand in it, and then bytes are replaced or removed: so the rest keeps its
form, as other programs wrote it. Names are compared by namespace, not by prefix.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_NOTE = "http://ns.adobe.com/xmp/note/"
_PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
_DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"

_USUAL = {
    "rdf": _RDF,
    "tiff": _TIFF,
    "exif": _EXIF,
    "xmp": _XMP,
    "xmpNote": _NOTE,
    "GPano": _PANORAMA,
    "GCamera": _CAMERA,
    "Container": _CONTAINER,
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
}
"""Namespaces by prefix, for packets that do not declare them."""

_OF_GAIN_MAPS = frozenset(
    {
        "http://ns.adobe.com/hdr-gain-map/1.0/",
        "http://ns.apple.com/HDRGainMap/1.0/",
        "http://ns.apple.com/pixeldatainfo/1.0/",
    }
)
_OF_VIDEOS = frozenset({"http://ns.oplus.com/photos/1.0/camera/"})
_OF_ATTACHMENTS = frozenset(
    {
        _CONTAINER,
        "http://ns.google.com/photos/1.0/container/item/",
        "http://ns.google.com/photos/dd/1.0/container/",
        "http://ns.google.com/photos/dd/1.0/device/",
        "http://ns.google.com/photos/dd/1.0/item/",
    }
)
"""Namespaces whose properties speak of what lies behind the picture in its file, and of nothing else."""

_VIDEO = re.compile(r"MotionPhoto|MicroVideo|OLivePhoto")

_OF_PLACES = frozenset(
    {
        _PANORAMA,
        _REGIONS,
        "http://ns.microsoft.com/photo/1.2/",
        "http://ns.google.com/photos/1.0/depthmap/",
        "http://ns.google.com/photos/1.0/focus/",
    }
)
"""Namespaces whose properties speak of places in the picture."""

_ACROSS = re.compile(r"\w*(?:WidthPixels|LeftPixels|RectWidth|RectLeft)")
_DOWN = re.compile(r"\w*(?:HeightPixels|TopPixels|RectHeight|RectTop)")
"""Names of GPano that count pixels (Photo Sphere XMP metadata)."""

_SIZES = {
    (_TIFF, "ImageWidth"): 0,
    (_TIFF, "ImageLength"): 1,
    (_EXIF, "PixelXDimension"): 0,
    (_EXIF, "PixelYDimension"): 1,
}
_PIXELS_PER_UNIT = {(_EXIF, "FocalPlaneXResolution"): 0, (_EXIF, "FocalPlaneYResolution"): 1}
_SUBJECT_PLACES = frozenset({(_EXIF, "SubjectArea"), (_EXIF, "SubjectLocation")})
_THUMBNAILS = (_XMP, "Thumbnails")
_ORIENTATION = (_TIFF, "Orientation")
_EXTENDED = (_NOTE, "HasExtendedXMP")

_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_DECLARATION = re.compile(r"\A\s*<\?xml\s[^>]*\?>\s*")
_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>"'/]+)\s*=\s*("[^"]*"|'[^']*')""")
_NUMBER = re.compile(r"\s*(\d{1,12})(?:/(\d{1,12}))?\s*")

_MOST_NAMES = 50_000
"""Elements and attributes of a packet; it is read in the gateway, too."""

_DEEPEST = 200

Name = tuple[str, str]
"""Namespace and local name."""


class DamagedXmpError(Exception):
    """The packet is no XML, or none that is read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What a packet says lies behind the picture in its file."""

    gain_map: bool = False
    video: bool = False
    others: bool = False


@dataclass(slots=True, kw_only=True)
class _Attribute:
    name: Name
    prefix: str
    is_declaration: bool
    span: slice
    """With the space before it."""

    value: slice
    """Without quotes."""


@dataclass(slots=True, kw_only=True)
class _Element:
    name: Name
    prefix: str
    parent: _Element | None
    namespaces: dict[str, str]
    tag: slice
    """The start tag."""

    attributes: list[_Attribute]
    children: list[_Element] = field(default_factory=list)
    content: slice = field(default_factory=lambda: slice(0, 0))
    """What is between the tags; empty where there is one tag only."""

    end: int = 0

    @property
    def span(self) -> slice:
        return slice(self.tag.start, self.end)

    def with_all_below(self) -> Iterator[_Element]:
        """This one and all elements inside it."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += element.children


_Part = _Element | _Attribute


class _Packet:
    """A packet with the places of its properties, and the changes that are to be made."""

    def __init__(self, xmp: bytes) -> None:
        self._xmp = xmp
        self._roots: list[_Element] = []
        self._open: list[_Element] = []
        self._names = 0
        self._changes: dict[tuple[int, int], bytes] = {}
        self._removed_prefixes: set[str] = set()
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _refuse
        self._read()

    def _read(self) -> None:
        begin = self._xmp.find(b"<")
        if begin < 0:
            raise DamagedXmpError
        self._begin = begin
        try:
            # Some packets have zeros or other bytes behind their end.
            self._parser.Parse(self._xmp[begin:], True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            if not self._roots or self._open:
                raise DamagedXmpError from error
        if not self._roots or self._open:
            raise DamagedXmpError

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._names += 1 + len(attributes)
        if self._names > _MOST_NAMES or len(self._open) > _DEEPEST:
            raise DamagedXmpError
        at = self._begin + self._parser.CurrentByteIndex
        found = _TAG.match(self._xmp, at)
        if found is None:
            raise DamagedXmpError
        parent = self._open[-1] if self._open else None
        namespaces = parent.namespaces if parent else {}
        own = {
            key.partition(":")[2]: value
            for key, value in attributes.items()
            if key == "xmlns" or key.startswith("xmlns:")
        }
        if own:
            namespaces = namespaces | own
        prefix = name.partition(":")[0] if ":" in name else ""
        element = _Element(
            name=_resolved(name, namespaces),
            prefix=prefix,
            parent=parent,
            namespaces=namespaces,
            tag=slice(at, found.end()),
            attributes=list(self._attributes(slice(at, found.end()), namespaces)),
        )
        if parent is None:
            self._roots.append(element)
        else:
            parent.children.append(element)
        self._open.append(element)

    def _attributes(self, tag: slice, namespaces: dict[str, str]) -> Iterator[_Attribute]:
        for found in _ATTRIBUTE.finditer(self._xmp, tag.start, tag.stop):
            name = found[1].decode(errors="replace")
            prefix = name.partition(":")[0] if ":" in name else ""
            yield _Attribute(
                name=_resolved(name, namespaces),
                prefix=prefix,
                is_declaration=prefix == "xmlns" or name == "xmlns",
                span=slice(found.start(), found.end()),
                value=slice(found.start(2) + 1, found.end(2) - 1),
            )

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if self._xmp[element.tag.stop - 2 : element.tag.stop] != b"/>":
            at = self._begin + self._parser.CurrentByteIndex
            element.content = slice(element.tag.stop, at)
            element.end = self._xmp.index(b">", at) + 1
        else:
            element.content = slice(element.tag.stop, element.tag.stop)
            element.end = element.tag.stop

    @property
    def root(self) -> _Element:
        return self._roots[0]

    def descriptions(self) -> Iterator[_Element]:
        """The outermost descriptions: those of the picture itself."""
        waiting = [self.root]
        while waiting:
            element = waiting.pop()
            if element.name == (_RDF, "Description"):
                yield element
            else:
                waiting += reversed(element.children)

    def properties(self) -> Iterator[_Part]:
        """What is said of the picture itself, as attribute or as element."""
        for description in self.descriptions():
            yield from (part for part in description.attributes if not part.is_declaration)
            yield from description.children

    def text(self, part: _Part) -> str:
        """The plain text of a property."""
        span = part.value if isinstance(part, _Attribute) else part.content
        return self._xmp[span].decode(errors="replace").strip()

    def bytes_of(self, span: slice) -> bytes:
        return self._xmp[span]

    def set(self, part: _Part, text: str) -> None:
        """Change the value of a property."""
        if isinstance(part, _Element) and not _length(part.content):
            return
        span = part.value if isinstance(part, _Attribute) else part.content
        self._changes[span.start, span.stop] = text.encode()

    def remove(self, part: _Part) -> None:
        """Remove a property with all that is in it."""
        self._changes[part.span.start, part.span.stop] = b""
        elements = part.with_all_below() if isinstance(part, _Element) else ()
        self._removed_prefixes |= {part.prefix, *(element.prefix for element in elements)}
        for element in part.with_all_below() if isinstance(part, _Element) else ():
            self._removed_prefixes |= {attribute.prefix for attribute in element.attributes}

    def insert(self, at: int, content: bytes) -> None:
        """Put bytes before the one that stands there."""
        self._changes[at, at] = content

    def changed(self) -> bytes:
        """The packet with all changes made, and without declarations of prefixes that only removed parts had."""
        if self._removed_prefixes:
            self._forget_prefixes()
        parts, position = [], 0
        for (start, stop), content in sorted(self._changes.items()):
            if start < position:
                continue  # inside of what is removed
            parts += [self._xmp[position:start], content]
            position = stop
        return b"".join([*parts, self._xmp[position:]])

    def _forget_prefixes(self) -> None:
        gone = dict(span for span, content in self._changes.items() if not content)
        used: set[str] = set()
        declarations: list[_Attribute] = []
        waiting = [self.root]
        while waiting:
            element = waiting.pop()
            if gone.get(element.tag.start) == element.end:
                continue
            used.add(element.prefix)
            for attribute in element.attributes:
                if attribute.is_declaration:
                    declarations.append(attribute)
                elif gone.get(attribute.span.start) != attribute.span.stop:
                    used.add(attribute.prefix)
            waiting += element.children
        for declaration in declarations:
            prefix = declaration.name[1]
            if prefix in self._removed_prefixes - used:
                self._changes[declaration.span.start, declaration.span.stop] = b""


def in_utf8(xmp: bytes) -> bytes:
    """The packet in UTF-8, without a mark of byte order.

    Raises:
        DamagedXmpError: it is in no encoding that Unicode has.
    """
    try:
        for mark, encoding in _BYTE_ORDER_MARKS.items():
            if xmp.startswith(mark):
                return _DECLARATION.sub("", xmp.decode(encoding).rstrip("\0")).encode()
        xmp = xmp.removeprefix(b"\xef\xbb\xbf")
        xmp = xmp.rstrip(b"\0")
        xmp.decode()
    except UnicodeDecodeError as error:
        raise DamagedXmpError from error
    return xmp


def orientation(xmp: bytes | None) -> int | None:
    """What the packet states as orientation; None where it does not, or cannot be read."""
    if xmp is None or b"Orientation" not in xmp:
        return None
    try:
        packet = _Packet(in_utf8(xmp))
    except DamagedXmpError:
        return None
    for part in packet.properties():
        text = packet.text(part)
        if part.name == _ORIENTATION and text.isdecimal() and len(text) == 1:
            return int(text)
    return None


def without_announcements(xmp: bytes) -> tuple[bytes, Announced]:
    """The packet without what speaks of further pictures and videos in the same file, and of which it spoke.

    A packet that speaks of nothing else becomes empty.

    Raises:
        DamagedXmpError: it cannot be read.
    """
    packet = _Packet(in_utf8(xmp))
    gain_map = video = others = False
    says_more = False
    parts = [part for part in packet.properties() if part.name != (_RDF, "about")]
    for part in parts:
        namespace, name = part.name
        if namespace in _OF_ATTACHMENTS:
            said = packet.bytes_of(part.span)
            if b"GainMap" in said or b"RecoveryMap" in said:
                gain_map = True
            elif b"MotionPhoto" in said:
                video = True
            elif said.count(b"Semantic") > 1 or b"Length" in said:
                others = True
        elif namespace in _OF_GAIN_MAPS:
            gain_map = True
        elif namespace in _OF_VIDEOS or _VIDEO.match(name):
            video = True
        else:
            says_more = True
            continue
        packet.remove(part)
    announced = Announced(gain_map=gain_map, video=video, others=others)
    return (packet.changed() if says_more or not parts else b""), announced


def xmp_for(
    xmp: bytes,
    *,
    width_px: int,
    height_px: int,
    magnification: tuple[float, float] = (1, 1),
    is_whole: bool = True,
) -> tuple[bytes, tuple[str, ...]]:
    """The packet for a finished picture: upright, of its size, without thumbnails; and what is untrue of it.

    Args:
        xmp: the packet of the picture that it was made from.
        width_px: width of the finished picture.
        height_px: its height.
        magnification: its pixels across and down for each of the other picture's.
        is_whole: whether it shows all of the other one, as that was stored, so that places in it can be scaled.

    Raises:
        DamagedXmpError: it cannot be read.
    """
    packet = _Packet(in_utf8(xmp))
    sides_px = (width_px, height_px)
    removed: dict[str, None] = {}
    is_changed = magnification != (1, 1) or not is_whole
    for part in packet.properties():
        name = part.name
        axis = _axis(name)
        if name == _ORIENTATION:
            packet.set(part, "1")
        elif name in _SIZES:
            packet.set(part, str(sides_px[_SIZES[name]]))
        elif name == _THUMBNAILS:
            packet.remove(part)
        elif (name in _SUBJECT_PLACES and is_changed) or (name[0] in _OF_PLACES and not is_whole):
            packet.remove(part)
            removed[f"{part.prefix}:{name[1]}" if part.prefix else name[1]] = None
        elif axis is not None:
            _scale(packet, part, magnification[axis])
        elif name[0] == _REGIONS and isinstance(part, _Element):
            _state_size(packet, part, sides_px)
    return packet.changed(), tuple(removed)


def is_extended(xmp: bytes) -> str | None:
    """The GUID of the packet that goes on with this one (XMP specification, part 3, 1.1.3.1); None without one."""
    if b"HasExtendedXMP" not in xmp:
        return None
    try:
        packet = _Packet(in_utf8(xmp))
    except DamagedXmpError:
        return None
    return next((packet.text(part) for part in packet.properties() if part.name == _EXTENDED), None)


def joined(xmp: bytes, extension: bytes | None) -> bytes:
    """One packet that says what both say; without an extension, the first no longer asks for one.

    Raises:
        DamagedXmpError: one of them cannot be read.
    """
    packet = _Packet(in_utf8(xmp))
    for part in packet.properties():
        if part.name == _EXTENDED:
            packet.remove(part)
    if extension is not None:
        found = next(
            (each for each in packet.root.with_all_below() if each.name == (_RDF, "RDF")), None
        )
        if found is None or not _length(found.content):
            raise DamagedXmpError
        packet.insert(found.content.stop, b"".join(_descriptions(_Packet(in_utf8(extension)))))
    return packet.changed()


def split(xmp: bytes, most_bytes: int) -> tuple[bytes, bytes | None]:
    """The packet as it fits into so many bytes: without padding, or as one that names an extension, and that.

    The extension holds all that the packet says.

    Raises:
        DamagedXmpError: it cannot be read.
    """
    if len(xmp) <= most_bytes:
        return xmp, None
    packet = _Packet(in_utf8(xmp))
    bare = packet.bytes_of(packet.root.span)
    if len(bare) <= most_bytes:
        return bare, None
    first = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about="" xmlns:xmpNote="{_NOTE}" '
        f'xmpNote:HasExtendedXMP="{guid(bare)}"/></rdf:RDF></x:xmpmeta>'
    )
    return first.encode(), bare


def guid(extension: bytes) -> str:
    """The name of an extension: the MD5 of its bytes."""
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def _descriptions(packet: _Packet) -> Iterator[bytes]:
    """The descriptions of a packet, each with the declarations that stand around it."""
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


def _state_size(packet: _Packet, regions: _Element, sides_px: tuple[int, int]) -> None:
    """Set the size of the picture that regions are shares of."""
    for element in regions.with_all_below():
        parts: Iterable[_Part] = [element, *element.attributes]
        for part in parts:
            if part.name == (_DIMENSIONS, "w"):
                packet.set(part, str(sides_px[0]))
            elif part.name == (_DIMENSIONS, "h"):
                packet.set(part, str(sides_px[1]))


def _axis(name: Name) -> int | None:
    """The axis along which a property counts pixels; None where it counts none."""
    if name[0] == _PANORAMA:
        return 0 if _ACROSS.fullmatch(name[1]) else 1 if _DOWN.fullmatch(name[1]) else None
    return _PIXELS_PER_UNIT.get(name)


def _scale(packet: _Packet, part: _Part, factor: float) -> None:
    """Multiply a whole number or a ratio."""
    found = _NUMBER.fullmatch(packet.text(part))
    if found is not None:
        below = "" if found[2] is None else f"/{found[2]}"
        packet.set(part, f"{round(int(found[1]) * factor)}{below}")


def _resolved(name: str, namespaces: dict[str, str]) -> Name:
    if name == "xmlns" or name.startswith("xmlns:"):
        return "xmlns", name.partition(":")[2]
    prefix, colon, local = name.partition(":")
    if not colon:
        return namespaces.get("", ""), name
    return namespaces.get(prefix) or _USUAL.get(prefix, prefix), local


def _length(span: slice) -> int:
    return int(span.stop - span.start)


def _refuse(*_: object) -> None:
    """Refuse what could define entities."""
    raise DamagedXmpError
