"""Decodes TIFF with tifffile, or with Pillow if the compression is fax or JPEG."""

from __future__ import annotations

from PIL import UnidentifiedImageError

from enlarger.errors import UnreadableImage
from enlarger.picture import pages, tiff
from enlarger.picture.decoders.opening import opened
from enlarger.picture.decoders.samples import channels_of
from enlarger.picture.decoders.stored import Stored, check_memory, dpi_or_none
from enlarger.picture.metadata import read_metadata
from enlarger.picture.stated import stated


def from_tiff(data: bytes) -> Stored:
    """Decode the main page of a TIFF.

    Raises:
        UnsupportedFormat: the samples are stored in a way that is not read here.
        UnreadableImage: the file is broken, or takes too much memory.
    """
    page = pages.main_page(data)
    data = page.file
    header = tiff.header(data)
    check_memory(
        header.width_px, header.height_px, depth_bits=header.depth_bits, channels=header.channels
    )
    if header.is_unpacked_here:
        channels, alpha = tiff.samples(data, header)
        space = header.space
    else:
        try:
            with opened(tiff.for_pillow(data, header)) as image:
                image.load()
                channels, alpha, space = channels_of(image, data)
        except UnidentifiedImageError as error:
            raise tiff.unsupported_layout(header) from error
    if channels.shape[1::-1] != (header.width_px, header.height_px):
        raise UnreadableImage("the pixels do not have the size that the header says")
    found = read_metadata(data, "tiff", exif=None, xmp=header.xmp)
    found.notes += [*page.notes, *header.notes]
    return Stored(
        format="tiff",
        colour=channels,
        alpha=alpha,
        space=space,
        depth_bits=header.depth_bits,
        orientation=header.orientation,
        frames=page.full_pages,
        choice=page.choice,
        icc=header.icc,
        stated=stated(data, "tiff", exif_block=found.exif),
        metadata=found,
        dpi=dpi_or_none(header.dpi),
    )
