"""All settings, in one typed place. Only this module reads the environment.

Names and defaults are those of the HTTP contract; docs/reference/settings.md lists them for users.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from enlarger.errors import ConfigError

MAX_AUTO_SERVERS = 5
"""``NUM_SERVERS=auto`` starts one model server per core, and no more than this."""

WHSEC = "whsec_"
"""Before the base64 of a secret of webhooks."""

Precision = Literal["auto", "f32", "bf16", "int8"]

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]

Seconds = Annotated[float, Field(allow_inf_nan=False)]

ProxyHeader = Literal["x-forwarded-for", "forwarded"]

API_KEY_VARIABLE = "ENLARGER_API_KEY"
SERVER_URL_VARIABLE = "ENLARGER_SERVER_URL"
CLIENT_VARIABLES = (API_KEY_VARIABLE, SERVER_URL_VARIABLE)
"""Variables with our prefix that ``enlarger jobs`` and ``enlarger upscale --server`` read; they are no settings."""

FETCH_OFF = ("off", "none", "no", "false", "0", "disabled")
"""Words for ``ENLARGER_FETCH`` that switch fetching off. No host can have one of these names."""

_FETCH_UNCLEAR = ("true", "yes", "on", "1", "all")
"""Words for ``ENLARGER_FETCH`` that could mean public addresses or any address, so that nobody may guess."""

# What is allowed, in words. The value that was written instead follows behind these.
_SERVERS = (
    "each must be host:port with a port from 1 to 65535, such as 10.0.0.7:5002, without http://"
)
_PROXIES = (
    "each must be an IP address such as 10.0.0.7 or a network such as 10.0.0.0/8 or fd00::/8, without a port, "
    "brackets or a host name"
)
_SOURCES = (
    "it must be public (all public addresses), off (none), or a list of what is allowed besides public addresses: "
    "hosts such as pictures.lan or pictures.lan:9000, ports such as :8080, networks such as 10.0.0.0/8 or fd00::1/128, without http:// and paths"
)
_ORIGINS = "each must be an origin such as https://a.example or http://localhost:3000, without a path, or the setting is * alone"


class _Wrong(ValueError):
    """One part of a value that cannot be used. The text says what is allowed; ``part`` is what was written instead."""

    def __init__(self, allowed: str, part: str) -> None:
        super().__init__(allowed)
        self.part = part


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def _address(text: str) -> str:
    """``host:port``, as it is."""
    host, _, port = text.rpartition(":")
    if not (_HOST.fullmatch(host) and _is_port(port)):
        raise _Wrong(_SERVERS, text)
    return text


def _network(text: object, *, allowed: str = _PROXIES) -> IPv4Network | IPv6Network:
    """A network, or an address as a network of one; IPv4 that is mapped into IPv6 is returned as IPv4.

    Raises:
        ValueError: it is neither; the text is ``allowed``, or says how to write the network.
    """
    written = str(text)
    try:
        network = ipaddress.ip_network(written, strict=False)
    except ValueError as error:
        raise _Wrong(allowed, written) from error
    address, first = written.partition("/")[0], network.network_address
    if first != ipaddress.ip_address(address):
        raise _Wrong(
            f"a network begins at its first address: write {network} for all of it, or {address} for one address",
            written,
        )
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= 96:
        return IPv4Network((first.ipv4_mapped, network.prefixlen - 96))
    return network


def _check_source(entry: str) -> None:
    """Refuse what is no entry of a list of ``ENLARGER_FETCH``."""
    if entry in FETCH_OFF:
        raise ValueError(f"'{entry}' switches fetching off, and must stand alone")
    if "/" in entry:
        _network(entry, allowed=_SOURCES)
        return
    host, colon, port = entry.partition(":")
    is_named = _HOST.fullmatch(host) or (colon and not host)
    if entry in _FETCH_UNCLEAR or not is_named or (colon and not _is_port(port)):
        raise _Wrong(_SOURCES, entry)


def _origin(text: str) -> str:
    """An origin as browsers write it: no default port, small letters, the host in ASCII."""
    if _ORIGIN.fullmatch(text):
        with suppress(ValidationError):
            return str(TypeAdapter(HttpUrl).validate_python(text)).removesuffix("/")
    raise _Wrong(_ORIGINS, text)


def _is_webhook_secret(text: str) -> bool:
    """Whether it is one as Standard Webhooks has them."""
    with suppress(binascii.Error, ValueError):
        key = base64.b64decode(text.removeprefix(WHSEC), validate=True)
        return text.startswith(WHSEC) and 24 <= len(key) <= 64
    return False


def _secret_list(
    value: object, read: Callable[[str], object], *, allowed: str, hint: str
) -> object:
    """What ``read`` makes of each entry of a list with commas. Its message counts entries, and shows none of them."""
    if not isinstance(value, str):
        return value
    found = [read(entry.strip()) for entry in value.split(",") if entry.strip()]
    if None in found:
        number = found.index(None) + 1
        raise ValueError(f"each entry must be {allowed}, unlike entry {number}; {hint}")
    return tuple(found)


def _listed(value: object) -> object:
    """The parts of a list with commas."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _lower(value: object) -> object:
    """A word in any case."""
    return value.strip().lower() if isinstance(value, str) else value


def _is_plain_url(text: str) -> bool:
    """Whether it has a host, a port that can be one, no user name, and no way up in its path."""
    try:
        parts = urlsplit(text)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        bool(parts.hostname)
        and is_port
        and "@" not in parts.netloc
        and ".." not in parts.path.split("/")
    )


def _is_place(text: str, *schemes: str) -> bool:
    """Whether it is a path, or a URL of one of these schemes."""
    return text.startswith(schemes) or bool(text and "://" not in text)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The name of a caller, and the hash of the key that it must show."""

    name: str
    sha256: str
    """64 hexadecimal digits, lower case."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What links are signed with."""

    kid: str
    """The key's name, which stands in the links."""

    secret: SecretStr
    """At least 16 printable ASCII characters, none of them a comma."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Output megapixels that one caller may ask for in so many seconds."""

    megapixels: float
    seconds: float


_SECRETS = (
    "ENLARGER_API_KEYS",
    "ENLARGER_DATABASE",
    "ENLARGER_SIGNING_KEYS",
    "ENLARGER_TILE_TOKEN",
    "ENLARGER_WEBHOOK_SECRETS",
)
"""Settings whose values are never shown."""

_AUTO_FIELDS = ("num_servers", "deadline_s", "server_tiles")
"""Fields that may also be ``auto``."""

_UNITS = {"_bytes": "bytes", "_px": "pixels", "_mib": "MiB", "_s": "seconds"}
"""What the numbers of a field count, by the end of its name."""

_KEY = re.compile(r"([A-Za-z0-9._-]{1,64}):sha256-([0-9a-f]{64})")
_SIGNING_KEY = re.compile(r"([A-Za-z0-9._-]{1,64}):([!-+\--~]{16,})")
_PREFIX = "ENLARGER_"
_KUBERNETES = re.compile(
    r"ENLARGER_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z0-9_]+)?)"
)
_HOST = re.compile(r"[\w.-]+")
_ORIGIN = re.compile(r"https?://[^/?#@*\s]+/?", re.IGNORECASE)
_TOKEN = re.compile(r"[!-~][ -~]{14,}[!-~]")
"""It travels in a header."""

_URL = re.compile(r"https?://[^\s?#]+")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)mp/(\d{1,9}(?:\.\d{1,3})?)s")

Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]

Address = Annotated[str, AfterValidator(_address)]


class _Group(BaseSettings):
    """Settings that belong together. Frozen; ``load`` turns a wrong value into a ``ConfigError``."""

    model_config = SettingsConfigDict(frozen=True, validate_default=True)


class ServerSettings(_Group):
    """What a process is, whatever it serves: its folders, its precision, its end."""

    model_dir: Path = Field(default=Path("models"), validation_alias="MODEL_DIR")
    """Folder with models of your own (``*.toml`` beside their weights). May be absent."""

    upload_folder: Path = Field(default=Path("uploads"), validation_alias="UPLOAD_FOLDER")
    """Folder of the results. Made if missing, also later."""

    cleanup_interval_s: Seconds = Field(default=300, gt=0, validation_alias="CLEANUP_INTERVAL")
    """Seconds between two sweeps of the results."""

    file_max_age_s: Seconds = Field(default=300, gt=0, validation_alias="FILE_MAX_AGE")
    """Seconds a result lives."""

    precision: Precision = Field(default="auto", validation_alias="ENLARGER_PRECISION")
    """Default precision. ``auto``: bf16 where the processor has it, else f32, which pictures above 8 bits get. ``int8`` holds for models that have it."""

    drain_s: Seconds = Field(default=45, ge=0, validation_alias="ENLARGER_DRAIN")
    """Seconds that running work gets after SIGTERM."""

    public_url: str | None = Field(default=None, validation_alias="ENLARGER_PUBLIC_URL")
    """Prefix of the URLs in answers. Unset: they are paths."""

    cache_dir: Path | None = Field(default=None, validation_alias="ENLARGER_CACHE_DIR")
    """Folder of compiled networks. Unset: ``enlarger`` in the user's cache folder."""

    page: Literal["on", "off"] = Field(default="on", validation_alias="ENLARGER_PAGE")
    """Whether ``/`` is the page; ``off``: it redirects to ``/docs``."""

    page_title: str = Field(default="enlarger", validation_alias="ENLARGER_PAGE_TITLE")
    """What the page is called, in its head and in the browser's tab."""

    @field_validator("model_dir", "upload_folder", "cache_dir", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("it must be the path of a folder; unset it for the default")
        return value

    @field_validator("page_title")
    @classmethod
    def _title(cls, value: str) -> str:
        if not 0 < len(value.strip()) <= 60:
            raise ValueError("it must be a text of 1 to 60 characters")
        return value.strip()

    @field_validator("public_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None and not (_URL.fullmatch(value) and _is_plain_url(value)):
            raise ValueError(
                "it must be a URL that begins with http:// or https://, without user name, spaces, '..', '?' and '#', "
                "such as https://pictures.example or https://example.com/pictures"
            )
        return value

    @property
    def missing_model_dir(self) -> str | None:
        """A note where somebody named a folder of models that is not there, which is allowed, but may be a slip."""
        if "model_dir" not in self.model_fields_set or self.model_dir.exists():
            return None
        return f"MODEL_DIR: there is no folder '{self.model_dir}', so no models of your own"

    @property
    def cache_folder(self) -> Path:
        """Folder of compiled networks, with the default worked out."""
        if self.cache_dir is not None:
            return self.cache_dir
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "enlarger"


class LimitSettings(_Group):
    """What one request, and all of them together, may ask for."""

    max_file_size_bytes: int = Field(default=7_340_032, ge=1, validation_alias="MAX_FILE_SIZE")
    """Bytes of one encoded input picture, however it arrives."""

    max_image_dimension_px: int = Field(default=2048, ge=1, validation_alias="MAX_IMAGE_DIMENSION")
    """Longest allowed side of an input picture, in pixels."""

    max_output_px: int | None = Field(
        default=None, ge=1, validation_alias="ENLARGER_MAX_OUTPUT_PIXELS"
    )
    """Output pixels of one request, of all its frames. Unset: ``(4 * MAX_IMAGE_DIMENSION) ** 2``."""

    max_frames: int = Field(default=500, ge=1, validation_alias="ENLARGER_MAX_FRAMES")
    """Frames of one animation."""

    deadline_s: Seconds | None = Field(default=None, gt=0, validation_alias="ENLARGER_DEADLINE")
    """Seconds one picture may take once admitted. ``auto``: four times its estimate, at least 600."""

    queue_limit: int = Field(default=256, ge=1, validation_alias="ENLARGER_QUEUE_LIMIT")
    """Requests admitted and unfinished; the next one is refused with ``queue_full``."""

    max_wait_s: Seconds = Field(default=600, gt=0, validation_alias="ENLARGER_MAX_WAIT")
    """Estimated seconds a new request may wait for those before it; more is ``queue_full``."""

    sync_limit_s: Seconds = Field(default=90, gt=0, validation_alias="ENLARGER_SYNC_LIMIT")
    """Seconds after which a waiting ``/v1`` request is answered with a job, before a proxy cuts it off."""

    picture_memory_mib: int = Field(default=2048, ge=1, validation_alias="ENLARGER_PICTURE_MEMORY")
    """MiB of pixels held at once by all pictures being enlarged; others wait. An eighth is for small ones; one
    larger than the rest is enlarged with small ones beside it alone.
    Their files as they came may take a quarter as much; more is ``queue_full``."""

    @field_validator("deadline_s", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return None if value == "auto" else value

    @property
    def output_limit_px(self) -> int:
        """Output pixels of one request, with the default worked out."""
        return self.max_output_px or (4 * self.max_image_dimension_px) ** 2

    @property
    def body_limit_bytes(self) -> int:
        """Bytes of one request body: a picture of the largest size in base64, and 1 MiB around it."""
        return 4 * -(-self.max_file_size_bytes // 3) + 1_048_576


class PoolSettings(_Group):
    """Which model servers there are, and when one is replaced."""

    num_servers: int | None = Field(default=None, ge=1, validation_alias="NUM_SERVERS")
    """Model servers started here. ``auto``: one per core, at most 5."""

    base_port: int = Field(default=5002, ge=0, le=65535, validation_alias="BASE_PORT")
    """Port of the first local model server; the others follow. 0: each takes a free one."""

    server_memory_mib: int = Field(default=4096, ge=1, validation_alias="ENLARGER_SERVER_MEMORY")
    """MiB that a model server started here may hold; one with more is replaced, without losing a tile."""

    server_tiles: int | None = Field(default=None, ge=1, validation_alias="ENLARGER_SERVER_TILES")
    """Tiles after which a model server started here is replaced. ``auto``: never."""

    tile_token: SecretStr | None = Field(default=None, validation_alias="ENLARGER_TILE_TOKEN")
    """What gateway and model servers share, so that nobody else uses these. Needed off the loopback address."""

    servers: Annotated[tuple[Address, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_SERVERS"
    )
    """``host:port`` of model servers that somebody else runs, with commas; none are started here."""

    @field_validator("num_servers", "server_tiles", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("tile_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError(
                "it must have at least 16 characters, all of them visible ASCII; `openssl rand -hex 32` makes one"
            )
        return value

    @field_validator("servers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _listed(value)

    @property
    def server_count(self) -> int:
        """Model servers to start here."""
        return min(cores(), MAX_AUTO_SERVERS) if self.num_servers is None else self.num_servers

    @property
    def threads_per_server(self) -> int:
        """Compute threads of one model server: cores divided by servers, at least one."""
        return max(1, cores() // self.server_count)

    @property
    def token(self) -> str | None:
        """The text of ``tile_token``."""
        return None if self.tile_token is None else self.tile_token.get_secret_value()


class JobSettings(_Group):
    """Where jobs are kept, how many may wait, and how their end is reported."""

    jobs_limit: int = Field(default=10_000, ge=1, validation_alias="ENLARGER_JOBS_LIMIT")
    """Jobs that wait; the next one is refused with ``queue_full``. Their pictures are on disk, not in memory."""

    webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_WEBHOOK_SECRETS"
    )
    """``whsec_<base64>`` that webhooks are signed with, each by all, with commas. Unset: no webhooks."""

    database: str | None = Field(default=None, repr=False, validation_alias="ENLARGER_DATABASE")
    """File of an SQLite database of jobs, or a ``postgresql://`` URL. Unset: ``jobs.sqlite3`` in the folder of results."""

    blobs: str | None = Field(default=None, validation_alias="ENLARGER_BLOBS")
    """Folder of what jobs read and write, or ``s3://bucket/prefix``. Unset: ``jobs`` in the folder of results."""

    @field_validator("database")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        if value is not None and not _is_place(value, "sqlite:///", "postgresql://", "postgres://"):
            raise ValueError(
                "it must be the path of an SQLite file, or a URL that begins with sqlite:/// or postgresql://"
            )
        return value

    @field_validator("blobs")
    @classmethod
    def _blobs(cls, value: str | None) -> str | None:
        if value is not None and not _is_place(value, "s3://"):
            raise ValueError("it must be the path of a folder, or s3://bucket/prefix")
        return value

    @field_validator("webhook_secrets", mode="before")
    @classmethod
    def _webhook_secrets(cls, value: object) -> object:
        return _secret_list(
            value,
            lambda entry: SecretStr(entry) if _is_webhook_secret(entry) else None,
            allowed="whsec_<base64 of 24 to 64 bytes>",
            hint="`echo whsec_$(openssl rand -base64 32)` makes one",
        )


class FetchSettings(_Group):
    """Where pictures and webhooks may go."""

    rule: str = Field(default="public", validation_alias="ENLARGER_FETCH")
    """``public``, ``off``, or ``host[:port]``, networks and ``:port`` allowed besides public ones, with commas.
    The other words that switch it off are read as ``off``."""

    @field_validator("rule")
    @classmethod
    def _fetch_rule(cls, value: str) -> str:
        rule = value.strip().lower()
        if rule in FETCH_OFF:
            return "off"
        entries = [entry.strip() for entry in rule.split(",")]
        for entry in entries:
            _check_source(entry)
        return "public" if set(entries) == {"public"} else rule


class AccessSettings(_Group):
    """Who may call, how much, and from which pages."""

    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_API_KEYS"
    )
    """``name:sha256-<hex>`` of keys that callers must show, with commas; ``enlarger key`` makes one. Unset: no keys."""

    signing_keys: Annotated[tuple[SigningKey, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_SIGNING_KEYS"
    )
    """``kid:secret`` of keys that links may be signed with, with commas; new links take the first. Unset: none."""

    rate_limit: Annotated[RateLimit | None, NoDecode] = Field(
        default=None, validation_alias="ENLARGER_RATE_LIMIT"
    )
    """Output megapixels per time of each caller, such as ``500mp/60s``. Unset: no limit."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_CORS_ORIGINS"
    )
    """Origins of pages that may read answers, such as ``https://a.example``, with commas; or ``*``. Unset: none."""

    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_TRUSTED_PROXIES"
    )
    """Networks of proxies that are believed about who calls them, with commas. Unset: none."""

    proxy_header: ProxyHeader = Field(
        default="x-forwarded-for", validation_alias="ENLARGER_PROXY_HEADER"
    )
    """The header in which trusted proxies name who calls them. The other one is not read."""

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        def read(entry: str) -> ApiKey | None:
            match = _KEY.fullmatch(entry)
            return match and ApiKey(*match.groups())

        return _secret_list(
            value,
            read,
            allowed="name:sha256-<64 hexadecimal digits>, in lower case and with a name of letters, digits, '.', '_' "
            "and '-'",
            hint="`enlarger key NAME` makes one",
        )

    @field_validator("signing_keys", mode="before")
    @classmethod
    def _link_keys(cls, value: object) -> object:
        def read(entry: str) -> SigningKey | None:
            match = _SIGNING_KEY.fullmatch(entry)
            return match and SigningKey(match[1], SecretStr(match[2]))

        return _secret_list(
            value,
            read,
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
        return _listed(value)

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
        return _lower(value)


class ObservabilitySettings(_Group):
    """What is logged and traced."""

    log_level: LogLevel = Field(default="info", validation_alias="ENLARGER_LOG_LEVEL")
    """The least important lines that are logged."""

    log_format: LogFormat = Field(default="auto", validation_alias="ENLARGER_LOG_FORMAT")
    """``text`` or ``json``; ``auto``: text if stderr is a terminal, else JSON."""

    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """URL of an OpenTelemetry collector, OTLP over HTTP, that gets traces of requests."""

    traces_exporter: str | None = Field(default=None, validation_alias="OTEL_TRACES_EXPORTER")
    """``otlp``: send traces, to http://localhost:4318 if no collector is named; ``none``: send none."""

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return _lower(value)

    @property
    def traces_asked_by(self) -> str | None:
        """The variable that asks for traces; None: nobody does.

        Raises:
            ConfigError: it asks for what is not to be had. Only who sends traces needs to know.
        """
        # An empty variable is one that is not set, as OpenTelemetry has it.
        exporter, endpoint = self.traces_exporter or None, self.otlp_endpoint or None
        if exporter not in {None, "otlp", "none"}:
            raise ConfigError(
                f"OTEL_TRACES_EXPORTER: it must be otlp or none, not {_shown(exporter)}"
            )
        if exporter == "none" or (exporter is None and endpoint is None):
            return None
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                "OTEL_EXPORTER_OTLP_ENDPOINT: it must begin with http:// or https://, such as "
                f"http://localhost:4318, not {_shown(endpoint)}"
            )
        return "OTEL_EXPORTER_OTLP_ENDPOINT" if endpoint is not None else "OTEL_TRACES_EXPORTER"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, in groups: each part of the program gets the groups that it needs."""

    server: ServerSettings
    limits: LimitSettings
    pool: PoolSettings
    jobs: JobSettings
    fetch: FetchSettings
    access: AccessSettings
    observability: ObservabilitySettings

    @property
    def has_webhooks(self) -> bool:
        """Whether webhooks can be sent: they are signed, and go where pictures may come from."""
        return bool(self.jobs.webhook_secrets) and self.fetch.rule != "off"

    @property
    def database_url(self) -> str:
        """File or URL of the jobs' rows, with the default worked out."""
        return self.jobs.database or str(self.server.upload_folder / "jobs.sqlite3")

    @property
    def blobs_place(self) -> str:
        """Folder or URL of the jobs' bytes, with the default worked out."""
        return self.jobs.blobs or str(self.server.upload_folder / "jobs")


GROUPS: Mapping[str, type[BaseSettings]] = get_type_hints(Settings)
"""The groups by their names in ``Settings``."""

_FIELD_OF = {
    str(field.validation_alias): (group, name)
    for group, settings in GROUPS.items()
    for name, field in settings.model_fields.items()
}
"""Group and attribute of each variable."""

_VARIABLE_OF = {name: variable for variable, (_, name) in _FIELD_OF.items()} | {
    "fetch": "ENLARGER_FETCH"  # the only one of its group, which is called like it
}
"""The variable of each attribute."""


def may_be_coloured() -> bool:
    """Whether nobody asked for text without colours, as programs of all kinds are asked: https://no-color.org."""
    return not os.environ.get("NO_COLOR")


def inherited(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that this one starts: its own, with some changes."""
    return {**os.environ, **changes}


def bucket_endpoint() -> str:
    """URL of the service that holds the bucket of ``ENLARGER_BLOBS``; empty if that is Amazon."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def bucket_region() -> str:
    """Amazon's region of the bucket of ``ENLARGER_BLOBS``."""
    return os.environ.get("AWS_REGION", "us-east-1")


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allowed_sources(rule: str) -> tuple[str, ...]:
    """The hosts, networks and ports that an ``ENLARGER_FETCH`` rule allows besides public addresses."""
    entries = (part.strip() for part in rule.split(","))
    return tuple(entry for entry in entries if entry not in {"public", "off"})


def check_names(environment: Mapping[str, str]) -> None:
    """Refuse variables with our prefix that nothing reads: a typing error would leave a setting unset in silence.

    Raises:
        ConfigError: there are such variables. The text has their names, and the nearest known ones; no values.
    """
    wrong: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for name, value in sorted(environment.items()):
        upper = name.upper()  # settings are read whatever their case is, and may be misspelt in any
        if not upper.startswith(_PREFIX) or _is_of_kubernetes(name, value):
            continue
        if upper in _FIELD_OF:
            if (other := seen.setdefault(upper, name)) != name:
                raise ConfigError(f"{other}: it is set twice, also as {name}; unset one of the two")
        elif name not in CLIENT_VARIABLES:
            wrong.append((name, _nearest(upper)))
    if wrong:
        (name, near_name), *others = wrong
        also = ", ".join(f"{other} (the nearest is {near})" for other, near in others)
        raise ConfigError(
            f"{name}: there is no such setting; the nearest name is {near_name}. Correct the name, or unset it"
            + (f". Also unknown: {also}" if also else "")
        )
    if any(map(_KEY.fullmatch, environment.get("ENLARGER_API_KEY", "").split(","))):
        raise ConfigError(
            "ENLARGER_API_KEY: it holds an entry of ENLARGER_API_KEYS. The service reads only that one; "
            "this one is the key itself, for clients"
        )


def _nearest(name: str) -> str:
    """The known name that is nearest to an unknown one with our prefix, in upper case."""
    if name in CLIENT_VARIABLES:
        return name
    rest = name.removeprefix(_PREFIX)
    if rest in {"HOST", "PORT"}:
        return f"the option --{rest.lower()}"
    # The prefix is left out: ENLARGER_NUM_SERVERS is near to NUM_SERVERS.
    known = {variable.removeprefix(_PREFIX): variable for variable in _FIELD_OF}
    return known[difflib.get_close_matches(rest, known, n=1, cutoff=0)[0]]


def _is_of_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes, or a link of Docker, sets a variable for a service whose name begins with ``enlarger``."""
    # The value of NAME_PORT is a URL: ENLARGER_BASE_PORT=5002 is somebody's BASE_PORT.
    return _KUBERNETES.fullmatch(name) is not None or (
        name.endswith("_PORT") and name.isupper() and not value.isdigit()
    )


def load(**overrides: Any) -> Settings:
    """Settings from the environment, with ``overrides`` (by attribute name) from the command line.

    Raises:
        ConfigError: a value cannot be used; the text names the variable.
    """
    given: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for name, value in overrides.items():
        variable = _VARIABLE_OF[name]
        if value is not None:
            given[_FIELD_OF[variable][0]][variable] = value
    check_names(os.environ)
    try:
        return Settings(
            server=ServerSettings(**given["server"]),
            limits=LimitSettings(**given["limits"]),
            pool=PoolSettings(**given["pool"]),
            jobs=JobSettings(**given["jobs"]),
            fetch=FetchSettings(**given["fetch"]),
            access=AccessSettings(**given["access"]),
            observability=ObservabilitySettings(**given["observability"]),
        )
    except ValidationError as error:
        raise ConfigError(_in_words(error)) from error


def _in_words(error: ValidationError) -> str:
    """The first fault of settings, as an operator would read it: variable, what is allowed, what is there instead."""
    fault = error.errors()[0]
    variable = str(fault["loc"][0])
    own = fault.get("ctx", {}).get("error")
    allowed = str(own) if own is not None else _allowed(variable) or fault["msg"]
    value = getattr(own, "part", fault["input"])
    return f"{variable}: {allowed}" + ("" if variable in _SECRETS else f", not {_shown(value)}")


def _allowed(variable: str) -> str | None:
    """What a variable takes, in words, if that is a number or one of several words."""
    group, name = _FIELD_OF[variable]
    schema = GROUPS[group].model_json_schema()["properties"][variable]
    kind = schema.get("anyOf", [schema])[0]
    if "enum" in kind:
        *words, last = kind["enum"]
        return f"it must be {', '.join(words)} or {last}"
    if kind["type"] not in {"integer", "number"}:
        return None
    unit = next((f" of {unit}" for end, unit in _UNITS.items() if name.endswith(end)), "")
    least, most = kind.get("minimum"), kind.get("maximum")
    if most is not None:
        bounds = f"from {least} to {most}"
    else:
        bounds = "more than 0" if least is None else f"at least {least}"
    sort = "whole" if kind["type"] == "integer" else "finite"
    auto = ", or auto" if name in _AUTO_FIELDS else ""
    return f"it must be a {sort} number{unit}, {bounds}{auto}"


def _shown(value: object) -> str:
    """A value in quotes, on one line, without the passwords of URLs in it."""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    hidden = re.sub(r":(?!//)\S*@", ":***@", text)
    return repr(hidden if len(hidden) <= 100 else f"{hidden[:100]}...")
