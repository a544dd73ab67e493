"""The EXIF block of a photograph."""

from __future__ import annotations

import struct

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from support.pictures import encoded, noise

MAKER_NOTE = bytes(range(256)) * 2


def photo_exif(order: str = "<") -> bytes:
    """What a camera writes: orientation, camera, time, place, maker's note, size, and a thumbnail."""
    exif = Image.Exif()
    exif.endian = order
    exif[Base.Orientation] = 6
    exif[Base.Make] = "Maker"
    exif[Base.ImageWidth] = 40
    exif[Base.XResolution] = 300.0
    details = exif.get_ifd(IFD.Exif)
    details[Base.DateTimeOriginal] = "2020:02:03 04:05:06"
    details[Base.ExifImageWidth] = 40
    details[Base.ExifImageHeight] = 30
    details[Base.ExposureTime] = 0.004
    details[Base.MakerNote] = MAKER_NOTE
    place = exif.get_ifd(IFD.GPSInfo)
    place[GPS.GPSLatitudeRef] = "N"
    place[GPS.GPSLatitude] = (51.0, 2.0, 3.5)
    block = bytearray(exif.tobytes())
    # The directory of a thumbnail, linked behind the first as a camera does it.
    (entries,) = struct.unpack_from(f"{order}H", block, 6 + 8)
    struct.pack_into(f"{order}I", block, 6 + 8 + 2 + 12 * entries, len(block) - 6)
    thumbnail = encoded(noise(8, 8, 3), "JPEG")
    at = len(block) - 6 + 2 + 2 * 12 + 4
    block += struct.pack(f"{order}H", 2)
    block += struct.pack(f"{order}HHII", 0x0201, 4, 1, at)
    block += struct.pack(f"{order}HHII", 0x0202, 4, 1, len(thumbnail))
    return bytes(block + bytes(4) + thumbnail)
