"""Callers are identified by their API key, by a signed link, or by their address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from enlarger.api.forwarded import Address, address_of, addresses
from enlarger.api.routes import is_open, may_be_signed
from enlarger.api.signing import check
from enlarger.asgi.access import note
from enlarger.asgi.messages import Answer, AsgiApp, Receive, Scope, Send, answer_early
from enlarger.config import ApiKey, Network, SigningKey
from enlarger.errors import RequestError, SignatureExpired, SignatureInvalid, Unauthorized

_SCOPE_KEY = "enlarger.caller"

_HOW = "send it as 'Authorization: Bearer <key>' or as 'X-API-Key: <key>'"
_NO_KEY = f"an API key is needed: {_HOW}"
_UNKNOWN_KEY = (
    f"the API key is not known here: it is mistyped, or was withdrawn; ask the operator, and {_HOW}"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A client with its own rate limit and its own results."""

    id: str
    """``key:<name>``, ``link:<name of its key>``, ``address:<ip>``, or for IPv6 ``address:<network>/64``."""

    has_key: bool
    """Whether the request has a key, its own or that of a signed link."""

    @property
    def owner(self) -> str:
        """The owner of this caller's results and jobs: its key, or nobody in particular where it has none."""
        return self.id if self.has_key else ""

    @property
    def is_key(self) -> bool:
        """Whether the request has a key of its own."""
        return self.id.startswith("key:")

    @property
    def is_link(self) -> bool:
        """Whether the request is a signed link, which may see whatever it names."""
        return self.id.startswith("link:")


class Callers:
    """Identifies the caller of each request.

    Args:
        keys: the API keys. Without any, everybody may call.
        proxies: networks of the proxies that are trusted to name their peers.
        signing_keys: keys of links that stand in for an API key.
        proxy_header: the header in which these proxies name their peers, in lower case. No other one is read.
    """

    def __init__(
        self,
        keys: Sequence[ApiKey],
        proxies: Sequence[Network] = (),
        signing_keys: Sequence[SigningKey] = (),
        proxy_header: str = "x-forwarded-for",
    ) -> None:
        self._keys = keys
        self._proxies = proxies
        self._signing_keys = signing_keys
        self._proxy_header = proxy_header

    def admitted(self, scope: Scope) -> Scope:
        """A request with its caller, for ``caller_of``, and without its signature, which is not an option of a picture.

        Raises:
            Unauthorized: the path needs a key, and the request has none that is known.
            SignatureInvalid, SignatureExpired: the request is a signed link that is not valid, or not any more.
        """
        target = _signed_target(scope) if self._signing_keys else None
        if target is None:
            return {**scope, _SCOPE_KEY: self.identify(scope)}
        link = check(target, self._signing_keys, now=time.time())
        return {
            **scope,
            _SCOPE_KEY: Caller(f"link:{link.kid}", has_key=True),
            "query_string": link.target.partition(b"?")[2],
        }

    def identify(self, scope: Scope) -> Caller:
        """The caller of a request that is not a signed link.

        Raises:
            Unauthorized: the path needs a key, and the request has none that is known.
        """
        headers = [(name.lower(), value.decode("latin1")) for name, value in scope["headers"]]
        if self._keys:
            key = _shown_key(headers)
            name = self._name_of(key)
            if name is not None:
                return Caller(f"key:{name}", has_key=True)
            if not is_open(scope["path"]):
                raise Unauthorized(_UNKNOWN_KEY if key else _NO_KEY)
        return Caller(f"address:{_counted(self._address(scope, headers))}", has_key=False)

    def _name_of(self, key: str | None) -> str | None:
        """The name of a key. All keys are compared, each in constant time, so that the time reveals nothing."""
        digest = hashlib.sha256((key or "").encode("latin1")).hexdigest()
        names = [known.name for known in self._keys if hmac.compare_digest(known.sha256, digest)]
        return names[0] if names and key else None

    def address(self, scope: Scope) -> str:
        """The address that a request comes from, as far as trusted proxies name it."""
        headers = [(name.lower(), value.decode("latin1")) for name, value in scope["headers"]]
        return str(self._address(scope, headers))

    def _address(self, scope: Scope, headers: Iterable[tuple[bytes, str]]) -> Address | str:
        """The nearest address that is not a trusted proxy, or what the server knows of the peer where that is no address.

        Each trusted proxy is believed about its own peer, and about nothing else. If it names no address, all such
        callers count as that proxy: a name that a caller makes up for each request must not be a new caller.
        """
        peer = scope["client"][0] if scope.get("client") else ""
        address = address_of(peer)
        if address is None:
            return peer or "unknown"
        name = self._proxy_header.encode()
        text = ",".join(value for header, value in headers if header == name)
        hops = addresses(self._proxy_header, text)
        while self._is_proxy(address) and (hop := next(hops, None)) is not None:
            address = hop
        return address

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)

    def gate(self, app: AsgiApp, refuse: Callable[[Scope, RequestError], Answer]) -> AsgiApp:
        """``app`` for callers with access. Others are refused before any of their body is read."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                try:
                    scope = self.admitted(scope)
                    caller = caller_of(scope)
                    note(scope, caller=caller.id if caller.has_key else None)
                except (Unauthorized, SignatureInvalid, SignatureExpired) as error:
                    await answer_early(refuse(scope, error), scope, receive, send)
                    return
            await app(scope, receive, send)

        return gated


def caller_of(scope: Mapping[str, object]) -> Caller:
    """The caller of a request that came through the gate."""
    return cast(Caller, scope[_SCOPE_KEY])


def _signed_target(scope: Scope) -> bytes | None:
    """Path and query as they were sent, if they claim to be signed."""
    query = scope["query_string"]
    is_signed = (
        scope["method"] in ("GET", "HEAD")
        and may_be_signed(scope["path"])
        and any(part.startswith(b"sig=") for part in query.split(b"&"))
    )
    return scope["raw_path"] + b"?" + query if is_signed else None


def _shown_key(headers: Iterable[tuple[bytes, str]]) -> str | None:
    """The key in ``Authorization`` or ``X-API-Key``. The password of basic authentication is one too."""
    found = dict(headers)
    scheme, _, key = found.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return found.get(b"x-api-key") or (_password(key) if scheme.lower() == "basic" else None)


def _password(credentials: str) -> str | None:
    """The password of HTTP basic authentication, whatever the user name is."""
    try:
        return (
            base64.b64decode(credentials.strip(), validate=True).decode("latin1").partition(":")[2]
        )
    except ValueError:
        return None


def _counted(address: Address | str) -> str:
    """The address that counts: for IPv6 the network, since one customer has at least a /64 (RFC 6177)."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)
