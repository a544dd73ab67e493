"""What holds for the mended files of every format."""

from __future__ import annotations

import contextlib
import subprocess
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.bare_files import (
    AVIF,
    CHUNKS,
    CONVERT,
    DEEP_PNG,
    JPEGS,
    PNG,
    SAMPLES,
    WEBPS,
    animated_png,
    bmp,
    damaged,
    with_chunk,
)
from support.blocks import jpeg_segment
from support.pictures import (
    encoded,
    icc_profile,
    png_chunk,
)

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.bare import bare
from enlarger.picture.chunks import png_chunks
from enlarger.picture.decode import decode, probe


@pytest.mark.parametrize(
    "data",
    [PNG, DEEP_PNG, JPEGS["baseline"], JPEGS["progressive"], *list(WEBPS.values())[:3], encoded(SAMPLES, "BMP"), encoded(SAMPLES, "AVIF")],
)  # fmt: skip
def test_file_in_which_nothing_is_wrong_is_not_copied(data: bytes) -> None:
    """Decoders get the very bytes."""
    found = bare(data)
    assert found.file is data
    assert (found.notes, found.proofs, found.is_cut) == ((), (), False)


def test_jpeg_with_its_end_is_decoded_once() -> None:
    """Proofs cost as much as the picture, so there are none."""
    data = JPEGS["baseline"]
    commented = data[:2] + jpeg_segment(0xFE, b"a comment") + data[2:]
    assert bare(commented).file == data
    assert bare(commented).proofs == ()
    assert len(bare(commented[:-2]).proofs) == 2


HOSTILE: dict[str, bytes] = {
    "chunks of nothing": PNG[:33] + png_chunk(b"tEXt", b"") * 200_000 + PNG[33:],
    "describing chunks": PNG[:33] + damaged(png_chunk(b"pHYs", bytes(9))) * 100_000 + PNG[33:],
    "segments of nothing": JPEGS["baseline"][:2] + b"\xff\xfe\0\2" * 500_000 + JPEGS["baseline"][2:],
    "bytes that fill up": JPEGS["baseline"][:2] + b"\xff" * 7_000_000 + JPEGS["baseline"][2:],
    "half markers": JPEGS["baseline"][:2] + b"\xff\0" * 1_000_000 + JPEGS["baseline"][2:],
    "scans": JPEGS["baseline"][:-2] + b"\xff\xda\0\2" * 500_000 + b"\xff\xd9",
    "restarts": JPEGS["baseline"][:-2] + b"\xff\xd0" * 1_000_000,
    "chunks of a webp": WEBPS["lossy"] + b"ABCD\0\0\0\0" * 250_000,
    "lengths beyond the end": PNG[:33] + b"\xff\xff\xff\xfftEXt" + PNG[33:],
    "segment beyond the end": JPEGS["baseline"][:2] + b"\xff\xe1\xff\xff",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_walked_over_once(name: str) -> None:
    """Megabytes of the smallest parts take seconds at most, and nothing else is raised."""
    began = time.monotonic()
    for read in (probe, decode):
        with contextlib.suppress(UnreadableImage, UnsupportedFormat):
            read(HOSTILE[name])
    assert time.monotonic() - began < 20


ORIGINALS: dict[str, bytes] = {
    "png": PNG,
    "deep png": DEEP_PNG,
    "animation": animated_png(),
    "profile": with_chunk(PNG, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(icc_profile(b"RGB ")))),
    **JPEGS,
    **WEBPS,
    "avif": AVIF,
}


@settings(max_examples=400)
@given(
    name=st.sampled_from(sorted(ORIGINALS)),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 6000),
)
def test_mended_file_needs_no_mending(name: str, changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever is wrong with a file: what comes out is as it should be, or refused, and never grows by itself."""
    data = bytearray(ORIGINALS[name][:cut])
    for position, value in changes:
        if data:
            data[position % len(data)] = value
    try:
        once = bare(bytes(data))
    except (UnreadableImage, UnsupportedFormat):
        return
    assert len(once.file) <= len(data) + 24
    twice = bare(once.file)
    assert twice.file == once.file


@pytest.mark.skipif(CONVERT is None, reason="needs ImageMagick")
@pytest.mark.parametrize(
    "make",
    [
        lambda: with_chunk(PNG, damaged(png_chunk(b"pHYs", CHUNKS[b"pHYs"]))),
        lambda: with_chunk(PNG, png_chunk(b"iCCP", b"wide\0\0no profile")),
        lambda: JPEGS["restarts"][:-2],
        lambda: JPEGS["progressive"].replace(b"\xff\xc2", b"junk\xff\xc2"),
        lambda: bmp(np.zeros(SAMPLES.shape[:2], np.uint8), states_alpha=False),
    ],
    ids=["checksum", "profile", "no end", "junk", "bmp"],
)
def test_imagemagick_reads_the_same(make: Callable[[], bytes], tmp_path: Path) -> None:
    """It is another decoder's mind on the same file, for the most part."""
    path = tmp_path / "picture"
    path.write_bytes(make())
    read = subprocess.run(
        [str(CONVERT), str(path), "-depth", "8", "ppm:-"], capture_output=True, check=False
    )
    with Image.open(BytesIO(read.stdout)) as image:
        other = np.asarray(image).astype(int)
    assert np.abs(decode(make()).samples - other).max() <= 4  # decoders of JPEG differ by as much


def test_kinds_of_chunks_that_are_kept_are_those_of_pixels() -> None:
    """Text, EXIF, times and private chunks never reach a decoder."""
    data = PNG
    for kind, content in CHUNKS.items():
        data = with_chunk(data, png_chunk(kind, content))
    kept = {kind for kind, _ in png_chunks(bare(data).file)}
    assert kept == {b"IHDR", b"IDAT", b"IEND"} | {
        *(b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"tRNS")
    }
