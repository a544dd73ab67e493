"""An XMP packet: XML that is read for where its properties stand, and in which bytes are then replaced or removed.

So everything else keeps the form in which other programs wrote it. Names are compared by namespace, not by prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from enlarger.picture.xmp.namespaces import RDF, USUAL_PREFIXES

_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_DECLARATION = re.compile(r"\A\s*<\?xml\s[^>]*\?>\s*")

_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")

_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>"'/]+)\s*=\s*("[^"]*"|'[^']*')""")

_MOST_NAMES = 50_000
"""A packet may have this many elements and attributes, since it is also read in the gateway."""

_DEEPEST = 200

Name = tuple[str, str]
"""Namespace and local name."""


class DamagedXmpError(Exception):
    """The packet is not XML, or has something that is not read here."""


@dataclass(slots=True, kw_only=True)
class Attribute:
    """An attribute, and where it stands."""

    name: Name
    prefix: str
    is_declaration: bool
    span: slice
    """The attribute with the space before it."""

    value: slice
    """The value without quotes."""


@dataclass(slots=True, kw_only=True)
class Element:
    """An element, and where it stands."""

    name: Name
    prefix: str
    parent: Element | None
    namespaces: dict[str, str]
    tag: slice
    """The start tag."""

    attributes: list[Attribute]
    children: list[Element] = field(default_factory=list)
    content: slice = field(default_factory=lambda: slice(0, 0))
    """Everything between the tags; empty if there is only one tag."""

    end: int = 0

    @property
    def span(self) -> slice:
        """The element with its tags."""
        return slice(self.tag.start, self.end)

    def with_all_below(self) -> Iterator[Element]:
        """Yield this element and all elements inside it."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += element.children


Part = Element | Attribute


class Packet:
    """A packet with the places of its properties, and the changes to make.

    Args:
        xmp: the packet in UTF-8; see ``in_utf8``.

    Raises:
        DamagedXmpError: the packet cannot be read.
    """

    def __init__(self, xmp: bytes) -> None:
        self._xmp = xmp
        self._roots: list[Element] = []
        self._open: list[Element] = []
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
            # Some packets are followed by zeros or other bytes.
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
        element = Element(
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

    def _attributes(self, tag: slice, namespaces: dict[str, str]) -> Iterator[Attribute]:
        for found in _ATTRIBUTE.finditer(self._xmp, tag.start, tag.stop):
            name = found[1].decode(errors="replace")
            prefix = name.partition(":")[0] if ":" in name else ""
            yield Attribute(
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
    def root(self) -> Element:
        """The outermost element."""
        return self._roots[0]

    def descriptions(self) -> Iterator[Element]:
        """Yield the outermost descriptions: those of the picture itself."""
        waiting = [self.root]
        while waiting:
            element = waiting.pop()
            if element.name == (RDF, "Description"):
                yield element
            else:
                waiting += reversed(element.children)

    def properties(self) -> Iterator[Part]:
        """Yield the properties of the picture itself, as attributes or as elements."""
        for description in self.descriptions():
            yield from (part for part in description.attributes if not part.is_declaration)
            yield from description.children

    def text(self, part: Part) -> str:
        """Return the plain text of a property."""
        span = part.value if isinstance(part, Attribute) else part.content
        return self._xmp[span].decode(errors="replace").strip()

    def bytes_of(self, span: slice) -> bytes:
        """Return a part of the packet as it was."""
        return self._xmp[span]

    def set(self, part: Part, text: str) -> None:
        """Change the value of a property."""
        if isinstance(part, Element) and not length(part.content):
            return
        span = part.value if isinstance(part, Attribute) else part.content
        self._changes[span.start, span.stop] = text.encode()

    def remove(self, part: Part) -> None:
        """Remove a property with everything in it."""
        self._changes[part.span.start, part.span.stop] = b""
        elements = part.with_all_below() if isinstance(part, Element) else ()
        self._removed_prefixes |= {part.prefix, *(element.prefix for element in elements)}
        for element in part.with_all_below() if isinstance(part, Element) else ():
            self._removed_prefixes |= {attribute.prefix for attribute in element.attributes}

    def insert(self, at: int, content: bytes) -> None:
        """Insert bytes at an offset."""
        self._changes[at, at] = content

    def changed(self) -> bytes:
        """Return the packet with all changes, and without declarations of prefixes that only removed parts used."""
        if self._removed_prefixes:
            self._forget_prefixes()
        parts, position = [], 0
        for (start, stop), content in sorted(self._changes.items()):
            if start < position:
                continue  # inside a part that is removed
            parts += [self._xmp[position:start], content]
            position = stop
        return b"".join([*parts, self._xmp[position:]])

    def _forget_prefixes(self) -> None:
        gone = dict(span for span, content in self._changes.items() if not content)
        used: set[str] = set()
        declarations: list[Attribute] = []
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
    """Return a packet in UTF-8, without a byte order mark.

    Raises:
        DamagedXmpError: the packet is in no encoding of Unicode.
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


def _resolved(name: str, namespaces: dict[str, str]) -> Name:
    if name == "xmlns" or name.startswith("xmlns:"):
        return "xmlns", name.partition(":")[2]
    prefix, colon, local = name.partition(":")
    if not colon:
        return namespaces.get("", ""), name
    return namespaces.get(prefix) or USUAL_PREFIXES.get(prefix, prefix), local


def length(span: slice) -> int:
    """Return how many bytes a span has."""
    return int(span.stop - span.start)


def _refuse(*_: object) -> None:
    """Refuse a document type, which could define entities."""
    raise DamagedXmpError
