"""From a picture to a file: what another program reads there is what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import icc_profile, noise
from PIL import Image

from enlarger.errors import InvalidOption
from enlarger.picture import Picture
from enlarger.picture.encode import encode, format_for
from enlarger.wire import Pixels

LAYOUTS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's modes by number of channels."""


def read(path: Path) -> tuple[str, str, Pixels]:
    """Format, mode and samples (H, W, C) of a file, as Pillow reads it."""
    with Image.open(path) as image:
        image.load()
        samples = np.asarray(image)
        assert image.format is not None
        kind, mode = image.format.lower(), image.mode
    return kind, mode, samples if samples.ndim == 3 else samples[:, :, np.newaxis]


def gradient(channels: int) -> Pixels:
    """A soft picture, which lossy formats keep well: 48 x 64; alpha, if there is one, is a ramp."""
    y, x = np.mgrid[0:48, 0:64]
    planes = [x * 4, y * 5, 255 - x * 2, y * 5][:channels]
    return np.stack(planes, axis=2).astype(np.uint8)


@pytest.mark.parametrize("channels", LAYOUTS)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_png_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, channels: int, height: int, width: int, seed: int
) -> None:
    """Gray stays gray, alpha stays, channels are in RGB order, and no sample changes."""
    path = tmp_path_factory.mktemp("png") / "picture.png"
    samples = noise(height, width, channels, seed=seed)
    encode(Picture(samples=samples), path, kind="png")
    kind, mode, found = read(path)
    assert (kind, mode) == ("png", LAYOUTS[channels])
    assert np.array_equal(found, samples)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_keep_what_is_seen(tmp_path: Path, kind: str, channels: int) -> None:
    """A soft picture comes back within a few code values, gray as gray or as equal channels."""
    path = tmp_path / "picture"
    samples = gradient(channels)
    encode(Picture(samples=samples), path, kind=kind)
    found_kind, _, found = read(path)
    assert found_kind == kind
    assert np.abs(found.astype(int) - samples.astype(int)).mean() < 3


@pytest.mark.parametrize("channels", [2, 4])
def test_webp_keeps_transparency_exactly(tmp_path: Path, channels: int) -> None:
    """Its alpha is stored without loss."""
    path = tmp_path / "picture.webp"
    samples = gradient(channels)
    encode(Picture(samples=samples), path, kind="webp")
    kind, mode, found = read(path)
    assert (kind, mode) == ("webp", "RGBA")
    assert np.array_equal(found[:, :, 3], samples[:, :, -1])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_colour_profile_is_kept(tmp_path: Path, kind: str) -> None:
    """Byte for byte, in every format."""
    path = tmp_path / "picture"
    profile = icc_profile(b"RGB ")
    encode(Picture(samples=gradient(3), icc=profile), path, kind=kind)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_other_metadata_is_dropped(tmp_path: Path, kind: str) -> None:
    """Results are reachable by URL: where and when a photo was taken is nobody's business."""
    path = tmp_path / "picture"
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "the garden at home"
    encode(Picture(samples=gradient(3), exif=exif.tobytes()), path, kind=kind)
    assert b"garden" not in path.read_bytes()
    with Image.open(path) as image:
        assert image.size == (64, 48)
        assert dict(image.getexif()) == {}
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_same_picture_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    """No time of day and no chance in the file."""
    for name in ("one", "two"):
        encode(Picture(samples=gradient(3)), tmp_path / name, kind=kind)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_picture_that_is_a_view_is_written_as_its_copy(tmp_path: Path) -> None:
    """Memory order plays no part."""
    samples = noise(9, 14, 3).swapaxes(0, 1)[::-1]
    encode(Picture(samples=samples), tmp_path / "view.png", kind="png")
    assert np.array_equal(read(tmp_path / "view.png")[2], samples)


def test_file_that_was_there_is_replaced(tmp_path: Path) -> None:
    """Nothing of a longer one is left behind."""
    path = tmp_path / "picture.png"
    path.write_bytes(bytes(100_000))
    encode(Picture(samples=gradient(3)), path, kind="png")
    assert path.stat().st_size < 100_000
    assert np.array_equal(read(path)[2], gradient(3))


def test_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    """The caller knows whether that is a full disk or a slip of the pen."""
    with pytest.raises(FileNotFoundError):
        encode(Picture(samples=gradient(3)), tmp_path / "gone" / "picture.png", kind="png")


def test_full_disk_is_an_os_error() -> None:
    """Also when it shows only while writing: ``/dev/full`` takes nothing."""
    with pytest.raises(OSError, match="No space left"):
        encode(Picture(samples=noise(200, 200, 3)), Path("/dev/full"), kind="png")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "png"),
        ("a.PNG", "png"),
        ("a.jpg", "jpeg"),
        ("a.Jpeg", "jpeg"),
        ("a.webp", "webp"),
        ("folder.jpg/a.png", "png"),
        ("a.jpg.png", "png"),
    ],
)
def test_format_follows_the_suffix(name: str, kind: str) -> None:
    """The last one, in any letter case."""
    assert format_for(Path(name), has_alpha=False) == kind


@pytest.mark.parametrize(
    "name", ["a", "a.", "a.gif", "a.bmp", "a.tiff", "png", ".png", "a.png.txt"]
)
def test_other_suffixes_are_refused(name: str) -> None:
    """The text gives the file's name, without its folder, and the suffixes that there are."""
    with pytest.raises(InvalidOption) as refused:
        format_for(Path("secret") / name, has_alpha=False)
    assert str(refused.value).startswith(f"cannot write '{name}': ")
    assert str(refused.value).endswith(".png, .jpg, .jpeg, .webp")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_transparency_is_not_lost_in_a_jpeg(name: str) -> None:
    """Better an error than a black background; the text names formats that hold it."""
    with pytest.raises(InvalidOption, match=r"use \.png or \.webp"):
        format_for(Path(name), has_alpha=True)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("a.webp", "webp")])
def test_transparency_fits_into_the_others(name: str, kind: str) -> None:
    """PNG and WebP have an alpha channel."""
    assert format_for(Path(name), has_alpha=True) == kind
