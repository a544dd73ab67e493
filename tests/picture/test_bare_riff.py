"""Damage to a WebP, AVIF or BMP outside its pixels costs no picture, and damage inside is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from support.bare_files import (
    ATTACHED,
    AVIF,
    FILLING,
    SAMPLES,
    WEBPS,
    assert_whole,
    bmp,
)
from support.blocks import packet
from support.mutants import moving
from support.pictures import (
    encoded,
    noise,
)

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.decode import decode, probe


@pytest.mark.parametrize(
    ("bits", "packed", "says"),
    [(2, 0, "2 bits"), (64, 0, "64 bits"), (24, 4, "holds a JPEG"), (24, 5, "holds a PNG")],
)
def test_bmp_that_nobody_reads_is_not_called_broken(bits: int, packed: int, says: str) -> None:
    """The refusal names what it is."""
    data = bytearray(encoded(noise(5, 6, 3), "BMP"))
    struct.pack_into("<HI", data, 28, bits, packed)
    for ask in (probe, decode):
        with pytest.raises(UnsupportedFormat, match=says):
            ask(bytes(data))


def stating(data: bytes, length: int) -> bytes:
    """A WebP whose header states another length."""
    return data[:4] + struct.pack("<I", length) + data[8:]


@pytest.mark.parametrize("name", WEBPS)
def test_wrong_length_of_a_riff_is_mended(name: str) -> None:
    """Nothing, too little, too much, or what programs write that did not know it."""
    data = WEBPS[name]
    right = len(data) - 8
    for length in (0, 4, 12, right - 20, right + 8, right + 5000, (1 << 32) - 1, (1 << 32) - 8):
        wrong = stating(data, length)
        picture = decode(wrong)
        assert assert_whole(wrong, decode(data).samples) == ["damage_ignored"]
        assert (picture.icc, picture.xmp) == (decode(data).icc, decode(data).xmp)


def test_unknown_chunk_of_a_webp_costs_no_pixel() -> None:
    """Also where a simple file may have none, before its pixels."""
    chunk = b"ABCD\4\0\0\0wxyz"
    for data in WEBPS.values():
        for made in (data[:12] + chunk + data[12:], data + chunk):
            assert "blocks_dropped" in assert_whole(
                stating(made, len(made) - 8), decode(data).samples
            )


def test_bytes_behind_a_webp_cost_no_pixel() -> None:
    """Whatever they look like; what is more than filling is noted."""
    for data in WEBPS.values():
        for behind in FILLING:
            assert assert_whole(data + behind, decode(data).samples) == []
        for behind in (*ATTACHED, data):
            noted = assert_whole(data + behind, decode(data).samples)
            assert noted == ["attachment_dropped"]


def test_webp_whose_chunks_are_not_padded_is_mended() -> None:
    """An odd length has a byte behind it that fills up (RFC 9649, 2.3); some programs forget it."""
    odd = next(
        data
        for seed in range(50)
        if (data := encoded(noise(9, 9, 3, seed=seed), "WEBP", lossless=True))[16] & 1
    )
    assert assert_whole(stating(odd[:-1], len(odd) - 9), decode(odd).samples) == ["damage_ignored"]
    tail = b"EXIF\3\0\0\0abc"
    made = odd[:-1] + tail
    assert "damage_ignored" in assert_whole(stating(made, len(made) - 8), decode(odd).samples)


def test_webp_that_ends_in_its_metadata_is_whole() -> None:
    """Its pixels stand before."""
    data = WEBPS["talking"]
    cut = data[:-10]
    assert "damage_ignored" in assert_whole(cut, decode(data).samples)


@pytest.mark.parametrize("name", WEBPS)
def test_webp_that_is_cut_among_its_pixels_is_refused(name: str) -> None:
    """Whatever length it states."""
    data = WEBPS[name] if name != "talking" else WEBPS["lossy"]
    for cut in (data[:-40], data[: len(data) // 2]):
        for made in (cut, stating(cut, len(cut) - 8)):
            with pytest.raises(UnreadableImage):
                decode(made)


def test_animation_of_a_webp_may_miss_no_frame() -> None:
    """Cut between two frames, the length that the header states is all that tells."""
    frames = moving()
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    last = data.rindex(b"ANMF")
    with pytest.raises(UnreadableImage):
        decode(data[:last], frames=3)
    for length in (0, len(data), (1 << 32) - 1):
        picture = decode(stating(data, length), frames=3)
        assert np.array_equal(picture.frames, decode(data, frames=3).frames)


def test_xmp_of_an_avif_that_is_not_there_costs_no_pixel() -> None:
    """Its place is beyond the end of the file; libavif would refuse the picture."""
    at = AVIF.index(packet())
    lost = AVIF.replace(struct.pack(">I", at), struct.pack(">I", 1 << 24))
    assert lost != AVIF
    assert_whole(lost, decode(AVIF).samples)
    assert decode(AVIF).xmp == packet()


def test_bytes_behind_an_avif_are_nothing() -> None:
    """Whatever they look like."""
    for behind in (b"\0" * 9, AVIF, b"\xff" * 40, b"more"):
        assert_whole(AVIF + behind, decode(AVIF).samples)


@pytest.mark.parametrize("states_alpha", [False, True], ids=["unused", "masked"])
def test_bmp_whose_alpha_is_0_everywhere_is_opaque(states_alpha: bool) -> None:
    """Programs leave the fourth byte empty; nobody means an invisible picture."""
    data = bmp(np.zeros(SAMPLES.shape[:2], np.uint8), states_alpha=states_alpha)
    assert assert_whole(data, SAMPLES) == ["alpha_ignored"]


def test_alpha_of_a_bmp_is_kept() -> None:
    """Where the file states it, and one pixel has some."""
    fourth = np.zeros(SAMPLES.shape[:2], np.uint8)
    fourth[3, 4] = 9
    assert assert_whole(bmp(fourth, states_alpha=True), np.dstack([SAMPLES, fourth])) == []


def test_fourth_byte_of_a_bmp_that_states_no_alpha_is_unused() -> None:
    """As Windows and browsers have it; a note says so, unless it is full anyway."""
    some = noise(*SAMPLES.shape[:2])
    assert assert_whole(bmp(some, states_alpha=False), SAMPLES) == ["alpha_ignored"]
    assert assert_whole(bmp(np.full_like(some, 255), states_alpha=False), SAMPLES) == []


def test_length_that_a_bmp_states_is_not_believed() -> None:
    """Nor what lies behind it."""
    data = encoded(SAMPLES, "BMP")
    for length in (0, 7, len(data) + 999, (1 << 32) - 1):
        assert_whole(data[:2] + struct.pack("<I", length) + data[6:], SAMPLES)
    assert_whole(data + b"more", SAMPLES)
