"""Who calls: by the key they show, or by the address they come from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from enlarger.config import ApiKey, Network
from enlarger.errors import Unauthorized
from enlarger.web.bodies import AsgiApp, Receive, Scope, Send

OPEN_PATHS = ("/health", "/health-check", "/livez", "/readyz")
"""What anybody may ask: an orchestrator has no key."""

OPEN_FOLDERS = ("/files/",)
"""The name of a result is the permission to read it."""

_SCOPE_KEY = "enlarger.caller"

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with limits and results of their own."""

    id: str
    """``key:<name>``, or ``address:<ip>``."""

    has_key: bool


class Callers:
    """Tells callers apart.

    Args:
        keys: of those who may call; none lets everybody call.
        proxies: whose ``X-Forwarded-For`` is believed.
    """

    def __init__(self, keys: Sequence[ApiKey], proxies: Sequence[Network] = ()) -> None:
        self._keys = keys
        self._proxies = proxies

    def identify(self, scope: Scope) -> Caller:
        """The caller of a request.

        Raises:
            Unauthorized: keys are needed here, and the request has none of them.
        """
        headers = [(name.lower(), value.decode("latin1")) for name, value in scope["headers"]]
        if self._keys:
            name = self._name_of(_shown_key(headers))
            if name is not None:
                return Caller(f"key:{name}", has_key=True)
            if not _is_open(scope["path"]):
                raise Unauthorized(
                    "an API key is needed: send it as 'Authorization: Bearer <key>' or as 'X-API-Key: <key>'"
                )
        return Caller(f"address:{self._address(scope, headers)}", has_key=False)

    def _name_of(self, key: str | None) -> str | None:
        """Whose key it is. All are compared, each in constant time, so that the time tells nothing."""
        digest = hashlib.sha256((key or "").encode("latin1")).hexdigest()
        names = [known.name for known in self._keys if hmac.compare_digest(known.sha256, digest)]
        return names[0] if names and key else None

    def _address(self, scope: Scope, headers: Iterable[tuple[bytes, str]]) -> str:
        """The peer; behind a proxy of ours the last address in front of it that is none of our proxies."""
        address = scope["client"][0] if scope.get("client") else "unknown"
        forwarded = ",".join(value for name, value in headers if name == b"x-forwarded-for")
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        while hops and self._is_proxy(address):
            address = hops.pop()
        return _normal(address)

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(_normal(address))
        except ValueError:
            return False
        return any(ip in network for network in self._proxies if network.version == ip.version)

    def gate(self, app: AsgiApp, refuse: Callable[[Scope, Unauthorized], Answer]) -> AsgiApp:
        """``app``, for those who may call. Others are answered before a byte of their body is read."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                try:
                    scope[_SCOPE_KEY] = self.identify(scope)
                except Unauthorized as error:
                    status, headers, body = refuse(scope, error)
                    headers = [*headers, (b"content-length", str(len(body)).encode())]
                    headers.append((b"connection", b"close"))
                    await send(
                        {"type": "http.response.start", "status": status, "headers": headers}
                    )
                    await send({"type": "http.response.body", "body": body, "more_body": False})
                    return
            await app(scope, receive, send)

        return gated


def caller_of(scope: Mapping[str, object]) -> Caller:
    """The caller of a request that came through the gate."""
    return cast(Caller, scope[_SCOPE_KEY])


def _shown_key(headers: Iterable[tuple[bytes, str]]) -> str | None:
    """The key of ``Authorization`` or of ``X-API-Key``; a password, for clients that have nothing else, is one too."""
    found = dict(headers)
    scheme, _, key = found.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return found.get(b"x-api-key") or (_password(key) if scheme.lower() == "basic" else None)


def _password(credentials: str) -> str | None:
    """The password of HTTP basic authentication, whoever the user is."""
    try:
        return (
            base64.b64decode(credentials.strip(), validate=True).decode("latin1").partition(":")[2]
        )
    except ValueError:
        return None


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _normal(address: str) -> str:
    """One text for an address however it is written; what is none stays, cut short."""
    try:
        ip = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address[:64]
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)
