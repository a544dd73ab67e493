"""Encodes TIFF with tifffile."""

from __future__ import annotations

import logging
from io import BytesIO

import tifffile

from enlarger.picture import exif
from enlarger.picture.values import Picture, flat

# The operator need not see what the library logs about a picture.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def tiff_file(picture: Picture) -> bytes:
    """Return a TIFF file: strips of differences between neighbouring pixels, compressed by deflate."""
    file = BytesIO()
    tifffile.imwrite(
        file,
        flat(picture.samples),
        byteorder="<" if picture.exif is None else exif.byte_order(picture.exif),
        photometric="minisblack" if picture.is_gray else "rgb",
        planarconfig="contig" if picture.samples.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if picture.has_alpha else None,
        compression="adobe_deflate",
        predictor=True,
        iccprofile=picture.icc,
        resolution=picture.dpi,
        resolutionunit=None if picture.dpi is None else "inch",
        software=False,  # otherwise tifffile names itself in the file
        metadata=None,
        extratags=[
            (tag, type_, len(block), block, True)
            for tag, type_, block in ((exif.XMP, 1, picture.xmp), (exif.IPTC, 7, picture.iptc))
            if block is not None
        ],
    )
    data = file.getvalue()
    return data if picture.exif is None else exif.with_exif(data, picture.exif)
