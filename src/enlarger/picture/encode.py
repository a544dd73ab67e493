"""From a finished ``Picture`` to the bytes of a file: first decide what it will hold, then write that."""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from enlarger.errors import InvalidOption
from enlarger.picture import carried, marking, xmp
from enlarger.picture import exif as exif_
from enlarger.picture import metadata as metadata_
from enlarger.picture import profile as profile_
from enlarger.picture.values import Motion, Note, Picture, Samples, Text, to_8_bits, with_alpha

PNG_LEVEL = 1
"""Four times faster than Pillow's default of 6, for files 10 % larger (measured on natural photos)."""

_PNG_STRATEGY = imagecodecs.PNG.STRATEGY.RLE
_PNG_FILTER = imagecodecs.PNG.FILTER.PAETH
"""What a network makes is smooth and never quite repeats itself: so nobody looks for repetitions, but for runs of what a
neighbour does not predict. Less than two thirds of the time of the library's own choice, and smaller files
(benchmarks/encoders.py); those of exactly repeated drawings are a third larger, but no network makes such."""

SUFFIXES = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".avif": "avif",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""Formats written, by the suffix of a file's name."""

MEDIA_TYPES = {suffix: f"image/{kind}" for suffix, kind in SUFFIXES.items()}
"""By suffix, for the answer that carries the file."""

QUALITY = {"jpeg": 92, "webp": 90, "avif": 80}
"""Where the caller has no wish; the other formats lose nothing."""

_AVIF_SPEED = 8
"""Four times as fast as Pillow's own 6, for files of the same size (benchmarks/encoders.py)."""

_FULL_CHROMA_QUALITY = 90
"""From here on a JPEG's colour has the resolution of its brightness."""

_LONGEST_SIDE_PX = {"jpeg": 65500, "webp": 16383, "avif": 32768}
"""What their libraries write, and for AVIF what libavif opens unless told otherwise."""

_WITH_16_BITS = ("png", "tiff")
_MOST_PLAYS = {"png": 2**32 - 1, "webp": 65535, "avif": 0}
_LONGEST_MS = {"png": 65_535_000, "webp": 2**24 - 1, "avif": 2**31 - 1}
"""What an animation's format can state of it; an AVIF of ours plays for ever."""

_ANIMATED = ("png", "webp", "avif")
_WITH_DPI = ("png", "jpeg", "tiff")

_JPEG_SEGMENT_BYTES = 65533
_JPEG_EXIF_BYTES = _JPEG_SEGMENT_BYTES - len(exif_.EXIF_PREFIX)
_JPEG_XMP_BYTES = _JPEG_SEGMENT_BYTES - len(carried.XMP_PREFIX)
_JPEG_EXTENSION_BYTES = 65400
_JPEG_IPTC_BYTES = _JPEG_SEGMENT_BYTES - len(carried.PHOTOSHOP_PREFIX) - 13
_JPEG_ICC_BYTES = 255 * (65533 - 14)
"""One segment holds 65533 bytes and begins with the block's name; a profile may take 255 segments."""

_WITH_IPTC = ("png", "jpeg", "tiff")
"""PNG has no place for it in its standard; as ImageMagick and exiftool have it, it is a text there."""

_MOST_NAMED = 8
"""Texts that a note names."""

_PNG_HEADER_BYTES = 33
"""Signature and IHDR; what belongs to the picture as a whole stands behind it."""


def format_for(path: Path, *, has_alpha: bool = False) -> str:
    """The format that a file's name asks for.

    Raises:
        InvalidOption: the suffix is none that we write, or the format cannot hold alpha.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InvalidOption(
            f"cannot write '{path.name}': the name must end in {', '.join(SUFFIXES)}"
        )
    if kind == "jpeg" and has_alpha:
        raise InvalidOption(
            f"cannot write '{path.name}': the picture has transparency, which JPEG cannot hold; use .png or .webp"
        )
    return kind


def kind_for(wish: str | None, picture_format: str) -> str:
    """The format of a result whose name says nothing: ``auto`` is the picture's own, if we write it."""
    if wish == "auto":
        return picture_format if picture_format in SUFFIXES.values() else "png"
    return wish or "png"


def suffix_of(kind: str) -> str:
    """The first suffix of a format."""
    return next(suffix for suffix, name in SUFFIXES.items() if name == kind)


def holds_frames(kind: str) -> bool:
    """Whether a format can hold an animation."""
    return kind in _ANIMATED


def check_kind(
    kind: str,
    *,
    size_px: tuple[int, int],
    has_alpha: bool,
    background: tuple[int, int, int] | None,
    frames: int = 1,
) -> None:
    """Whether a format holds a picture of this width and height, before the work of making it.

    Raises:
        InvalidOption: it does not; the text names the option and what would do.
    """
    longest_px = _LONGEST_SIDE_PX.get(kind)
    if longest_px is not None and max(size_px) > longest_px:
        raise InvalidOption(
            f"Invalid format: {kind} holds up to {longest_px} px a side, and the result has "
            f"{size_px[0]}x{size_px[1]}; png and tiff hold it"
        )
    if frames > 1 and not holds_frames(kind):
        raise InvalidOption(
            f"Invalid format: {kind} holds one picture, and this is an animation of {frames} frames; "
            f"use {', '.join(_ANIMATED)}, or frames=first",
            reason="conflict",
        )
    if kind == "jpeg" and has_alpha and background is None:
        raise InvalidOption(
            "Invalid background: the picture has transparency, which jpeg cannot hold; "
            "give a colour to put under it, such as #ffffff, or use png, webp, avif or tiff",
            reason="conflict",
        )


def prepare(
    picture: Picture,
    *,
    kind: str,
    metadata: str = "strip",
    background: tuple[int, int, int] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> Picture:
    """What the file of a picture will hold, no more and no less, with a note on each thing that is lost.

    Args:
        picture: finished, of any depth.
        kind: ``png``, ``jpeg``, ``webp``, ``avif`` or ``tiff``.
        metadata: ``keep`` EXIF, XMP, IPTC, texts and resolution, or ``strip`` them. The profile stays in either case.
        background: red, green and blue, 0 to 255, to put under transparency; None keeps that.
        provenance: plain values to write into EXIF, whatever ``metadata`` says.

    Raises:
        InvalidOption: the format cannot hold the picture.
    """
    check_kind(
        kind,
        size_px=(picture.width_px, picture.height_px),
        has_alpha=picture.has_alpha,
        background=background,
        frames=len(picture.frames),
    )
    notes = list(picture.notes)
    frames = picture.frames
    if background is not None and picture.has_alpha:
        notes.append(Note("alpha_flattened", "onto #{:02x}{:02x}{:02x}".format(*background)))
        frames = _flattened(picture, background)
    icc, stated = picture.icc, picture.stated
    if picture.own is not None and kind in _WITH_16_BITS:
        frames, icc, stated = marking.as_it_was(frames, picture.own)
    elif picture.own is not None:
        detail = f"{picture.own.name} to the curve of sRGB, since {kind} holds 8 bits"
        notes.append(Note("colorspace_converted", detail))
    if picture.samples.dtype == np.uint16 and kind not in _WITH_16_BITS:
        notes.append(Note("depth_reduced", f"16 bits to 8, which is what {kind} holds"))
        frames = tuple(to_8_bits(frame) for frame in frames)
    if kind == "webp" or (kind == "avif" and frames[0].shape[2] == 2):
        frames = tuple(_in_colour(frame) for frame in frames)
    motion = picture.motion and _motion(picture.motion, kind, notes)
    samples = frames[0]
    keep = metadata == "keep"
    return replace(
        replace(picture, motion=motion).with_frames(frames),
        format=kind,
        icc=_profile(icc, samples, kind, notes),
        stated=stated,
        own=None,
        exif=_exif(picture, kind, notes, keep=keep, provenance=provenance),
        xmp=_xmp(picture, notes, keep=keep),
        iptc=_iptc(picture, kind, notes, keep=keep),
        texts=_texts(picture, kind, notes, keep=keep),
        dpi=_dpi(picture, kind) if keep else None,
        depth_bits=samples.itemsize * 8,
        notes=tuple(notes),
    )


def encode(picture: Picture, path: Path, *, kind: str, quality: int | None = None) -> None:
    """Write all that a prepared picture holds to ``path``; the same picture gives the same bytes.

    Args:
        picture: as ``prepare`` made it for this format.
        path: is replaced if it exists.
        kind: ``png``, ``jpeg``, ``webp``, ``avif`` or ``tiff``.
        quality: 1 to 100, of JPEG, WebP and AVIF; None is 92, 90 and 80.

    Raises:
        OSError: the file cannot be written.
    """
    if kind == "tiff":
        path.write_bytes(_tiff(picture))
    elif kind == "png" and picture.motion is None:
        with path.open("wb") as file:
            file.writelines(_png(picture))
    else:
        image, *later = (Image.fromarray(_flat(frame)) for frame in picture.frames)
        options = _options(picture, kind, quality)
        if picture.motion is not None:
            options |= {
                "duration": list(picture.motion.durations_ms),
                "loop": picture.motion.plays,
                "save_all": True,
                "append_images": later,
            }
        # Into a real file: then Pillow compresses without holding the interpreter's lock.
        with path.open("wb") as file:
            image.save(file, format=kind, **options)
        _finish(picture, path, kind)


def _finish(picture: Picture, path: Path, kind: str) -> None:
    """Write what Pillow cannot, and take out what it should not have written."""
    stated = picture.stated
    if kind == "avif" and (picture.motion is not None or (stated and stated.code_points)):
        data = path.read_bytes()
        if picture.motion is not None:
            data = _without_time_of_day(data)
        path.write_bytes(marking.marked_avif(data, stated))
    elif kind == "png" and (chunks := marking.png_chunks_of(stated)):
        path.write_bytes(marking.with_png_chunks(path.read_bytes(), chunks))


def _without_time_of_day(avif: bytes) -> bytes:
    """An animation whose boxes do not say when it was made, so that the same picture gives the same bytes."""
    boxes = bytearray(avif)
    # The boxes of movie, track and media begin with two times (ISO/IEC 14496-12, 8.2.2, 8.3.2, 8.4.2), of
    # four bytes or eight, behind a version and flags; all are in the box "moov".
    begin = avif.find(b"moov")
    end = begin - 4 + int.from_bytes(avif[begin - 4 : begin], "big")
    for found in re.finditer(b"mvhd|tkhd|mdhd", avif[begin:end]):
        at = begin + found.end()
        length = 16 if avif[at] == 1 else 8
        boxes[at + 4 : at + 4 + length] = bytes(length)
    return bytes(boxes)


def _motion(motion: Motion, kind: str, notes: list[Note]) -> Motion:
    """Times and rounds as the format states them."""
    plays = motion.plays
    if plays > _MOST_PLAYS[kind]:
        notes.append(
            Note("loop_dropped", f"{plays} times are more than {kind} states; it plays for ever")
        )
        plays = 0
    longest_ms = _LONGEST_MS[kind]
    if kind == "webp":
        # Its writer counts the time of all frames in 31 bits.
        longest_ms = min(longest_ms, (2**31 - 1) // len(motion.durations_ms))
    durations_ms = [min(duration_ms, longest_ms) for duration_ms in motion.durations_ms]
    if max(motion.durations_ms) > longest_ms:
        limit = f"to {longest_ms / 1000:.0f} s a frame, which is what {kind} holds"
        notes.append(Note("times_shortened", limit))
    if kind == "png":
        durations_ms = [_as_fraction(duration_ms) for duration_ms in durations_ms]
    else:
        # Whole milliseconds, with each frame beginning as near to its time as they allow.
        times = [round(time) for time in itertools.accumulate(durations_ms, initial=0)]
        durations_ms = [after - before for before, after in itertools.pairwise(times)]
    return replace(motion, durations_ms=tuple(durations_ms), plays=plays)


def _as_fraction(duration_ms: float) -> float:
    """The nearest time that is a fraction of two numbers of 16 bits, in seconds."""
    most = 65535 if duration_ms < 1000 else int(65535 * 1000 / duration_ms)
    return float(Fraction(duration_ms / 1000).limit_denominator(most) * 1000)


def _flattened(picture: Picture, background: tuple[int, int, int]) -> tuple[Samples, ...]:
    """All frames over a background, mixed in code values as browsers do; gray only over gray."""
    stays_gray = picture.is_gray and len(set(background)) == 1
    icc = picture.icc
    if icc is not None and picture.is_gray and not stays_gray:
        icc = profile_.rgb_of_gray(icc)
    under = marking.in_colours_of(picture, background, icc)
    # In 16 bits; (value + 128) // 257 is the nearest of 8 bits.
    most = int(np.iinfo(picture.samples.dtype).max)
    under = under.astype(np.uint64) if most == 65535 else (under.astype(np.uint64) + 128) // 257
    return tuple(_over(frame, under[:1] if stays_gray else under) for frame in picture.frames)


def _over(samples: Samples, under: Samples) -> Samples:
    """Colour and alpha over one colour."""
    colour, alpha = samples[:, :, :-1], samples[:, :, -1]
    most = int(np.iinfo(colour.dtype).max)
    cover = alpha[:, :, np.newaxis].astype(np.uint64)
    mixed: Samples = (colour * cover + under * (most - cover) + most // 2) // most
    return mixed.astype(colour.dtype)


def _in_colour(samples: Samples) -> Samples:
    """Gray as RGB with three equal channels."""
    if samples.shape[2] > 2:
        return samples
    gray = np.repeat(samples[:, :, :1], 3, axis=2)
    return with_alpha(gray, samples[:, :, 1] if samples.shape[2] == 2 else None)


def _profile(icc: bytes | None, samples: Samples, kind: str, notes: list[Note]) -> bytes | None:
    if icc is None:
        return None
    if profile_.is_for_gray(icc) and samples.shape[2] > 2:
        icc = profile_.rgb_of_gray(icc)
        if icc is None:
            notes.append(Note("icc_dropped", "gray became RGB, and the profile is for gray"))
            return None
    if kind == "jpeg" and len(icc) > _JPEG_ICC_BYTES:
        notes.append(Note("icc_dropped", f"{len(icc)} bytes are more than jpeg holds"))
        return None
    return icc


def _exif(
    picture: Picture,
    kind: str,
    notes: list[Note],
    *,
    keep: bool,
    provenance: Mapping[str, object] | None,
) -> bytes | None:
    """The block as it is to be written, without prefix."""
    exif = picture.exif
    if exif is not None and not keep:
        notes.append(Note("exif_dropped", f"{len(exif)} bytes"))
        exif = None
    block: bytes = b""
    lost: tuple[Note, ...] = ()
    trouble = None
    try:
        block, lost = _exif_block(picture, exif, kind, provenance)
        if kind == "jpeg" and len(block) > _JPEG_EXIF_BYTES:
            block, lost = _exif_block(picture, exif, kind, provenance, keeps_maker_note=False)
        if kind == "jpeg" and len(block) > _JPEG_EXIF_BYTES:
            trouble = f"{len(block)} bytes are more than jpeg holds"
    except exif_.DamagedExifError:
        trouble = "the block is damaged"
    if trouble is not None:
        notes.append(Note("exif_dropped", trouble))
        block, lost = _exif_block(picture, None, kind, provenance)
    notes += lost
    return block or None


def _exif_block(
    picture: Picture,
    exif: bytes | None,
    kind: str,
    provenance: Mapping[str, object] | None,
    *,
    keeps_maker_note: bool = True,
) -> tuple[bytes, tuple[Note, ...]]:
    """The block, and what was left out of it; none where there is nothing to say."""
    if exif is None and provenance is None:
        return b"", ()
    shown = exif_.Shown(
        width_px=picture.width_px,
        height_px=picture.height_px,
        magnification=picture.magnification,
        is_whole=picture.is_whole,
        is_srgb=picture.icc is None
        and picture.own is None
        and not (picture.stated and picture.stated.is_hdr),
    )
    return exif_.exif_for(
        exif,
        shown,
        # AVIF has a property for it, and Pillow would rewrite a block that states it too.
        states_orientation=kind != "avif",
        keeps_maker_note=keeps_maker_note,
        provenance=provenance,
    )


def _xmp(picture: Picture, notes: list[Note], *, keep: bool) -> bytes | None:
    if picture.xmp is None:
        return None
    if not keep:
        notes.append(Note("xmp_dropped", f"{len(picture.xmp)} bytes"))
        return None
    try:
        packet, untrue = xmp.xmp_for(
            picture.xmp,
            width_px=picture.width_px,
            height_px=picture.height_px,
            magnification=picture.magnification,
            is_whole=picture.is_whole,
        )
    except xmp.DamagedXmpError:
        notes.append(Note("xmp_dropped", "the packet is damaged"))
        return None
    if untrue:
        names = ", ".join(untrue)
        notes.append(Note("xmp_entries_dropped", f"places in another picture: {names}"))
    return packet


def _iptc(picture: Picture, kind: str, notes: list[Note], *, keep: bool) -> bytes | None:
    if picture.iptc is None:
        return None
    trouble = None
    if not keep:
        trouble = f"{len(picture.iptc)} bytes"
    elif kind not in _WITH_IPTC:
        trouble = f"{kind} has no place for it"
    elif kind == "jpeg" and len(picture.iptc) > _JPEG_IPTC_BYTES:
        trouble = f"{len(picture.iptc)} bytes are more than jpeg holds"
    if trouble is not None:
        notes.append(Note("iptc_dropped", trouble))
        return None
    return picture.iptc


def _texts(picture: Picture, kind: str, notes: list[Note], *, keep: bool) -> tuple[Text, ...]:
    texts = tuple(text for text in picture.texts if keep and _holds_text(kind, text))
    lost = list(dict.fromkeys(text.keyword for text in picture.texts if text not in texts))
    if lost:
        names = ", ".join(map(repr, lost[:_MOST_NAMED]))
        more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        why = {"png": "", "jpeg": ": jpeg holds comments of up to 65533 bytes"}
        reason = why.get(kind, f": {kind} has no place for texts") if keep else ""
        notes.append(Note("text_dropped", f"{names}{more}{reason}"))
    return texts


def _holds_text(kind: str, text: Text) -> bool:
    """Whether a format has a place for a text."""
    if kind == "jpeg":
        return text.keyword == carried.COMMENT and len(text.text.encode()) <= _JPEG_SEGMENT_BYTES
    return kind == "png"


def _dpi(picture: Picture, kind: str) -> tuple[float, float] | None:
    """Resolution where the format has a place for it, and for a number of this size."""
    if picture.dpi is None or kind not in _WITH_DPI:
        return None
    return picture.dpi if all(0.5 <= value <= 65535 for value in picture.dpi) else None


def _options(picture: Picture, kind: str, quality: int | None) -> dict[str, Any]:
    """What Pillow's writer of a format is to be told."""
    options: dict[str, Any] = {"icc_profile": picture.icc}
    if kind == "png":
        options["compress_level"] = PNG_LEVEL
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for chunk in _png_texts(picture):
            options["pnginfo"].add(*chunk)
    else:
        options["quality"] = QUALITY[kind] if quality is None else quality
    if kind == "jpeg":
        options["extra"] = _jpeg_segments(picture)
    elif kind != "png" and picture.xmp is not None:
        options["xmp"] = picture.xmp
    if kind == "avif":
        options["speed"] = _AVIF_SPEED
        if told := marking.avif_options(picture.stated):
            options["advanced"] = told
    if kind == "jpeg" and options["quality"] >= _FULL_CHROMA_QUALITY:
        options["subsampling"] = "4:4:4"
    if picture.exif is not None:
        prefix = exif_.EXIF_PREFIX if kind == "jpeg" else b""
        options["exif"] = prefix + picture.exif.removeprefix(exif_.EXIF_PREFIX)
    if picture.dpi is not None and kind in _WITH_DPI:
        options["dpi"] = picture.dpi
    return options


def _flat(samples: Samples) -> Samples:
    """(H, W) for a single channel, as writers want it."""
    return np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)


def _png(picture: Picture) -> list[bytes | memoryview]:
    """Samples by imagecodecs, and the chunks of PNG (third edition, 11.3) that it does not write."""
    pixels = bare_png(_flat(picture.samples))
    chunks = marking.png_chunks_of(picture.stated)
    if picture.icc is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi is not None:
        across, down = (int(value / 0.0254 + 0.5) for value in picture.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))  # 1: per metre
    if picture.exif is not None:
        chunks.append((b"eXIf", picture.exif.removeprefix(exif_.EXIF_PREFIX)))
    chunks += _png_texts(picture)
    return [
        pixels[:_PNG_HEADER_BYTES],
        *(metadata_.png_chunk(kind, content) for kind, content in chunks),
        pixels[_PNG_HEADER_BYTES:],
    ]


def _png_texts(picture: Picture) -> list[tuple[bytes, bytes]]:
    """Chunks of text (PNG third edition, 11.3.3), none compressed: some readers refuse to unpack long ones."""
    chunks = []
    if picture.xmp is not None:
        chunks.append((b"iTXt", metadata_.XMP_KEYWORD + bytes(5) + picture.xmp))
    texts = picture.texts
    if picture.iptc is not None:
        profile = carried.raw_profile("iptc", carried.photoshop_block(picture.iptc))
        texts += (Text(f"{carried.RAW_PROFILE}iptc", profile),)
    for text in texts:
        keyword = text.keyword.encode("latin-1") + b"\0"
        if text.language or text.translated_keyword or not _is_latin_1(text.text):
            names = (text.language.encode("latin-1"), text.translated_keyword.encode(), b"")
            chunks.append((b"iTXt", keyword + bytes(2) + b"\0".join(names) + text.text.encode()))
        else:
            chunks.append((b"tEXt", keyword + text.text.encode("latin-1")))
    return chunks


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _jpeg_segments(picture: Picture) -> bytes:
    """XMP, IPTC and comments, as segments."""
    segments = []
    if picture.xmp is not None:
        packet, extension = xmp.split(picture.xmp, _JPEG_XMP_BYTES)
        segments.append((0xE1, carried.XMP_PREFIX + packet))
        for at in range(0, len(extension or b""), _JPEG_EXTENSION_BYTES):
            part = (extension or b"")[at : at + _JPEG_EXTENSION_BYTES]
            place = struct.pack(">2I", len(extension or b""), at)
            head = carried.EXTENSION_PREFIX + xmp.guid(extension or b"").encode() + place
            segments.append((0xE1, head + part))
    if picture.iptc is not None:
        block = carried.photoshop_block(picture.iptc)
        segments.append((0xED, carried.PHOTOSHOP_PREFIX + block))
    segments += [(0xFE, text.text.encode()) for text in picture.texts]
    return b"".join(
        struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content
        for marker, content in segments
    )


def bare_png(samples: Samples) -> memoryview:
    """A PNG file of samples of 8 or 16 bits alone, without Pillow's copy of them."""
    # Room of our own, since of the codec's own it makes a copy, and has too little for noise in short rows. What
    # nobody writes to takes no memory.
    room: Any = np.empty((samples.nbytes + len(samples)) * 5 // 4 + 4096, np.uint8)
    return memoryview(
        imagecodecs.png_encode(
            samples, level=PNG_LEVEL, strategy=_PNG_STRATEGY, filter=_PNG_FILTER, out=room
        )
    )


def _tiff(picture: Picture) -> bytes:
    """Deflated, with what differs from the pixel before it, in strips."""
    file = BytesIO()
    tifffile.imwrite(
        file,
        _flat(picture.samples),
        byteorder="<" if picture.exif is None else exif_.byte_order(picture.exif),
        photometric="minisblack" if picture.is_gray else "rgb",
        planarconfig="contig" if picture.samples.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if picture.has_alpha else None,
        compression="adobe_deflate",
        predictor=True,
        iccprofile=picture.icc,
        resolution=picture.dpi,
        resolutionunit=None if picture.dpi is None else "inch",
        software=False,  # else tifffile signs the file
        metadata=None,
        extratags=[
            (tag, type_, len(block), block, True)
            for tag, type_, block in ((exif_.XMP, 1, picture.xmp), (exif_.IPTC, 7, picture.iptc))
            if block is not None
        ],
    )
    data = file.getvalue()
    return data if picture.exif is None else exif_.with_exif(data, picture.exif)
