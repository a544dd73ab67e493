"""Links that stand in for a key until a certain time, for pages that show pictures and must not show a key.

``/v1/upscale?url=...&expires=1795343700&kid=shop&sig=...``: the signature is HMAC-SHA256 over the request target as it
is sent, up to but without ``&sig=``, in base64 for URLs without padding.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from enlarger.api.routes import SIGNED_FOLDER
from enlarger.config import SigningKey
from enlarger.errors import SignatureExpired, SignatureInvalid

_SIGNED = re.compile(
    rb"(.*)[?&]expires=([0-9]{1,15})&kid=([A-Za-z0-9._-]{1,64})&sig=([A-Za-z0-9_-]{43})", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Link:
    """What a signed target says."""

    target: bytes
    """What was asked for, before it was signed."""

    kid: str
    """Name of the key."""


def sign(target: str, *, kid: str, secret: str, expires_at: int) -> str:
    """A request target that stands in for a key.

    Args:
        target: path and query as they are sent: ASCII, with ``%`` before what has to be quoted.
        kid: name of the key.
        secret: the key.
        expires_at: Unix time from which on the link is refused.
    """
    joint = "&" if "?" in target else "?"
    signed = f"{target}{joint}expires={expires_at}&kid={kid}"
    return f"{signed}&sig={_signature(signed.encode('ascii'), secret)}"


def prefix_of(path: str, public_path: str) -> str | None:
    """What a proxy takes off a path before the gateway sees it, which is not signed; None: no such path can be signed.

    Args:
        path: of a link, as its callers see it.
        public_path: that of ``ENLARGER_PUBLIC_URL``, or ``/``.
    """
    prefix = public_path.rstrip("/")
    if path.startswith(prefix + SIGNED_FOLDER):
        return prefix
    # Where the link is signed, that setting may not be known.
    before, found, _ = path.rpartition(SIGNED_FOLDER)
    return before if found else None


def check(target: bytes, keys: Sequence[SigningKey], *, now: float) -> Link:
    """What a signed target asks for, and with which key.

    Args:
        target: path and query as they were sent.
        keys: all that are valid; of one name there may be several.
        now: Unix time.

    Raises:
        SignatureInvalid: it is not signed with any of the keys, or not as it stands.
        SignatureExpired: its time has passed.
    """
    match = _SIGNED.fullmatch(target)
    if match is None:
        raise SignatureInvalid("a signed link ends in expires=<unix>&kid=<name>&sig=<signature>")
    asked, expires_at, kid, signature = match.groups()
    signed = target[: match.start(4) - len(b"&sig=")]
    # The texts are compared, not the bytes that they stand for: the last sign of base64 has two bits too many.
    if not any(
        hmac.compare_digest(_signature(signed, key.secret.get_secret_value()), signature.decode())
        for key in keys
        if key.kid == kid.decode()
    ):
        raise SignatureInvalid(
            "the link is not as it was signed, or its key is not known here (any more)"
        )
    if now >= int(expires_at):
        raise SignatureExpired("the link's time is over: ask for a new one where you got it")
    return Link(asked, kid.decode())


def _signature(signed: bytes, secret: str) -> str:
    digest = hmac.digest(secret.encode("ascii"), signed, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
