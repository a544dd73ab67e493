"""Pictures: bytes to samples and back, and what a picture carries besides."""

from enlarger.picture.values import FORMATS, Header, Note, Picture

__all__ = ["FORMATS", "Header", "Note", "Picture"]
