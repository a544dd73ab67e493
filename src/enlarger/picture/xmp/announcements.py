"""Properties that announce gain maps, videos and further pictures in the same file. Results do not have these."""

from __future__ import annotations

import re
from dataclasses import dataclass

from enlarger.picture.xmp.namespaces import CONTAINER, RDF
from enlarger.picture.xmp.packet import Packet, in_utf8

_OF_GAIN_MAPS = frozenset(
    {
        "http://ns.adobe.com/hdr-gain-map/1.0/",
        "http://ns.apple.com/HDRGainMap/1.0/",
        "http://ns.apple.com/pixeldatainfo/1.0/",
    }
)
_OF_VIDEOS = frozenset({"http://ns.oplus.com/photos/1.0/camera/"})

_OF_ATTACHMENTS = frozenset(
    {
        CONTAINER,
        "http://ns.google.com/photos/1.0/container/item/",
        "http://ns.google.com/photos/dd/1.0/container/",
        "http://ns.google.com/photos/dd/1.0/device/",
        "http://ns.google.com/photos/dd/1.0/item/",
    }
)
"""Namespaces whose properties only announce what follows the picture in its file."""

_VIDEO = re.compile(r"MotionPhoto|MicroVideo|OLivePhoto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What follows the picture in its file, according to a packet."""

    gain_map: bool = False
    video: bool = False
    others: bool = False


def without_announcements(xmp: bytes) -> tuple[bytes, Announced]:
    """Return a packet without its announcements, and what it announced.

    A packet that has no other properties becomes empty.

    Raises:
        DamagedXmpError: the packet cannot be read.
    """
    packet = Packet(in_utf8(xmp))
    gain_map = video = others = False
    says_more = False
    parts = [part for part in packet.properties() if part.name != (RDF, "about")]
    for part in parts:
        namespace, name = part.name
        if namespace in _OF_ATTACHMENTS:
            said = packet.bytes_of(part.span)
            if b"GainMap" in said or b"RecoveryMap" in said:
                gain_map = True
            elif b"MotionPhoto" in said:
                video = True
            elif said.count(b"Semantic") > 1 or b"Length" in said:
                others = True
        elif namespace in _OF_GAIN_MAPS:
            gain_map = True
        elif namespace in _OF_VIDEOS or _VIDEO.match(name):
            video = True
        else:
            says_more = True
            continue
        packet.remove(part)
    announced = Announced(gain_map=gain_map, video=video, others=others)
    return (packet.changed() if says_more or not parts else b""), announced
