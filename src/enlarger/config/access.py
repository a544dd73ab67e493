"""Settings of access: who may call, how much, and from which pages."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_settings import NoDecode

from enlarger.config.addresses import read_network
from enlarger.config.group import SettingsGroup, WrongPart, lower, split_list, split_secret_list

ProxyHeader = Literal["x-forwarded-for", "forwarded"]

_PROXIES = (
    "each must be an IP address such as 10.0.0.7 or a network such as 10.0.0.0/8 or fd00::/8, without a port, "
    "brackets or a host name"
)
_ORIGINS = "each must be an origin such as https://a.example or http://localhost:3000, without a path, or the setting is * alone"

_API_KEY = re.compile(r"([A-Za-z0-9._-]{1,64}):sha256-([0-9a-f]{64})")
_SIGNING_KEY = re.compile(r"([A-Za-z0-9._-]{1,64}):([!-+\--~]{16,})")
_ORIGIN = re.compile(r"https?://[^/?#@*\s]+/?", re.IGNORECASE)
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)mp/(\d{1,9}(?:\.\d{1,3})?)s")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The name of a caller, and the hash of the key that the caller must show."""

    name: str
    sha256: str
    """64 hexadecimal digits, lower case."""

    @classmethod
    def read(cls, entry: str) -> ApiKey | None:
        """Read ``name:sha256-<hex>``; None if the entry is something else."""
        match = _API_KEY.fullmatch(entry)
        return match and cls(*match.groups())


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that links are signed with."""

    kid: str
    """The key's name, which is part of the links."""

    secret: SecretStr
    """At least 16 printable ASCII characters, none of them a comma."""

    @classmethod
    def read(cls, entry: str) -> SigningKey | None:
        """Read ``kid:secret``; None if the entry is something else."""
        match = _SIGNING_KEY.fullmatch(entry)
        return match and cls(match[1], SecretStr(match[2]))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Output megapixels that one caller may ask for in so many seconds."""

    megapixels: float
    seconds: float


Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(lambda text: read_network(text, allowed=_PROXIES))
]


class AccessSettings(SettingsGroup):
    """Settings of who may call, how much, and from which pages."""

    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_API_KEYS"
    )
    """``name:sha256-<hex>`` of keys that callers must show, with commas; ``enlarger key`` makes one. If it is unset,
    no key is required."""

    signing_keys: Annotated[tuple[SigningKey, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_SIGNING_KEYS"
    )
    """``kid:secret`` of keys that links may be signed with, with commas; new links are signed with the first."""

    rate_limit: Annotated[RateLimit | None, NoDecode] = Field(
        default=None, validation_alias="ENLARGER_RATE_LIMIT"
    )
    """Output megapixels per time of each caller, such as ``500mp/60s``. If it is unset, there is no limit."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_CORS_ORIGINS"
    )
    """Origins of pages that may read responses, such as ``https://a.example``, with commas; or ``*`` for all."""

    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_TRUSTED_PROXIES"
    )
    """Networks of proxies whose header about the caller's address is trusted, with commas."""

    proxy_header: ProxyHeader = Field(
        default="x-forwarded-for", validation_alias="ENLARGER_PROXY_HEADER"
    )
    """The header in which trusted proxies name the caller. The other one is not read."""

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        return split_secret_list(
            value,
            ApiKey.read,
            allowed="name:sha256-<64 hexadecimal digits>, in lower case and with a name of letters, digits, '.', '_' "
            "and '-'",
            hint="`enlarger key NAME` makes one",
        )

    @field_validator("signing_keys", mode="before")
    @classmethod
    def _link_keys(cls, value: object) -> object:
        return split_secret_list(
            value,
            SigningKey.read,
            allowed="kid:secret, with a kid of letters, digits, '.', '_' and '-', and a secret of at least 16 printable "
            "ASCII characters without spaces",
            hint="`echo kid:$(openssl rand -hex 32)` makes one",
        )

    @field_validator("rate_limit", mode="before")
    @classmethod
    def _rate(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _RATE.fullmatch(value.strip())
        if match is None or not all(float(part) for part in match.groups()):
            raise ValueError(
                "it must be megapixels and seconds, both over 0 and with a unit, such as 500mp/60s"
            )
        return RateLimit(*map(float, match.groups()))

    @field_validator("trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_list(value)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value == ("*",):
            return value
        if "*" in value:
            raise ValueError(_ORIGINS)
        return tuple(map(_origin, value))

    @field_validator("proxy_header", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return lower(value)


def _origin(text: str) -> str:
    """Return an origin as browsers write it: lower case, the host in ASCII, without the default port."""
    if _ORIGIN.fullmatch(text):
        with suppress(ValidationError):
            return str(TypeAdapter(HttpUrl).validate_python(text)).removesuffix("/")
    raise WrongPart(_ORIGINS, text)
