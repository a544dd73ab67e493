"""The segments of a JPEG: where each begins and ends, whatever stands between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.blocks import jpeg_segment
from support.pictures import encoded, noise

from enlarger.picture import jpeg

DATA = encoded(noise(40, 30, 3), "JPEG")
PROGRESSIVE = encoded(noise(40, 30, 3), "JPEG", progressive=True)
RESTARTS = encoded(noise(40, 30, 3), "JPEG", restart_marker_blocks=1)


def markers(data: bytes) -> list[int]:
    """Return the markers of all segments."""
    return [segment.marker for segment in jpeg.segments(data)]


def test_segments_are_those_of_the_standard() -> None:
    """As libjpeg writes a baseline file: JFIF, two tables, the frame, four codes, a scan, the end (T.81, B.2)."""
    assert markers(DATA) == [0xE0, 0xDB, 0xDB, 0xC0, *[0xC4] * 4, 0xDA, 0xD9]


@pytest.mark.parametrize("data", [DATA, PROGRESSIVE, RESTARTS])
def test_segments_cover_the_file(data: bytes) -> None:
    """Each begins where the one before it ended; pixels belong to their scan, with stuffed bytes and restarts."""
    ends = [2]
    for segment in jpeg.segments(data):
        assert segment.begin == ends[-1]
        ends.append(segment.stop)
    assert ends[-1] == len(data)


def test_what_stands_between_segments_is_skipped() -> None:
    """Bytes that fill up, others that are no marker, and markers that have no segment."""
    at = DATA.index(b"\xff\xc0")
    for between in (b"\xff" * 7, b"junk", b"\xff\0", b"\xff\x01", b"\xff\xd5"):
        assert markers(DATA[:at] + between + DATA[at:]) == markers(DATA)


def test_markers_inside_of_segments_are_content() -> None:
    """A preview in EXIF has an end of its own."""
    data = DATA[:2] + jpeg_segment(0xE1, b"Exif\0\0" + DATA) + DATA[2:]
    assert markers(data) == [0xE1, *markers(DATA)]
    assert jpeg.end(data + b"more") == len(data)


def test_length_beyond_the_file_ends_the_walk() -> None:
    """And one of less than two is two, as its own bytes take."""
    assert markers(b"\xff\xd8\xff\xe1\xff\xff" + bytes(9)) == [0xE1]
    assert markers(b"\xff\xd8\xff\xe1\0\0" + DATA[2:]) == [0xE1, *markers(DATA)]


def test_picture_that_begins_behind_one_without_its_end_is_another() -> None:
    """As in a file of several pictures."""
    assert markers(DATA[:-2] + DATA) == markers(DATA)[:-1]


def test_scans_of_all_coefficients_are_needed() -> None:
    """A progressive picture needs every component, every band, and the lowest bit."""
    walked = list(jpeg.segments(PROGRESSIVE))
    assert not jpeg.are_scans_missing(PROGRESSIVE, walked)
    scans = [segment for segment in walked if segment.marker == jpeg.SOS]
    assert len(scans) == 10
    last_bits = 0
    for scan in scans:
        others = [segment for segment in walked if segment is not scan]
        is_last_bit = PROGRESSIVE[scan.content.stop - 1] & 15 == 0
        assert jpeg.are_scans_missing(PROGRESSIVE, others) is is_last_bit
        last_bits += is_last_bit
    assert last_bits == 4  # the level of all, and the bands of each component


def test_scans_of_all_components_are_needed() -> None:
    """A sequential picture may have one for each."""
    walked = list(jpeg.segments(DATA))
    assert not jpeg.are_scans_missing(DATA, walked)
    assert jpeg.are_scans_missing(DATA, [one for one in walked if one.marker != jpeg.SOS])
    only_first = DATA.replace(b"\xff\xda\0\x0c\x03", b"\xff\xda\0\x0c\x01")
    assert jpeg.are_scans_missing(only_first, list(jpeg.segments(only_first)))


def test_other_pixels_are_no_markers_but_restarts() -> None:
    """The first restart is the one that a decoder waits for, and there are as many as it counts."""
    last = max(RESTARTS.rfind(bytes([0xFF, number])) for number in range(0xD0, 0xD8))
    cut = RESTARTS[: last + 9].rstrip(b"\xff")
    walked = list(jpeg.segments(cut))
    for other in jpeg.with_other_pixels(cut, walked):
        assert other.startswith(cut)
        behind = other[len(cut) :]
        restarts = [behind[at + 1] for at in range(len(behind)) if behind[at] == 0xFF]
        first = RESTARTS[last + 1] + 1 & 7
        assert restarts == [*(0xD0 | (first + number & 7) for number in range(8)), 0xD9]


def test_arithmetic_pixels_prove_nothing() -> None:
    """A decoder of arithmetic coding reads ahead, so any bytes after the pixels change them."""
    data = DATA.replace(b"\xff\xc0", b"\xff\xc9")
    assert jpeg.with_other_pixels(data, list(jpeg.segments(data))) == ()


@given(
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
    cut=st.integers(2, 4000),
)
def test_any_file_is_walked_over_forwards(changes: list[tuple[int, int]], cut: int) -> None:
    """Segments never overlap, and nothing is raised."""
    data = bytearray(PROGRESSIVE[:cut])
    for position, value in changes:
        data[position % len(data)] = value
    ends = [2]
    walked = list(jpeg.segments(bytes(data)))
    for segment in walked:
        assert segment.begin >= ends[-1]
        assert segment.stop > segment.begin
        ends.append(segment.stop)
    jpeg.are_scans_missing(bytes(data), walked)
    assert jpeg.end(bytes(data)) <= len(data)


def test_pixels_are_the_same_each_time() -> None:
    """So that a file is answered alike by every process."""
    walked = list(jpeg.segments(DATA[:-2]))
    first, second = (jpeg.with_other_pixels(DATA[:-2], walked) for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) == 2
    assert np.frombuffer(first[1][len(DATA) :], np.uint8).std() > 60
