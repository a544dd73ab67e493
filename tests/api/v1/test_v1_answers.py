"""What ``/v1`` answers: negotiation."""

from __future__ import annotations

import pytest

from enlarger.api.v1.answers import negotiate
from enlarger.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "format_", "kind", "made"),
    [
        (None, None, "image", None),
        (None, "webp", "image", "webp"),
        ("*/*", None, "image", None),
        ("*/*", "auto", "image", "auto"),
        ("image/*", None, "image", None),
        ("image/*", "avif", "image", "avif"),
        ("image/webp", None, "image", "webp"),
        ("image/jpeg", "auto", "image", "jpeg"),
        ("image/tiff, image/avif;q=0.9", None, "image", "tiff"),
        # A browser's, for <img>: of what it likes equally, the one that is written sooner.
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", None, "image", "webp"),
        ("image/avif,image/webp,*/*;q=0.8", "png", "image", "png"),
        ("text/html, image/png;q=0.5", None, "image", "png"),
        ("image/jpg", None, "image", "jpeg"),
        ("IMAGE/JPG", "auto", "image", "jpeg"),
        ("image/jpg", "jpeg", "image", "jpeg"),
        ("image/pjpeg;q=0.5, text/html", None, "image", "jpeg"),
        ("image/x-png, image/jpg;q=0.9", None, "image", "png"),
        ("image/tif", None, "image", "tiff"),
        ("application/json", None, "json", None),
        ("application/json", "webp", "json", "webp"),
        ("application/json, image/png;q=0.5", None, "json", None),
        ("application/json;q=0.1, image/png", None, "image", "png"),
        ("application/*", None, "json", None),
        ("application/octet-stream", None, "image", None),
        ("application/octet-stream", "webp", "image", "webp"),
        ("application/octet-stream, application/json;q=0.5", "auto", "image", "auto"),
        ("application/json, application/octet-stream;q=0.5", None, "json", None),
        ("image/webp, application/octet-stream;q=0.5", None, "image", "webp"),
    ],
)
def test_answer_is_what_the_caller_accepts(
    accept: str | None, format_: str | None, kind: str, made: str | None
) -> None:
    """The picture unless JSON is preferred; in the format that is named, else in that of the option."""
    assert negotiate(accept, format_) == (kind, made)


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("text/html", None),
        ("image/gif", None),
        ("image/webp", "png"),
        ("image/png;q=0", "png"),
        ("image/jpg", "png"),
        ("image/jpg;q=0", "jpeg"),
        ("text/event-stream", None),
    ],
)
def test_what_nobody_accepts_is_not_made(accept: str, format_: str | None) -> None:
    """406, before anything is computed; the text says what there is."""
    with pytest.raises(NotAcceptable) as refusal:
        negotiate(accept, format_)
    assert "application/json" in str(refusal.value)
