"""Tags of EXIF 3.0, 4.6, and of TIFF 6.0, by what they speak of."""

from __future__ import annotations

from collections.abc import Mapping

from PIL.ExifTags import TAGS

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
XMP, IPTC, PHOTOSHOP = 0x02BC, 0x83BB, 0x8649
SOFTWARE, WIDTH, HEIGHT = 0x0131, 0x0100, 0x0101
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
EXIF_WIDTH, EXIF_HEIGHT, USER_COMMENT, MAKER_NOTE = 0xA002, 0xA003, 0x9286, 0x927C
RELATED_WIDTH, RELATED_HEIGHT = 0x1001, 0x1002
COLOUR_SPACE, GAMMA, INDEX = 0xA001, 0xA500, 0x0001

CALIBRATION = (0x012D, 0x013E, 0x013F)
"""TransferFunction, WhitePoint and PrimaryChromaticities."""

SRGB_SPACE, ADOBE_SPACE = 1, 2
"""Values of ColorSpace. The second is in no standard, but cameras write it."""

SUBJECT_PLACES = (0x9214, 0xA214)
"""SubjectArea and SubjectLocation: a point in pixels, followed by a diameter or by a width and height."""

PIXELS_PER_UNIT = {0xA20E: 0, 0xA20F: 1}
"""FocalPlaneXResolution and FocalPlaneYResolution: pixels of the picture per unit of the sensor, by axis."""

INCHES_PER_UNIT = {2: 1.0, 3: 1 / 2.54}
"""By ResolutionUnit: inch, which is the default, and centimetre."""

OFFSET_SCHEMA = 0xEA1D
"""How far Windows has moved the maker's note. It is dropped, since the note does not move here."""

DIRECTORIES = (EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY)
STRIP_OFFSETS = 0x0111
THUMBNAIL, THUMBNAIL_BYTES = 0x0201, 0x0202

OF_SAMPLES = frozenset(
    {0x0111, 0x0116, 0x0117, 0x014A, 0x0144, 0x0145, 0x0201, 0x0202, 0x8773, OFFSET_SCHEMA}
)
"""Tags that point to samples or to further pictures, or state their colours. A block for another file must not hold
them."""

NOTED_ALONE = {0x8773: "icc_dropped", XMP: "xmp_dropped", IPTC: "iptc_dropped"}
"""Codes of notes for damaged blocks that have a place of their own."""

ELSEWHERE = frozenset({XMP, IPTC, PHOTOSHOP})
"""Blocks with a place of their own that some programs repeat inside EXIF. They are read from there, and written in
their own place."""

OF_LAYOUT = frozenset(
    {
        *range(0x00FE, 0x010B),  # kind of page, size, depth, compression, colour, thresholds
        *(0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119, 0x011A, 0x011B, 0x011C),
        *range(0x0120, 0x0126),  # free blocks, gray response, options of fax
        *(0x0128, 0x0129, 0x012D, 0x013D, 0x013E, 0x013F, 0x0140, 0x0141),
        *range(0x0142, 0x014B),  # tiles and SubIFDs
        *range(0x014C, 0x0160),  # inks, extra samples, sample format and ranges, JPEG tables
        *range(0x0200, 0x020A),  # JPEG of TIFF 6.0
        *(0x0211, 0x0212, 0x0213, 0x0214, 0x022F),
        *(0x80E3, 0x80E4, 0x80E5, 0x80E6, 0x8773),
        *ELSEWHERE,
    }
)
"""Tags of a TIFF's first directory that say how its samples are stored, or hold blocks with a place of their own."""

OF_PHOTO = frozenset(
    {
        *(0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298),
        *(0x4746, 0x4749, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0xC4A5),
        *(EXIF_DIRECTORY, GPS_DIRECTORY),
    }
)
"""Tags of a TIFF's first directory that describe the photo: names, description, camera, software, time, artist,
computer, copyright, rating, titles of Windows, settings of printing, and the directories of EXIF and GPS."""


def tag_name(tag: int, names: Mapping[int, str] = TAGS) -> str:
    """Return a tag for people: its name, if it has one, and its number."""
    name = names.get(tag)
    return f"0x{tag:04X}" if name is None else f"{name} (0x{tag:04X})"
