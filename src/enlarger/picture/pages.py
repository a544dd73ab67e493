"""Chooses the page of a TIFF that is the picture: a small preview or a mask may come before it.

Each page is a directory of entries. Directories form a chain, and each may point to others below it (SubIFDs). Only
directories are read here, and no more of them than fit into a file without overlaps.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture import kinds
from enlarger.picture.values import Note

# Tags of TIFF 6.0, of its first technical note (SubIFDs), and of DNG 1.7.
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_WIDTH, _HEIGHT, _PHOTOMETRIC, _MAKE, _SUB_DIRECTORIES = 256, 257, 262, 271, 330
_DNG_VERSION = 50706
_READ = frozenset(
    {
        *(_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _HEIGHT, _PHOTOMETRIC),
        *(_MAKE, _SUB_DIRECTORIES, _DNG_VERSION),
    }
)
"""Tags that are needed to choose a page."""

_REDUCED_BIT, _MASK_BIT = 1, 4
"""Bits of NewSubfileType."""

_OLD_REDUCED = 2
"""A value of SubfileType, which NewSubfileType has replaced."""

_MASK, _COLOUR_FILTER_ARRAY, _LINEAR_RAW = 4, 32803, 34892
"""Values of PhotometricInterpretation: a transparency mask, and sensor data (TIFF/EP, DNG)."""

_OF_THE_PHOTO = (270, 271, 272, 274, 305, 306, 315, 316, 700, 33432, 33723, 34377, 34665, 34853)
"""Tags that apply to a photo and its preview alike, and often exist only in the preview's directory.

They are description, camera, orientation, software, time, artist, computer, XMP, copyright, IPTC, EXIF and GPS.
"""

_PROFILE = 34675
_PROFILE_FITS = {0: 1, 6: 2}
"""Photometric interpretations whose profiles also fit others: white is zero, and YCbCr."""

_RAW_PHOTOS = {
    "NIKON": "Nikon NEF",
    "SONY": "Sony ARW",
    "PENTAX": "Pentax PEF",
    "RICOH": "Pentax PEF",
    "SAMSUNG": "Samsung SRW",
    "SEIKO EPSON": "Epson ERF",
    "HASSELBLAD": "Hasselblad 3FR",
    "MAMIYA": "Mamiya MEF",
    "EASTMAN KODAK": "Kodak DCR",
    "KODAK": "Kodak DCR",
    "LEAF": "Leaf MOS",
}
"""Raw formats by the beginning of ``Make``, the manufacturer of the camera."""

_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Types of whole numbers (TIFF 6.0, section 2, and BigTIFF), as ``struct`` names them."""

_ASCII = 2

_MOST_ENTRIES = 4096
"""A directory with more entries is damaged, as in tifffile."""

_MOST_DIRECTORIES = 65_536
"""The most directories that are read. Later pages are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MainPage:
    """The page that is the picture."""

    file: bytes
    """A TIFF with this page only, so that every reader uses it."""

    full_pages: int
    """Number of pages that are neither previews nor masks."""

    choice: str | None
    """Why this is not the first page, as text; None if it is."""

    notes: tuple[Note, ...] = ()
    """Damage in the structure of the file."""


def main_page(data: bytes) -> MainPage:
    """Return the first page. If that is a preview or a mask, return the largest full page.

    Raises:
        UnsupportedFormat: the file is a raw photo, or has no full page.
        UnreadableImage: the file has no page.
    """
    kind = kinds.raw_photo_in_tiff(data)
    if kind is not None:
        raise kinds.unsupported(kind)
    walk = _Walk(data)
    chain = list(walk.chain(walk.first_offset()))
    if not chain:
        raise UnreadableImage("the file is broken or cut short")
    below = list(walk.below(chain))
    pages = chain + below
    if any(page.is_of_a_raw_photo for page in pages):
        is_dng = any(page.is_dng for page in pages)
        raise kinds.unsupported(kinds.raw_photo("DNG" if is_dng else _named_by(chain[0].maker)))
    first = chain[0]
    if first.is_full:
        # A damaged offset leads to a page without a size.
        full_pages = max(1, sum(page.is_full and page.area_px > 0 for page in chain))
        if first.next_offset:
            data = walk.alone(walk.entries(first))
        return MainPage(file=data, full_pages=full_pages, choice=None, notes=walk.notes())
    full = [page for page in pages if page.is_full and page.area_px]
    what = "a preview" if first.is_reduced else "a mask"
    if not full:
        raise UnsupportedFormat(
            f"a TIFF of nothing but {what} of {first.size} is not read here; save the picture itself as TIFF or PNG"
        )
    main = max(full, key=lambda page: page.area_px)
    among = f" of {len(full)}" if len(full) > 1 else ""
    return MainPage(
        file=walk.alone(_inherited(walk, first, main) | walk.entries(main)),
        full_pages=len(full),
        choice=f"the first page is {what} of {first.size}; the largest full page{among} was taken, {main.size}",
        notes=walk.notes(),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value of a directory."""

    type: int
    count: int
    field: bytes
    """The value, or its position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directory:
    """The properties of a page that are needed to choose one."""

    table: slice
    """The place of its entries in the file."""

    next_offset: int
    width_px: int
    height_px: int
    photometric: int
    subfile_bits: int
    """The bits of NewSubfileType, from either of the two tags."""

    maker: str
    is_dng: bool
    sub_offsets: tuple[int, ...]

    @property
    def area_px(self) -> int:
        return self.width_px * self.height_px

    @property
    def size(self) -> str:
        return f"{self.width_px}x{self.height_px} px"

    @property
    def is_reduced(self) -> bool:
        return bool(self.subfile_bits & _REDUCED_BIT)

    @property
    def is_full(self) -> bool:
        is_mask = self.subfile_bits & _MASK_BIT or self.photometric == _MASK
        return not is_mask and not self.is_reduced

    @property
    def is_of_a_raw_photo(self) -> bool:
        is_sensor = self.photometric in (_COLOUR_FILTER_ARRAY, _LINEAR_RAW)
        return is_sensor or self.is_dng


class _Walk:
    """One pass through the directories of a file. It ends, whatever the offsets are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data.startswith(b"II") else ">"
        self._is_big = data[2:4] in (b"+\0", b"\0+")
        count, offset = ("Q", "Q") if self._is_big else ("H", "I")
        self._count = struct.Struct(self._order + count)
        self._offset = struct.Struct(self._order + offset)
        self._entry = struct.Struct(f"{self._order}HH{offset}{self._offset.size}s")
        self._seen: set[int] = set()
        self._bytes_left = len(
            data
        )  # overlapping directories would cause much work with a small file
        self._damage: dict[str, None] = {}

    def first_offset(self) -> int:
        """Return the position of the first directory; 0 if the file is too short to state it."""
        return self._number_at(self._offset, 8 if self._is_big else 4) or 0

    def notes(self) -> tuple[Note, ...]:
        """Return the damage that was found so far."""
        return tuple(Note("damage_ignored", damage) for damage in self._damage)

    def chain(self, offset: int) -> Iterator[_Directory]:
        """Yield the directory at this offset, and those that follow it, each directory once."""
        is_first = not self._seen
        while offset and offset not in self._seen and len(self._seen) < _MOST_DIRECTORIES:
            self._seen.add(offset)
            directory = self._directory(offset, may_be_cut=is_first)
            if directory is None:
                self._damage["an offset of a further page leads nowhere"] = None
                return
            yield directory
            offset, is_first = directory.next_offset, False

    def below(self, chain: list[_Directory]) -> Iterator[_Directory]:
        """Yield the directories below these, at any depth."""
        above = deque(chain)
        while above:
            for offset in above.popleft().sub_offsets:
                for directory in self.chain(offset):
                    yield directory
                    above.append(directory)

    def entries(self, directory: _Directory) -> dict[int, bytes]:
        """Return the directory's entries by tag, as they are stored.

        Their offsets are relative to the start of the file, so entries may be moved. If a tag occurs twice, the first
        entry counts, as in tifffile.
        """
        table = self._data[directory.table]
        size = self._entry.size
        stored = [table[at : at + size] for at in range(0, len(table), size)]
        return {self._entry.unpack(entry)[0]: entry for entry in reversed(stored)}

    def alone(self, entries: dict[int, bytes]) -> bytes:
        """Return the file with these entries as its only directory, at its end."""
        padded = self._data + bytes(-len(self._data) % 8)
        head_bytes = 8 if self._is_big else 4
        return b"".join(
            [
                padded[:head_bytes],
                self._offset.pack(len(padded)),
                padded[head_bytes + self._offset.size :],
                self._count.pack(len(entries)),
                *(entries[tag] for tag in sorted(entries)),
                self._offset.pack(0),
            ]
        )

    def _directory(self, offset: int, *, may_be_cut: bool) -> _Directory | None:
        """Return the directory at this offset; None if it is incomplete, unless it may be cut by the file's end."""
        count = self._number_at(self._count, offset)
        if count is None:
            return None
        there = (len(self._data) - offset - self._count.size) // self._entry.size
        if may_be_cut and there and count > there:
            count = there
            self._damage["the directory states more entries than there are"] = None
        if count > _MOST_ENTRIES:
            return None
        table = slice(
            offset + self._count.size, offset + self._count.size + count * self._entry.size
        )
        self._bytes_left -= table.stop - table.start
        if table.stop > len(self._data) or self._bytes_left < 0:
            return None
        found: dict[int, _Entry] = {}
        for tag, *rest in self._entry.iter_unpack(self._data[table]):
            if tag in _READ:
                found.setdefault(tag, _Entry(*rest))
        bits = self._number(found.get(_NEW_SUBFILE_TYPE))
        is_old_reduced = self._number(found.get(_SUBFILE_TYPE)) == _OLD_REDUCED
        return _Directory(
            table=table,
            next_offset=self._number_at(self._offset, table.stop) or 0,
            width_px=self._number(found.get(_WIDTH)) or 0,
            height_px=self._number(found.get(_HEIGHT)) or 0,
            photometric=self._number(found.get(_PHOTOMETRIC)) or 0,
            subfile_bits=(_REDUCED_BIT if is_old_reduced else 0) if bits is None else bits,
            maker=self._text(found.get(_MAKE)),
            is_dng=_DNG_VERSION in found,
            sub_offsets=self._sub_offsets(found.get(_SUB_DIRECTORIES)),
        )

    def _number_at(self, kind: struct.Struct, offset: int) -> int | None:
        if offset + kind.size > len(self._data):
            return None
        return int(kind.unpack_from(self._data, offset)[0])

    def _number(self, entry: _Entry | None) -> int | None:
        found = self._numbers(entry, 1)
        return found[0] if found else None

    def _sub_offsets(self, entry: _Entry | None) -> tuple[int, ...]:
        offsets = self._numbers(entry, self._bytes_left // self._offset.size)
        self._bytes_left -= len(offsets) * self._offset.size
        return offsets

    def _numbers(self, entry: _Entry | None, most: int) -> tuple[int, ...]:
        """Return at most this many of the entry's values; an empty tuple if it is missing or has another type."""
        if entry is None or entry.type not in _NUMBERS:
            return ()
        number = struct.Struct(self._order + _NUMBERS[entry.type])
        stored = self._value(entry, number.size, most)
        whole = len(stored) - len(stored) % number.size
        return tuple(value for (value,) in number.iter_unpack(stored[:whole]))

    def _text(self, entry: _Entry | None) -> str:
        if entry is None or entry.type != _ASCII:
            return ""
        return self._value(entry, 1, 64).decode("ascii", errors="replace")

    def _value(self, entry: _Entry, unit_bytes: int, most: int) -> bytes:
        """Return the bytes of at most this many of the entry's values, as far as the file has them."""
        wanted = unit_bytes * min(entry.count, most)
        if entry.count * unit_bytes <= len(entry.field):
            return entry.field[:wanted]
        (start,) = self._offset.unpack(entry.field)
        return self._data[start : start + wanted]


def _inherited(walk: _Walk, preview: _Directory, main: _Directory) -> dict[int, bytes]:
    """Return the entries of a preview that describe the photo it belongs to."""
    tags = set(_OF_THE_PHOTO)
    colours = {_PROFILE_FITS.get(page.photometric, page.photometric) for page in (preview, main)}
    if len(colours) == 1:
        tags.add(_PROFILE)
    return {tag: entry for tag, entry in walk.entries(preview).items() if tag in tags}


def _named_by(maker: str) -> str | None:
    name = maker.upper()
    return next((kind for start, kind in _RAW_PHOTOS.items() if name.startswith(start)), None)
