"""Namespaces of XMP, and the prefixes that they usually have."""

from __future__ import annotations

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
XMP = "http://ns.adobe.com/xap/1.0/"
NOTE = "http://ns.adobe.com/xmp/note/"
PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"

USUAL_PREFIXES = {
    "rdf": RDF,
    "tiff": TIFF,
    "exif": EXIF,
    "xmp": XMP,
    "xmpNote": NOTE,
    "GPano": PANORAMA,
    "GCamera": CAMERA,
    "Container": CONTAINER,
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
}
"""Namespaces by prefix, for packets that do not declare them."""
