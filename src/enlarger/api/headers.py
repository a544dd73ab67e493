"""Headers that all answers have, and those that pages of other origins may use."""

from __future__ import annotations

from enlarger.api.v1.answers import FIDELITY_HEADERS

GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""A browser may show an answer as what its type says it is, and do nothing else with it."""

SENT = (
    *("Authorization", "X-API-Key", "X-Request-Id", "Content-Type", "Content-Encoding", "Accept"),
    *("If-None-Match", "If-Range", "Range", "Cache-Control", "Prefer", "Idempotency-Key"),
    *("Last-Event-ID", "traceparent"),
)
"""Headers of a request that a page of another origin may send."""

EXPOSED = (
    *("X-Request-Id", "Location", "Retry-After", "ETag", "Content-Disposition", "Allow"),
    *("WWW-Authenticate", "Server-Timing", "RateLimit", "RateLimit-Policy", "Preference-Applied"),
    *("Idempotency-Replayed", "X-Upscale-Placeholder", "Accept-Ranges", "Content-Range", "Expires"),
    *FIDELITY_HEADERS,
)
"""Headers of an answer that a page of another origin may read."""
