"""Who calls: by the key they show, by the link they follow, or by the address they come from."""

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
from enlarger.api.signing import check
from enlarger.asgi.access import note
from enlarger.asgi.bodies import Answer, AsgiApp, Receive, Scope, Send, answer_early
from enlarger.config import ApiKey, Network, SigningKey
from enlarger.errors import RequestError, SignatureExpired, SignatureInvalid, Unauthorized

OPEN_PATHS = (
    "/",
    "/health",
    "/health-check",
    "/livez",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/llms.txt",
)
"""What anybody may ask: an orchestrator has no key, and who reads the documentation has none yet."""

SECRET_FOLDERS = ("/files/",)
"""The name of a result is the permission to read it."""

OPEN_FOLDERS = (*SECRET_FOLDERS, "/errors/", "/docs/", "/page/")
"""What is below them needs no key either: who is told of an error may read what it means."""

_SCOPE_KEY = "enlarger.caller"

_HOW = "send it as 'Authorization: Bearer <key>' or as 'X-API-Key: <key>'"
_NO_KEY = f"an API key is needed: {_HOW}"
_UNKNOWN_KEY = (
    f"the API key is not known here: it is mistyped, or was withdrawn; ask the operator, and {_HOW}"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with limits and results of their own."""

    id: str
    """``key:<name>``, ``link:<name of its key>``, or ``address:<ip>``, of IPv6 ``address:<network>/64``."""

    has_key: bool
    """Of their own, or in a link that somebody signed for them."""

    @property
    def owner(self) -> str:
        """Whose results and jobs are this caller's: those of its key; without keys they are everybody's."""
        return self.id if self.has_key else ""

    @property
    def is_key(self) -> bool:
        """Whether a key of their own was shown."""
        return self.id.startswith("key:")

    @property
    def is_link(self) -> bool:
        """Whether somebody signed just this request: whatever it asks to see may be seen."""
        return self.id.startswith("link:")


class Callers:
    """Tells callers apart.

    Args:
        keys: of those who may call; none lets everybody call.
        proxies: whose word on their peers is believed.
        signing_keys: of links that stand in for a key.
        proxy_header: the header in which those proxies name their peers, in lower case. No other one is read.
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
        """A request with its caller, for ``caller_of``; and without its signature, which is no option of a picture.

        Raises:
            Unauthorized: keys are needed here, and the request has none of them.
            SignatureInvalid, SignatureExpired: it came by a link that is none of ours, or not any more.
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
        """The caller of a request that does not come by a link.

        Raises:
            Unauthorized: keys are needed here, and the request has none of them.
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
        """Whose key it is. All are compared, each in constant time, so that the time tells nothing."""
        digest = hashlib.sha256((key or "").encode("latin1")).hexdigest()
        names = [known.name for known in self._keys if hmac.compare_digest(known.sha256, digest)]
        return names[0] if names and key else None

    def address(self, scope: Scope) -> str:
        """Where a request comes from, as far as our proxies are to be believed."""
        headers = [(name.lower(), value.decode("latin1")) for name, value in scope["headers"]]
        return str(self._address(scope, headers))

    def _address(self, scope: Scope, headers: Iterable[tuple[bytes, str]]) -> Address | str:
        """The nearest address that is not one of our proxies; where the server knows no address, what it knows.

        Each proxy of ours is believed about its own peer, and about nothing else. If it names no address, all such
        callers count as that proxy: a name that a caller chooses anew for each request must not be a new caller.
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
        """``app``, for those who may call. Others are answered before any of their body is looked at."""

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
    """Path and query as they were sent, if they say that they are signed: rightly or not."""
    query = scope["query_string"]
    is_signed = (
        scope["method"] in ("GET", "HEAD")
        and scope["path"].startswith("/v1/")
        and any(part.startswith(b"sig=") for part in query.split(b"&"))
    )
    return scope["raw_path"] + b"?" + query if is_signed else None


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


def is_open(path: str) -> bool:
    """Whether a path asks for no key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _counted(address: Address | str) -> str:
    """What callers are told apart by: of IPv6 the network, since one customer has at least a /64 (RFC 6177)."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)
