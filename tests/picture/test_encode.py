"""From a picture to a file: what another program reads there is what was written."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin
from PIL.ExifTags import IFD
from support.encoding import LAYOUTS, XMP, codes, gradient
from support.pictures import SRGB, icc_profile, noise, noise16, png_samples

from enlarger.errors import InvalidOption
from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode
from enlarger.picture.encode import encode
from enlarger.picture.formats import SUFFIXES, format_for, kind_for, suffix_of
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Picture

KINDS = ["png", "jpeg", "webp", "avif", "tiff"]
"""All that we write."""

EXIF = bytes(Image.Exif().tobytes())


def read(path: Path) -> tuple[str, str, Pixels]:
    """Format, mode and samples (H, W, C) of a file, as Pillow reads it."""
    with Image.open(path) as image:
        image.load()
        samples = np.asarray(image)
        assert image.format is not None
        kind, mode = image.format.lower(), image.mode
    return kind, mode, samples if samples.ndim == 3 else samples[:, :, np.newaxis]


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


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (700, 700)])
@pytest.mark.parametrize("make", [noise, noise16])
@pytest.mark.parametrize("channels", LAYOUTS)
def test_png_of_noise_is_read_back_exactly(
    tmp_path: Path, make: Callable[[int, int, int], Pixels], size: tuple[int, int], channels: int
) -> None:
    """What cannot be compressed takes more room than its samples, above all in short rows."""
    path = tmp_path / "picture.png"
    samples = make(*size, channels)
    encode(Picture(samples=samples), path, kind="png")
    assert path.stat().st_size > samples.nbytes
    found = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    assert np.array_equal(found.reshape(samples.shape), samples)


@pytest.mark.parametrize("make", [noise, noise16])
@pytest.mark.parametrize("channels", LAYOUTS)
def test_rows_of_a_png_are_differences_from_what_paeth_expects(
    tmp_path: Path, make: Callable[[int, int, int], Pixels], channels: int
) -> None:
    """Each begins with a 4; undone byte by byte (PNG, third edition, 9.4), they are the samples, high byte first."""
    path = tmp_path / "picture.png"
    samples = make(9, 7, channels)
    encode(Picture(samples=samples), path, kind="png")
    data = path.read_bytes()
    # One IDAT of so small a picture: its length, its name, and the stream of zlib.
    at = data.index(b"IDAT")
    stream = data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at])]
    rows = np.frombuffer(zlib.decompress(stream), np.uint8).reshape(9, -1)
    assert (rows[:, 0] == 4).all()
    pixel = channels * samples.itemsize
    found = np.zeros((10, pixel + 7 * pixel), int)  # a row and a pixel of zeros before the others
    for y, x in np.ndindex(9, 7 * pixel):
        left, up, corner = found[y + 1, x], found[y, x + pixel], found[y, x]
        expected = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
        found[y + 1, x + pixel] = (rows[y, 1 + x] + expected) % 256
    high_first = samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8)
    assert np.array_equal(found[1:, pixel:], high_first.reshape(9, -1))


@pytest.mark.parametrize("kind", ["photo", "flat"])
def test_png_is_no_larger_than_that_of_pillow(tmp_path: Path, photo: Pixels, kind: str) -> None:
    """At the same level, of a photo that was enlarged, and of one colour."""
    small = Image.fromarray(photo[100:228, 180:308] if kind == "photo" else photo[:1, :1])
    enlarged = small.resize((512, 512), Image.Resampling.LANCZOS)
    encode(Picture(samples=np.asarray(enlarged)), tmp_path / "ours.png", kind="png")
    enlarged.save(tmp_path / "theirs.png", compress_level=1)
    sizes = {name: (tmp_path / name).stat().st_size for name in ("ours.png", "theirs.png")}
    assert sizes["ours.png"] < sizes["theirs.png"]


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


@pytest.mark.parametrize("kind", KINDS)
def test_colour_profile_is_kept(tmp_path: Path, kind: str) -> None:
    """Byte for byte, in every format."""
    path = tmp_path / "picture"
    profile = icc_profile(b"RGB ")
    encode(Picture(samples=gradient(3), icc=profile), path, kind=kind)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("kind", KINDS)
def test_other_metadata_is_dropped_if_not_wanted(tmp_path: Path, kind: str) -> None:
    """Where and when a photo was taken is nobody's business, unless the caller says keep."""
    path = tmp_path / "picture"
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "the garden at home"
    picture = Picture(
        samples=gradient(3), exif=exif.tobytes(), xmp=b"<garden/>", dpi=(300, 300), icc=SRGB
    )
    prepared = prepare(picture, kind=kind)
    assert (prepared.exif, prepared.xmp, prepared.dpi) == (None, None, None)
    assert codes(prepared) == ["exif_dropped", "xmp_dropped"]
    encode(prepared, path, kind=kind)
    assert b"garden" not in path.read_bytes()
    with Image.open(path) as image:
        assert image.size == (64, 48)
        assert image.getexif().get_ifd(IFD.Exif) == {}
        assert "xmp" not in image.info
        assert image.info["icc_profile"] == SRGB
    assert decode(path.read_bytes()).dpi is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_same_picture_gives_the_same_bytes(tmp_path: Path, kind: str, dtype: type) -> None:
    """No time of day and no chance in the file."""
    samples: Pixels = gradient(3).astype(dtype) * (np.iinfo(dtype).max // 255)
    picture = Picture(samples=samples.astype(dtype), icc=SRGB, exif=EXIF, xmp=XMP, dpi=(300, 300))
    for name in ("one", "two"):
        prepared = prepare(picture, kind=kind, metadata="keep", provenance={"model": "m"})
        encode(prepared, tmp_path / name, kind=kind)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("channels", LAYOUTS)
def test_16_bits_are_kept_where_the_format_has_them(
    tmp_path: Path, kind: str, channels: int
) -> None:
    """Every value, in PNG and TIFF, as another decoder reads them."""
    path = tmp_path / "picture"
    samples = noise16(9, 14, channels)
    prepared = prepare(Picture(samples=samples), kind=kind)
    assert prepared.notes == ()
    assert prepared.depth_bits == 16
    encode(prepared, path, kind=kind)
    read_by = png_samples if kind == "png" else imagecodecs.tiff_decode
    assert np.array_equal(read_by(path.read_bytes()).reshape(samples.shape), samples)


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_16_bits_are_rounded_to_8_where_the_format_has_no_more(kind: str) -> None:
    """To nearest, white to white and black to black, with a note."""
    samples = np.array([[[0], [65535], [128], [129], [65406], [65407]]], np.uint16)
    prepared = prepare(Picture(samples=samples, depth_bits=16), kind=kind)
    assert prepared.samples[0, :, 0].tolist() == [0, 255, 0, 1, 254, 255]
    assert prepared.samples.dtype == np.uint8
    assert prepared.depth_bits == 8
    assert codes(prepared) == ["depth_reduced"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", KINDS)
def test_background_goes_under_transparency(kind: str, dtype: type) -> None:
    """Clear shows the background, opaque the colour, half of each in between; with a note."""
    step = np.iinfo(dtype).max // 255
    samples = np.array([[[200, 100, 0, 0], [200, 100, 0, 255], [200, 100, 0, 51]]]) * step
    picture = Picture(samples=samples.astype(dtype))
    prepared = prepare(picture, kind=kind, background=(0, 50, 255))
    found = prepared.samples / (np.iinfo(prepared.samples.dtype).max / 255)
    assert np.rint(found).tolist() == [[[0, 50, 255], [200, 100, 0], [40, 60, 204]]]
    assert "alpha_flattened" in codes(prepared)


@pytest.mark.parametrize(("background", "channels"), [((9, 9, 9), 1), ((9, 9, 8), 3)])
def test_gray_stays_gray_over_gray(background: tuple[int, int, int], channels: int) -> None:
    """And becomes RGB over a colour."""
    picture = Picture(samples=np.zeros((3, 3, 2), np.uint8))
    prepared = prepare(picture, kind="png", background=background)
    assert prepared.samples[0, 0].tolist() == list(background[:channels])


def test_transparency_in_a_jpeg_needs_a_background() -> None:
    """The text names the option, and formats that need none."""
    with pytest.raises(InvalidOption, match=r"background.*png, webp, avif or tiff"):
        prepare(Picture(samples=gradient(4)), kind="jpeg")


@pytest.mark.parametrize(
    ("kind", "longest_px"), [("jpeg", 65500), ("webp", 16383), ("avif", 32768)]
)
def test_size_that_the_format_cannot_hold_is_refused(
    tmp_path: Path, kind: str, longest_px: int
) -> None:
    """The text names the option and formats that hold it; one pixel less is written and read."""
    for shape in ((1, longest_px + 1, 1), (longest_px + 1, 1, 1)):
        with pytest.raises(InvalidOption, match=r"format.*png and tiff"):
            prepare(Picture(samples=np.zeros(shape, np.uint8)), kind=kind)
    path = tmp_path / "picture"
    encode(
        prepare(Picture(samples=np.zeros((1, longest_px, 1), np.uint8)), kind=kind), path, kind=kind
    )
    assert read(path)[2].shape[:2] == (1, longest_px)


@pytest.mark.parametrize(("quality", "sampling"), [(None, 1), (90, 1), (89, 2)])
def test_good_jpeg_has_all_its_colour(tmp_path: Path, quality: int | None, sampling: int) -> None:
    """From a quality of 90, colour has the resolution of brightness."""
    path = tmp_path / "picture.jpg"
    encode(Picture(samples=gradient(3)), path, kind="jpeg", quality=quality)
    with Image.open(path) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        assert image.layer[0][1:3] == (sampling, sampling)


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_quality_is_the_callers(tmp_path: Path, kind: str) -> None:
    """Less of it makes a smaller file."""
    sizes = []
    for quality in (30, 95):
        encode(Picture(samples=noise(64, 64, 3)), tmp_path / "one", kind=kind, quality=quality)
        sizes.append((tmp_path / "one").stat().st_size)
    assert sizes[0] < sizes[1] / 1.5


@pytest.mark.parametrize(("kind", "channels"), [("webp", 1), ("webp", 2), ("avif", 2)])
def test_prepared_picture_is_what_the_file_holds(kind: str, channels: int) -> None:
    """Where a format has no gray, the samples are RGB, and a profile for gray is dropped with a note."""
    picture = Picture(samples=gradient(channels), icc=icc_profile(b"GRAY"))
    prepared = prepare(picture, kind=kind)
    assert prepared.samples.shape[2] == channels + 2
    assert prepared.icc is None
    assert codes(prepared) == ["icc_dropped"]
    assert prepared.format == kind


@pytest.mark.parametrize(
    ("wish", "own", "kind"),
    [
        (None, "jpeg", "png"),
        ("auto", "jpeg", "jpeg"),
        ("auto", "tiff", "tiff"),
        ("auto", "bmp", "png"),
        ("auto", "gif", "png"),
        ("avif", "jpeg", "avif"),
    ],
)
def test_format_follows_the_wish(wish: str | None, own: str, kind: str) -> None:
    """PNG where there is none; the picture's own, where we write it, if that is the wish."""
    assert kind_for(wish, own) == kind
    assert SUFFIXES[suffix_of(kind)] == kind


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
        ("a.avif", "avif"),
        ("a.tif", "tiff"),
        ("a.TIFF", "tiff"),
        ("folder.jpg/a.png", "png"),
        ("a.jpg.png", "png"),
    ],
)
def test_format_follows_the_suffix(name: str, kind: str) -> None:
    """The last one, in any letter case."""
    assert format_for(Path(name), has_alpha=False) == kind


@pytest.mark.parametrize("name", ["a", "a.", "a.gif", "a.bmp", "a.ppm", "png", ".png", "a.png.txt"])
def test_other_suffixes_are_refused(name: str) -> None:
    """The text gives the file's name, without its folder, and the suffixes that there are."""
    with pytest.raises(InvalidOption) as refused:
        format_for(Path("secret") / name, has_alpha=False)
    assert str(refused.value).startswith(f"cannot write '{name}': ")
    assert str(refused.value).endswith(".png, .jpg, .jpeg, .webp, .avif, .tif, .tiff")
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
