"""Pictures whose colours no profile states look in every result as they looked before."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from support.animations import Patch, apng
from support.colours import (
    CALIBRATED,
    GAMMA_18,
    P3_ENDS,
    P3_POINTS,
    P3_TAG,
    SRGB_CHUNK,
    WHITE,
    avif,
    bmp,
    chrm,
    cicp,
    codes,
    gama,
    photo,
    png_with,
)
from support.pictures import (
    GRAY,
    GRAY_PROFILE,
    RGB,
    RGB_ALPHA,
    encoded,
    noise,
    noise16,
    png,
    srgb_curve,
    tiff,
)

from enlarger.geometry.rect import Pixels
from enlarger.picture.chunks import png_chunks
from enlarger.picture.decode import decode
from enlarger.picture.encode import encode
from enlarger.picture.encoding import Statement
from enlarger.picture.exif import read
from enlarger.picture.prepare import prepare
from enlarger.picture.preview import preview
from enlarger.picture.tone import nits_to_pq
from enlarger.picture.values import Picture
from enlarger.pipeline.outcome import preserved

KINDS = ["png", "jpeg", "webp", "avif", "tiff"]

P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
SRGB_ENDS = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06))


def flat(*values: int, dtype: type = np.uint8) -> Pixels:
    """One colour, so that no compression changes it."""
    return np.full((32, 32, len(values)), values, dtype)


def result(data: bytes, tmp_path: Path, kind: str, **options: Any) -> tuple[Picture, bytes]:
    """The picture as it is written in a format, and the file."""
    source = decode(data, kind=kind)
    prepared = prepare(source, kind=kind, **options)
    path = tmp_path / f"result.{kind}"
    encode(prepared, path, kind=kind, quality=100 if kind in ("jpeg", "webp", "avif") else None)
    return prepared, path.read_bytes()


def samples_of(file: bytes) -> Pixels:
    """As they stand in a PNG or TIFF; of other formats something of 8 bits."""
    if file.startswith(b"\x89PNG"):
        return np.asarray(imagecodecs.png_decode(file))
    return tifffile.imread(BytesIO(file)) if file.startswith(b"II*") else np.empty(0, np.uint8)


def as_shown(file: bytes) -> Pixels:
    """8 bits of sRGB, by the file's profile alone, as a program shows it that knows of nothing else: (H, W, 3)."""
    with Image.open(BytesIO(file)) as image:
        icc = image.info.get("icc_profile")
        if icc is not None and (deep := samples_of(file)).dtype == np.uint16:
            srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
            flags = imagecodecs.CMS.FLAGS.NOOPTIMIZE
            made = imagecodecs.cms_transform(
                deep,
                icc,
                srgb,
                colorspace="rgb",
                outcolorspace="rgb",
                intent=1,
                flags=flags,
            )
            return np.asarray(made / 257)
        flat = image.convert("L" if image.mode in ("L", "I;16") else "RGB")
        if icc is None:
            return np.array(flat.convert("RGB")).astype(int)
        shown = ImageCms.profileToProfile(
            flat,
            ImageCms.ImageCmsProfile(BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
            flags=ImageCms.Flags.NOOPTIMIZE,
        )
        return np.array(shown).astype(int)


def to_xyz(ends: tuple[tuple[float, float], ...]) -> Pixels:
    """From linear RGB of primaries with the white D65."""
    columns = np.array([[x, y, 1 - x - y] for x, y in ends]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return np.asarray(columns * np.linalg.solve(columns, white))


def srgb_of_p3(linear: Pixels) -> Pixels:
    """Linear light of P3 as sRGB, 0 to 255."""
    matrix = np.linalg.inv(to_xyz(SRGB_ENDS)) @ to_xyz(P3)
    return np.asarray(np.rint(255 * srgb_curve(linear @ matrix.T)))


def linear_of_srgb(coded: Pixels) -> Pixels:
    """IEC 61966-2-1, 0 to 1."""
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


MUTED = (124, 95, 154)
CODED = np.array(MUTED) / 255

# Each states its colours in another way, and how they look: by arithmetic.
STATED = {
    "linear": (png_with(gama(100_000), samples=flat(*MUTED)), 255 * srgb_curve(CODED)),
    "gamma 1.8": (png_with(gama(55_556), samples=flat(*MUTED)), 255 * srgb_curve(CODED**1.8)),
    "linear, 16 bits": (
        png_with(gama(100_000), samples=flat(*(257 * value for value in MUTED), dtype=np.uint16)),
        255 * srgb_curve(CODED),
    ),
    "dark, linear, 16 bits": (
        png_with(gama(100_000), samples=flat(200, 90, 40, dtype=np.uint16)),
        255 * srgb_curve(np.array([200, 90, 40]) / 65535),
    ),
    "P3 by cHRM": (
        png_with(gama(45_455), chrm(*P3_POINTS), samples=flat(*MUTED)),
        srgb_of_p3(CODED**2.2),
    ),
    "P3 by cICP": (png_with(cicp(12, 13), samples=flat(*MUTED)), srgb_of_p3(linear_of_srgb(CODED))),
    "linear P3 by cICP": (png_with(cicp(12, 8), samples=flat(*MUTED)), srgb_of_p3(CODED)),
    "P3 by tags of TIFF": (
        tiff(flat(*MUTED), "rgb", extratags=[WHITE, P3_TAG]),
        srgb_of_p3(linear_of_srgb(CODED)),
    ),
    "sRGB": (png_with(SRGB_CHUNK, samples=flat(*MUTED)), np.array(MUTED)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STATED)
def test_result_shows_the_same_colours(tmp_path: Path, name: str, kind: str) -> None:
    """In every format, to a program that knows profiles and nothing else, within 2 of 255."""
    data, expected = STATED[name]
    _, file = result(data, tmp_path, kind)
    # In the 8 bits of YUV, an AVIF does not have every colour.
    assert np.abs(as_shown(file) - expected).max() <= (4 if kind == "avif" else 2)


@pytest.mark.parametrize("name", STATED)
def test_result_in_srgb_shows_the_same_colours(name: str) -> None:
    """With ``color=srgb`` there is no profile, and the samples are what was seen."""
    data, expected = STATED[name]
    picture = decode(data, to_srgb=True)
    assert picture.icc is None
    most = np.iinfo(picture.samples.dtype).max
    assert np.abs(picture.samples / most * 255 - expected).max() <= 1


def test_linear_light_is_shown_as_imagemagick_shows_it() -> None:
    """``convert lin.png -colorspace sRGB -depth 8 txt:`` of ImageMagick 6.9.11-60, with gAMA 100000."""
    values = np.array([1, 10, 40, 124, 200, 255], np.uint8)
    seen = [12, 55, 110, 185, 229, 255]
    for channels, colour in ((1, GRAY), (3, RGB)):
        samples = np.repeat(values.reshape(1, -1, 1), channels, axis=2)
        picture = decode(png_with(gama(100_000), samples=samples, colour=colour), to_srgb=True)
        assert np.abs(picture.samples[0].astype(int) - np.array(seen)[:, np.newaxis]).max() <= 1


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize(
    "samples", [noise(16, 16, 3), noise16(16, 16, 3), noise16(16, 16, 4), noise(16, 16, 1)]
)
def test_linear_light_comes_back_as_linear_light(
    tmp_path: Path, kind: str, samples: Pixels
) -> None:
    """Between file and result, samples have the curve of sRGB; that costs one step at most, and alpha nothing."""
    colour = {1: GRAY, 3: RGB, 4: RGB_ALPHA}[samples.shape[2]]
    prepared, file = result(png_with(gama(100_000), samples=samples, colour=colour), tmp_path, kind)
    assert prepared.samples.dtype == samples.dtype
    assert np.abs(prepared.samples.astype(int) - samples).max() <= 1
    if samples.shape[2] == 4:
        assert np.array_equal(prepared.samples[:, :, 3], samples[:, :, 3])
    assert prepared.notes == ()
    assert prepared.icc is not None
    again = decode(file)
    assert kind == "tiff" or (again.own is not None and again.own.statement.gamma == 100_000)


@pytest.mark.parametrize("kind", ["png", "avif"])
@pytest.mark.parametrize("chunks", [cicp(12, 13), cicp(9, 16), gama(55_556)])
def test_result_is_read_as_its_source_was(
    tmp_path: Path, kind: str, chunks: dict[bytes, bytes]
) -> None:
    """A result enlarged once more states the same once more: the profile that was put into it changes nothing, without a note."""
    _, file = result(png_with(chunks), tmp_path, kind)
    first, again = decode(png_with(chunks)), decode(file)
    assert again.icc == first.icc
    assert again.notes == ()
    if not (kind == "avif" and b"gAMA" in chunks):
        assert again.stated is not None
        assert first.stated is not None
        assert (again.stated.code_points, again.stated.gamma) == (
            first.stated.code_points,
            first.stated.gamma,
        )


def test_png_states_again_what_it_stated(tmp_path: Path) -> None:
    """The same chunks, before the pixels, beside a profile for programs that do not know them."""
    mastering = {b"mDCV": bytes(range(24)), b"cLLI": bytes(range(8))}
    for chunks in (
        [gama(100_000)],
        [gama(45_455), chrm(*P3_POINTS)],
        [cicp(12, 13)],
        [SRGB_CHUNK],
        [cicp(9, 16), mastering],
    ):
        _, file = result(png_with(*chunks), tmp_path, "png")
        wanted = {kind: content for chunk in chunks for kind, content in chunk.items()}
        listed = list(png_chunks(file))
        kinds = [kind for kind, _ in listed]
        found = dict(listed)
        assert {kind: found.get(kind) for kind in wanted} == wanted
        assert all(kinds.index(kind) < kinds.index(b"IDAT") for kind in wanted)
        has_profile = SRGB_CHUNK not in chunks and cicp(9, 16) not in chunks
        assert (b"iCCP" in kinds) == has_profile


@pytest.mark.parametrize("points", [(12, 13), (9, 16), (9, 18), (9, 14), (1, 8)])
@pytest.mark.parametrize("kind", ["png", "avif"])
@pytest.mark.parametrize("source", ["png", "avif"])
def test_code_points_go_from_png_to_avif_and_back(
    tmp_path: Path, source: str, kind: str, points: tuple[int, int]
) -> None:
    """Both formats state colours by the same numbers. Linear light does not fit into 8 bits, and takes sRGB's curve."""
    data = avif(*points) if source == "avif" else png_with(cicp(*points))
    _, file = result(data, tmp_path, kind)
    if kind == "png":
        assert dict(png_chunks(file))[b"cICP"] == bytes([*points, 0, 1])
        return
    at = file.index(b"nclx") + 4
    assert struct.unpack(">2H", file[at : at + 4]) == ((1, 13) if points == (1, 8) else points)
    assert file.count(b"nclx") == 1


@pytest.mark.parametrize(("transfer", "white"), [(16, float(nits_to_pq(203))), (18, 0.75)])
@pytest.mark.parametrize("kind", ["jpeg", "webp", "tiff"])
def test_hdr_becomes_srgb_where_a_format_cannot_state_it(
    tmp_path: Path, kind: str, transfer: int, white: float
) -> None:
    """White of PQ and HLG is white, with a note; it came out as gray 148 before."""
    samples = np.full((32, 32, 3), round(white * 65535), np.uint16)
    prepared, file = result(png_with(cicp(9, transfer), samples=samples), tmp_path, kind)
    assert "colorspace_converted" in codes(prepared)
    assert (prepared.icc, prepared.stated) == (None, None)
    assert as_shown(file).min() >= 253


def test_deep_avif_of_pq_keeps_its_steps(tmp_path: Path, cases_folder: Path) -> None:
    """10 bits of PQ become 16 bits of a PNG: of 8 bits, one step is five of sRGB's."""
    data = (cases_folder / "pq.avif").read_bytes()
    picture = decode(data)
    assert picture.samples.dtype == np.uint16
    _, written = result(data, tmp_path, "png")
    assert np.array_equal(decode(written).samples, picture.samples)


def test_hdr_of_8_bits_stays_8_bits() -> None:
    """The result has the depth of the file, converted or not."""
    for to_srgb in (False, True):
        assert decode(png_with(cicp(9, 16)), to_srgb=to_srgb).samples.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("icc", [GRAY_PROFILE, None])
def test_gray_looks_the_same_in_colour(tmp_path: Path, kind: str, icc: bytes | None) -> None:
    """A WebP holds no gray: there the profile for gray, the file's or ours, is one for RGB."""
    samples = flat(90)
    chunks = {} if icc else gama(55_556)
    data = (
        encoded(samples, icc_profile=icc) if icc else png_with(chunks, samples=samples, colour=GRAY)
    )
    prepared, file = result(data, tmp_path, kind)
    assert prepared.notes == ()
    assert prepared.icc is not None
    expected = 255 * float(srgb_curve(np.array((90 / 255) ** 1.8)))
    assert np.abs(as_shown(file) - expected).max() <= 2


def test_gray_over_a_colour_keeps_its_look(tmp_path: Path) -> None:
    """Gray with alpha over a background of some colour becomes RGB, with the profile of RGB."""
    samples = np.dstack(
        [flat(90)[:, :, 0], np.where(np.arange(1024).reshape(32, 32) < 512, 255, 0)]
    )
    data = png(samples.astype(np.uint8), colour=4, depth_bits=8, chunks=gama(55_556))
    _, file = result(data, tmp_path, "jpeg", background=(200, 30, 40))
    shown = as_shown(file)
    assert np.abs(shown[4, 4] - 255 * float(srgb_curve(np.array((90 / 255) ** 1.8)))).max() <= 3
    assert np.abs(shown[28, 4] - (200, 30, 40)).max() <= 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        (gama(100_000), "png"),
        (cicp(12, 13), "jpeg"),
        (cicp(9, 16), "png"),
        (cicp(9, 16), "jpeg"),
        (cicp(9, 18), "avif"),
    ],
)
def test_background_is_the_colour_that_was_asked_for(
    tmp_path: Path, chunks: dict[bytes, bytes], kind: str, dtype: type
) -> None:
    """It is given as sRGB, whatever the samples are."""
    background = (128, 60, 200)
    clear: Pixels = np.zeros((32, 32, 4), dtype)
    _, file = result(
        png_with(chunks, samples=clear, colour=RGB_ALPHA), tmp_path, kind, background=background
    )
    shown = decode(file, to_srgb=True).samples
    shown = shown / np.iinfo(shown.dtype).max * 255
    # Half a step of 8 bits of PQ or of linear light is more than one of sRGB's.
    reach = 2 if dtype == np.uint16 and kind == "png" else 5
    assert np.abs(shown - background).max() <= reach


@pytest.mark.parametrize("points", [(12, 13), (9, 16)])
@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_animation_states_its_colours(tmp_path: Path, kind: str, points: tuple[int, int]) -> None:
    """All frames of an APNG with cICP are kept or converted alike, and the result states the same colours."""
    patches = [Patch(samples=noise(6, 8, 3, seed=seed)) for seed in range(3)]
    data = apng(patches, colour=RGB, chunks=cicp(*points))
    source = decode(data, frames=3, kind=kind)
    prepared = prepare(source, kind=kind)
    path = tmp_path / f"moving.{kind}"
    encode(prepared, path, kind=kind)
    again = decode(path.read_bytes(), frames=3)
    assert len(again.frames) == 3
    if kind == "webp":
        assert (again.icc is None) == (points == (9, 16))
        assert ("colorspace_converted" in codes(prepared)) == (points == (9, 16))
    elif kind == "avif" and points == (12, 13):
        assert (
            again.icc == prepared.icc is not None
        )  # it holds before the numbers, which say the same
    else:
        assert again.stated is not None
        assert again.stated.code_points == points


def test_all_frames_have_one_peak() -> None:
    """So that an animation does not flicker where one frame is brighter."""
    dim, bright = (round(float(nits_to_pq(nits)) * 255) for nits in (100, 1000))
    frames = [Patch(samples=np.full((6, 8, 3), value, np.uint8)) for value in (dim, bright)]
    moving = decode(apng(frames, colour=RGB, chunks=cicp(9, 16)), frames=2, to_srgb=True)
    alone = decode(png_with(cicp(9, 16), samples=flat(*[dim] * 3)), to_srgb=True)
    assert moving.frames[0].max() < alone.samples.max()
    assert moving.frames[1].min() >= 254


def test_converted_file_does_not_say_adobe_rgb(tmp_path: Path) -> None:
    """EXIF that spoke of Adobe RGB speaks of sRGB where the samples are sRGB, and stays where they are not."""
    data = photo(65535, "R03")
    for to_srgb in (False, True):
        prepared = prepare(decode(data, to_srgb=to_srgb), kind="jpeg", metadata="keep")
        assert prepared.exif is not None
        block = read(prepared.exif)
        assert block.states_adobe_rgb != to_srgb
        assert (prepared.icc is None) == to_srgb


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (photo(65535, "R03"), "Adobe RGB"),
        (bmp(CALIBRATED, ends=P3_ENDS, gammas=GAMMA_18), "calibrated"),
    ],
)
def test_profile_that_was_made_here_is_not_called_kept(data: bytes, name: str) -> None:
    """``kept`` names what the file had."""
    picture = decode(data)
    assert picture.icc is not None, name
    assert "icc" not in preserved(picture, prepare(picture, kind="png"))


@pytest.mark.parametrize("name", STATED)
def test_preview_shows_the_same_colours(name: str) -> None:
    """What is shown while a picture is made has the profile of its samples."""
    data, expected = STATED[name]
    picture = decode(data)
    wide = (
        picture.samples
        if picture.samples.dtype == np.uint16
        else picture.samples.astype(np.uint16) * 257
    )
    file = preview(wide, (32, 32), icc=picture.icc, stated=picture.stated)
    if name.startswith("dark"):
        return  # 8 bits of linear light are all that a preview has
    assert np.abs(as_shown(file) - expected).max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
def test_preview_of_hdr_is_srgb(channels: int) -> None:
    """White is white there, too; and gray has a profile for what it is shown as."""
    white = np.full((16, 16, channels), round(float(nits_to_pq(203)) * 65535), np.uint16)
    file = preview(white, (16, 16), stated=Statement(code_points=(9, 16)))
    assert as_shown(file).min() >= 253
    gray = preview(np.full((16, 16, 3), 90 * 257, np.uint16), (16, 16), icc=GRAY_PROFILE)
    expected = 255 * float(srgb_curve(np.array((90 / 255) ** 1.8)))
    assert np.abs(as_shown(gray) - expected).max() <= 2


@pytest.mark.parametrize("metadata", ["keep", "strip"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunks", [gama(100_000), cicp(9, 16)])
def test_same_picture_gives_the_same_bytes(
    tmp_path: Path, chunks: dict[bytes, bytes], kind: str, metadata: str
) -> None:
    """Colours belong to the picture, whatever becomes of its metadata; and no profile states a time."""
    first, again = (
        result(png_with(chunks), tmp_path, kind, metadata=metadata)[1] for _ in range(2)
    )
    assert first == again
