"""What ``/v1`` answers: the picture itself with its facts in headers, or a JSON object."""

from __future__ import annotations

from typing import Any, Literal

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from enlarger.api.facts import facts_of, link_of
from enlarger.errors import NotAcceptable
from enlarger.picture.encode import MEDIA_TYPES, suffix_of
from enlarger.pipeline import Outcome

_JSON = "application/json"
_WRITTEN = ("png", "jpeg", "webp", "avif", "tiff")
_TYPES = {MEDIA_TYPES[suffix_of(name)]: name for name in _WRITTEN}
"""Format by media type."""

Kind = Literal["json", "image"]


def negotiate(accept: str | None, format_: str | None) -> tuple[Kind, str | None]:
    """What is answered, and the format of the picture.

    Args:
        accept: the header.
        format_: the option, which wins where both leave a choice.

    Raises:
        NotAcceptable: nothing that the caller accepts can be made, or not in that format.
    """
    accepted = parse_accept_header(accept, MIMEAccept) if accept else MIMEAccept([("*/*", 1)])
    own = suffix_type(format_) if format_ not in (None, "auto") else None
    offers = [own] if own else list(_TYPES)
    best = accepted.best_match([*offers, _JSON])
    if best is None:
        raise NotAcceptable(
            f"there is {', '.join([*offers, _JSON])}; the request accepts none of these"
        )
    if best == _JSON:
        return "json", format_
    # A wildcard names no type: then the option decides, and without it PNG.
    named = any(value == best for value, quality in accepted if quality > 0)
    return "image", _TYPES[best] if named and own is None else format_


def suffix_type(format_: str | None) -> str:
    """Media type of a format."""
    return MEDIA_TYPES[suffix_of(format_ or "png")]


def fidelity_headers(outcome: Outcome) -> dict[str, str]:
    """What is known of a picture, for an answer that is the picture itself."""
    ran = outcome.ran
    return {
        "X-Upscale-Model": ran.model,
        "X-Upscale-Model-Sha256": ran.model_sha256,
        "X-Upscale-Scale": f"{outcome.scale:.6g}",
        "X-Upscale-Engine": ran.engine,
        "X-Upscale-Precision": ran.precision,
        "X-Upscale-Tiles": f"{ran.tiles};servers={len(ran.tiles_by_server)};retried={ran.retried};"
        f"repeated={ran.repeated.total()};reused={ran.reused}",
        "X-Upscale-Notes": ", ".join(dict.fromkeys(note.code for note in outcome.notes)),
        "X-Upscale-Kept": ", ".join(outcome.kept),
        "X-Upscale-Color-Delta": f"{ran.color_delta:.2f}",
        "X-Upscale-Cache": outcome.found,
        "X-Origin-Width": str(outcome.header.width_px),
        "X-Origin-Height": str(outcome.header.height_px),
        "X-Result-Width": str(outcome.width_px),
        "X-Result-Height": str(outcome.height_px),
    }


def result_object(
    outcome: Outcome, *, sha256: str, left_s: float, public_url: str | None, request_id: str
) -> dict[str, Any]:
    """The JSON of a finished request."""
    stored = outcome.stored
    return {
        "result": {
            **link_of(outcome, left_s=left_s, public_url=public_url),
            "media_type": MEDIA_TYPES[stored.path.suffix],
            "bytes": stored.size_bytes,
            "sha256": sha256,
            "width": outcome.width_px,
            "height": outcome.height_px,
            "scale": round(outcome.scale, 6),
        },
        "input": {
            "width": outcome.header.width_px,
            "height": outcome.header.height_px,
            "bytes": outcome.input_bytes,
            "format": outcome.header.format,
        },
        **facts_of(outcome),
        "timing_ms": {
            **{stage: round(took_s * 1000) for stage, took_s in outcome.stages_s.items()},
            "total": round(outcome.took_s * 1000),
        },
        "request_id": request_id,
    }
