"""From an enlarged picture to what its file will hold, and what of the input that keeps."""

from __future__ import annotations

from enlarger.job import Options
from enlarger.picture.encode import prepare
from enlarger.picture.values import Picture
from enlarger.pipeline.enlarging import Enlarged


def finished(enlarged: Enlarged, options: Options, *, kind: str) -> Picture:
    """The picture as it is written: metadata kept or dropped, depth and alpha as the format has them.

    Raises:
        InvalidOption: the format cannot hold it.
    """
    return prepare(
        enlarged.picture,
        kind=kind,
        metadata=options.metadata,
        background=options.background_rgb,
        provenance=_provenance(enlarged, options) if options.provenance else None,
    )


def _provenance(enlarged: Enlarged, options: Options) -> dict[str, object]:
    ran = enlarged.ran
    return {
        "model": ran.model,
        "model_sha256": ran.model_sha256,
        "engine": ran.engine,
        "precision": ran.precision,
        "color_lock": options.color_lock,
        "width": enlarged.picture.width_px,
        "height": enlarged.picture.height_px,
    }


def kept(picture: Picture, written: Picture) -> tuple[str, ...]:
    """Names of what the input had and the file has."""
    facts = {
        "alpha": picture.has_alpha and written.has_alpha,
        "gray": picture.is_gray and written.is_gray,
        "depth_16": picture.samples.itemsize == 2 and written.samples.itemsize == 2,
        # Not one that was made here of another statement.
        "icc": bool(picture.icc and written.icc and picture.stated is None),
        "exif": bool(picture.exif and written.exif),
        "xmp": bool(picture.xmp and written.xmp),
        "iptc": bool(picture.iptc and written.iptc),
        "text": bool(picture.texts and written.texts),
        "dpi": bool(picture.dpi and written.dpi),
        "animation": bool(picture.motion and written.motion),
    }
    return tuple(name for name, holds in facts.items() if holds)
