"""Which page of a TIFF is taken: never a preview or a mask in the place of the picture."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import WIDE, Page, encoded, noise, noise16, tiff, tiff_of_pages

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe
from enlarger.picture.exif import EXIF_PREFIX
from enlarger.picture.pages import main_page
from enlarger.picture.values import Picture

REDUCED, MASK = 1, 4
"""Bits of NewSubfileType."""

CFA, LINEAR_RAW = 32803, 34892
DNG_VERSION = (50706, "B", 4, b"\x01\x04\0\0")
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"

PREVIEW = noise(12, 16, 3, seed=1)
FULL = noise(48, 64, 3, seed=2)
FULL_16 = noise16(48, 64, 3, seed=2)
SENSOR = noise16(48, 64, 1)

LAYOUTS: dict[str, dict[str, Any]] = {
    f"{name} {size}": {"byteorder": order, "bigtiff": size == "big"}
    for name, order in (("little-endian", "<"), ("big-endian", ">"))
    for size in ("classic", "big")
}

READ = [
    pytest.param(full, layout, id=f"{bits} bits {layout}")
    for layout in LAYOUTS
    for bits, full in ((8, FULL), (16, FULL_16))
]


def maker(name: str) -> tuple[int, str, int, str]:
    """The entry that names the camera's maker."""
    return (271, "s", 0, name)


def preview(**fields: Any) -> Page:
    """What a camera puts before a photo."""
    return Page(**{"samples": PREVIEW, "kind": REDUCED, **fields})


def sensor(**fields: Any) -> Page:
    """What a camera's sensor saw."""
    return Page(**{"samples": SENSOR, "photometric": CFA, **fields})


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def both(data: bytes) -> Iterator[Callable[[], object]]:
    """The two questions that are asked of a file."""
    yield lambda: probe(data)
    yield lambda: decode(data)


def assert_taken(data: bytes, expected: Pixels) -> Picture:
    """``probe`` and ``decode`` both take this page, and ``decode`` says why."""
    header, picture = probe(data), decode(data)
    assert np.array_equal(picture.samples, expected)
    assert (header.height_px, header.width_px) == expected.shape[:2]
    assert header.depth_bits == picture.depth_bits == expected.dtype.itemsize * 8
    return picture


RAW_PHOTOS = {
    "DNG": (
        tiff_of_pages(preview(tags=(DNG_VERSION,), below=(sensor(),))),
        r"a raw photo \(DNG\)",
    ),
    "DNG without a preview": (
        tiff_of_pages(sensor(tags=(DNG_VERSION,))),
        r"a raw photo \(DNG\)",
    ),
    "DNG of linear colours": (
        tiff_of_pages(
            preview(
                tags=(DNG_VERSION,),
                below=(Page(samples=FULL_16, photometric=LINEAR_RAW), preview(samples=FULL)),
            )
        ),
        r"a raw photo \(DNG\)",
    ),
    "DNG whose first page is full": (
        tiff_of_pages(Page(samples=PREVIEW, tags=(DNG_VERSION,), below=(sensor(),))),
        r"a raw photo \(DNG\)",
    ),
    "NEF": (
        tiff_of_pages(
            preview(tags=(maker("NIKON CORPORATION"),), below=(preview(samples=FULL), sensor()))
        ),
        r"a raw photo \(Nikon NEF\)",
    ),
    "ARW": (
        tiff_of_pages(preview(tags=(maker("SONY"),), below=(sensor(),)), preview()),
        r"a raw photo \(Sony ARW\)",
    ),
    "PEF": (
        tiff_of_pages(sensor(tags=(maker("PENTAX Corporation"),)), preview()),
        r"a raw photo \(Pentax PEF\)",
    ),
    "SRW": (
        tiff_of_pages(Page(samples=PREVIEW, tags=(maker("SAMSUNG"),)), sensor()),
        r"a raw photo \(Samsung SRW\)",
    ),
    "another camera's": (
        tiff_of_pages(preview(tags=(maker("Somebody"),), below=(sensor(),))),
        "this is a raw photo, of which",
    ),
}
"""Files as cameras lay them out, and what the refusal calls them."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_these_tests_are_those_of_cameras(layout: str) -> None:
    """The first page is a small preview and the sensor's data hang below it."""
    data = tiff_of_pages(preview(below=(sensor(),)), **LAYOUTS[layout])
    with tifffile.TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        assert page.subfiletype == REDUCED
        assert page.pages is not None
        assert page.pages.first.photometric == CFA


@pytest.mark.parametrize("name", RAW_PHOTOS)
def test_raw_photo_is_refused(name: str) -> None:
    """Its preview is not enlarged in its place; the refusal names the kind and what to do."""
    data, called = RAW_PHOTOS[name]
    for ask in both(data):
        with pytest.raises(UnsupportedFormat, match=f"{called}.*small preview.*develop it to TIFF"):
            ask()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("photometric", [CFA, LINEAR_RAW])
def test_sensor_data_are_found_wherever_they_stand(photometric: int, layout: str) -> None:
    """In the chain or below a page, in either byte order, in TIFF and in BigTIFF."""
    data = Page(samples=SENSOR if photometric == CFA else FULL_16, photometric=photometric)
    plain = Page(samples=PREVIEW)
    for pages in ((data,), (plain, data), (plain, Page(samples=PREVIEW, below=(plain, data)))):
        with pytest.raises(UnsupportedFormat, match="raw photo"):
            probe(tiff_of_pages(*pages, **LAYOUTS[layout]))


def test_raw_photo_is_told_by_its_header() -> None:
    """Those of Canon and Phase One mark no page; their headers tell, and no other TIFF begins so."""
    canon = b"II*\0\x10\0\0\0CR\x02\0" + bytes(4) + tiff(PREVIEW, "rgb")[8:]
    phase_one = b"II*\0" + struct.pack("<I", 99) + b"IIII\x01waR" + bytes(99)
    for data, called in ((canon, "Canon CR2"), (phase_one, "Phase One IIQ")):
        for ask in both(data):
            with pytest.raises(UnsupportedFormat, match=called):
                ask()
    # Samples that follow the header may look like the mark of a raw photo.
    grays = directories((SIZE, -1)).replace(b"\x08\0\0\0", b"\x10\0\0\0IIIIIIII", 1)
    assert main_page(grays).choice is None


@pytest.mark.parametrize(("full", "layout"), READ)
@pytest.mark.parametrize("is_below", [False, True], ids=["in the chain", "below"])
@pytest.mark.parametrize("kind", [REDUCED, REDUCED | MASK, MASK, REDUCED | 2])
def test_largest_full_page_is_taken_with_a_note(
    kind: int, is_below: bool, full: Pixels, layout: str
) -> None:
    """Where a preview or a mask stands first, whichever reader has the samples."""
    others = (Page(samples=full), Page(samples=full[:8, :8]), preview(samples=noise(60, 70, 3)))
    first = Page(samples=PREVIEW, kind=kind, below=others if is_below else ())
    data = tiff_of_pages(first, *(() if is_below else others), **LAYOUTS[layout])
    picture = assert_taken(data, full)
    assert codes(picture) == ["largest_page_taken"]
    what = "preview" if kind & REDUCED else "mask"
    assert picture.notes[0].detail == (
        f"the first page is a {what} of 16x12 px; the largest full page of 2 was taken, 64x48 px"
    )


def test_old_mark_of_a_preview_counts() -> None:
    """SubfileType 2 of files that have no NewSubfileType (TIFF 6.0, section 8)."""
    data = bytearray(tiff_of_pages(preview(), Page(samples=FULL)))
    (first,) = struct.unpack_from("<I", data, 4)
    entry = data.index(struct.pack("<HH", 254, 4), first)
    data[entry : entry + 12] = struct.pack("<HHII", 255, 3, 1, 2)
    assert codes(assert_taken(bytes(data), FULL)) == ["largest_page_taken"]


def test_mask_is_told_by_its_photometric_interpretation() -> None:
    """A first page that says nothing else, but holds a transparency mask."""
    data = bytearray(
        tiff_of_pages(Page(samples=noise(12, 16, 1), photometric=1), Page(samples=FULL))
    )
    (first,) = struct.unpack_from("<I", data, 4)
    entry = data.index(struct.pack("<HHIHH", 262, 3, 1, 1, 0), first)
    struct.pack_into("<H", data, entry + 8, 4)
    picture = assert_taken(bytes(data), FULL)
    assert "a mask of 16x12 px" in picture.notes[0].detail


def test_preview_of_nothing_is_refused() -> None:
    """Neither enlarged nor called broken: the text says what it is."""
    for kind, what in ((REDUCED, "preview"), (MASK, "mask")):
        for ask in both(tiff_of_pages(Page(samples=PREVIEW, kind=kind), preview())):
            with pytest.raises(UnsupportedFormat, match=f"nothing but a {what} of 16x12 px"):
                ask()


@pytest.mark.parametrize(("full", "layout"), READ)
@pytest.mark.parametrize("is_below", [False, True], ids=["in the chain", "below"])
def test_first_full_page_of_a_pyramid_is_the_picture(
    is_below: bool, full: Pixels, layout: str
) -> None:
    """Reduced pages and masks behind it are no frames, so there is nothing to note."""
    levels = (preview(samples=full[::2, ::2]), preview(), Page(samples=PREVIEW, kind=MASK))
    first = Page(samples=full, below=levels if is_below else ())
    data = tiff_of_pages(first, *(() if is_below else levels), **LAYOUTS[layout])
    assert assert_taken(data, full).notes == ()
    assert probe(data).frames == 1


@pytest.mark.parametrize("full", [FULL, FULL_16], ids=["8 bits", "16 bits"])
def test_full_pages_are_counted_without_previews(full: Pixels) -> None:
    """The first of several stays the picture, though a later one is larger."""
    larger = np.concatenate([full, full])
    data = tiff_of_pages(Page(samples=full), preview(), Page(samples=larger), preview())
    picture = assert_taken(data, full)
    assert codes(picture) == ["first_frame_only"]
    assert probe(data).frames == 2


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "classic" in name])
@pytest.mark.parametrize("full", [FULL, FULL_16], ids=["8 bits", "16 bits"])
def test_page_inherits_what_its_preview_says_of_the_photo(full: Pixels, layout: str) -> None:
    """Camera, EXIF, XMP, profile and orientation, which many programs write on the first page only."""
    order = LAYOUTS[layout]["byteorder"]
    tags = (
        maker("Maker"),
        (274, "H", 1, 6),
        (700, "B", len(XMP), XMP),
        (34675, "B", len(WIDE), WIDE),
        (60001, "I", 1, 0xABCDEF01),
    )
    data = bytearray(
        tiff_of_pages(preview(tags=tags, below=(Page(samples=full),)), **LAYOUTS[layout])
    )
    exposure = struct.pack(f"{order}HHHIHHI", 1, 0x8827, 3, 1, 400, 0, 0)  # ISO speed
    data += bytes(len(data) % 2)
    details = struct.pack(f"{order}HHII", 34665, 4, 1, len(data))
    # tifffile writes no EXIF.
    data = data.replace(struct.pack(f"{order}HHII", 60001, 4, 1, 0xABCDEF01), details) + exposure
    picture = assert_taken(bytes(data), np.rot90(full, -1))
    assert codes(picture) == ["largest_page_taken", "orientation_applied"]
    assert (picture.icc, picture.xmp) == (WIDE, XMP)
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    assert exif[271] == "Maker"
    assert exif.get_ifd(0x8769)[0x8827] == 400
    assert (picture.exif or b"").startswith(EXIF_PREFIX)


def test_what_a_page_says_itself_counts() -> None:
    """Its own orientation and maker, not those of the preview."""
    first = preview(tags=(maker("First"), (274, "H", 1, 6)))
    full = Page(samples=FULL, tags=(maker("Second"), (274, "H", 1, 3)))
    picture = assert_taken(tiff_of_pages(first, full), FULL[::-1, ::-1])
    assert b"Second" in (picture.exif or b"")
    assert b"First" not in (picture.exif or b"")


def test_profile_of_a_preview_of_other_colours_is_not_inherited() -> None:
    """The profile of an RGB preview says nothing of a gray picture, and is not missed."""
    first = preview(tags=((34675, "B", len(WIDE), WIDE),))
    gray = Page(samples=noise(48, 64, 1), photometric="minisblack")
    picture = decode(tiff_of_pages(first, gray))
    assert picture.icc is None
    assert codes(picture) == ["largest_page_taken"]


def test_file_of_one_page_is_read_as_it_stands() -> None:
    """Nothing is copied and nothing rewritten."""
    for data in (tiff(FULL, "rgb"), tiff(FULL_16, "rgb"), encoded(FULL, "TIFF")):
        page = main_page(data)
        assert page.file is data
        assert (page.full_pages, page.choice) == (1, None)


# Files that lie


def directories(*tables: tuple[list[tuple[int, int, int, int]], int], order: str = "<") -> bytes:
    """A TIFF of directories one behind another, each with its entries and the number of the one that is next."""
    places, at = [], 8
    for entries, _ in tables:
        places.append(at)
        at += 2 + 12 * len(entries) + 4
    data = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8))
    for entries, following in tables:
        data += struct.pack(f"{order}H", len(entries))
        data += b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
        data += struct.pack(f"{order}I", places[following] if following >= 0 else 0)
    return bytes(data)


SIZE = [(256, 4, 1, 4), (257, 4, 1, 4)]


def test_chain_that_bites_its_tail_ends() -> None:
    """However long the circle is; each page counts once."""
    for length in (1, 2, 150, 1000):
        circle = [(SIZE, (number + 1) % length) for number in range(length)]
        assert main_page(directories(*circle)).full_pages == length


def test_directories_below_one_another_end() -> None:
    """A page that hangs below itself, and a hundred thousand that are said to hang below one."""
    itself = directories(([*SIZE, (330, 4, 1, 8)], -1))
    assert main_page(itself).full_pages == 1
    many = directories(([*SIZE, (330, 4, 100_000, 8)], -1)) + bytes(400_000)
    assert main_page(many).full_pages == 1
    too_many = directories(([*SIZE, (330, 4, 0xFFFFFFFF, 8)], -1))
    assert main_page(too_many).full_pages == 1


def test_much_work_is_not_made_of_little() -> None:
    """Pages that share their entries, each byte of a file being the beginning of one."""
    entries = struct.pack("<HHII", 330, 4, 100_000, 48_014) * 4000
    shared = struct.pack("<2sHIH", b"II", 42, 8, 4000) + entries + bytes(4)
    shared += struct.pack("<100000I", *range(8, 100_008))
    many = directories(*((SIZE, number + 1) for number in range(99_999)), (SIZE, -1))
    began = time.process_time()
    assert main_page(shared).full_pages == 1
    assert main_page(many).full_pages == 65_536
    assert time.process_time() - began < 10


@pytest.mark.parametrize("offset", [0, 1, 7, 1 << 20, 0xFFFFFFFF])
def test_offset_that_leads_nowhere_is_a_broken_file(offset: int) -> None:
    """Before the beginning, behind the end, into the header."""
    data = struct.pack("<2sHI", b"II", 42, offset) + bytes(40)
    with pytest.raises((UnreadableImage, UnsupportedFormat)):
        probe(data)
    big = struct.pack("<2sHHHQ", b"II", 43, 8, 0, offset << 32 | offset) + bytes(40)
    with pytest.raises((UnreadableImage, UnsupportedFormat)):
        probe(big)


def test_chain_that_leads_nowhere_costs_no_picture() -> None:
    """The pages before the damage are there; where one cannot be found, a note says so."""
    data = bytearray(tiff(FULL, "rgb"))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    for following in (first, len(data) - 1, len(data) + 9, 0xFFFFFFFF):
        struct.pack_into("<I", data, first + 2 + 12 * entries, following)
        found = codes(assert_taken(bytes(data), FULL))
        assert found == ([] if following == first else ["damage_ignored"])


SEEDS = [
    tiff_of_pages(
        preview(below=(Page(samples=FULL[:8, :8]), preview())), Page(samples=FULL_16[:9, :9])
    ),
    tiff_of_pages(preview(), Page(samples=FULL[:8, :8]), byteorder=">"),
    tiff_of_pages(preview(below=(Page(samples=FULL[:8, :8]),)), bigtiff=True),
    tiff_of_pages(preview(tags=(DNG_VERSION,), below=(sensor(samples=SENSOR[:8, :8]),))),
]


@settings(max_examples=300)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8),
    part=st.floats(0.1, 1),
)
def test_damaged_pages_raise_nothing_but_our_errors(
    seed: bytes, changes: list[tuple[int, int]], part: float
) -> None:
    """Whatever a directory says, a page comes out or one of two refusals, and both questions agree."""
    damaged = bytearray(seed[: int(len(seed) * part)])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    data = bytes(damaged)
    try:
        header = probe(data)
        if max(header.width_px, header.height_px) > 2048:
            return
        picture = decode(data)
    except (UnreadableImage, UnsupportedFormat):
        return
    assert (picture.height_px, picture.width_px) == (header.height_px, header.width_px)
