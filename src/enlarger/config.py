"""All settings, in one typed place. Only this module reads the environment.

Names and defaults are those of the HTTP contract; docs/reference/settings.md lists them for users.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
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


def _with_a_port(address: str) -> str:
    if not 1 <= int(address.rpartition(":")[2]) <= 65535:
        raise ValueError("the port must be from 1 to 65535")
    return address


def _origin(text: str) -> str:
    """An origin as browsers write it: no default port, small letters, the host in ASCII."""
    if _ORIGIN.fullmatch(text):
        with suppress(ValidationError):
            return str(TypeAdapter(HttpUrl).validate_python(text)).removesuffix("/")
    raise ValueError("each must be an origin such as https://a.example, or it is * alone")


def _is_webhook_secret(text: str) -> bool:
    """Whether it is one as Standard Webhooks has them."""
    with suppress(binascii.Error, ValueError):
        key = base64.b64decode(text.removeprefix(WHSEC), validate=True)
        return text.startswith(WHSEC) and 24 <= len(key) <= 64
    return False


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

_KEY = re.compile(r"([A-Za-z0-9._-]{1,64}):sha256-([0-9a-f]{64})")
_SIGNING_KEY = re.compile(r"([A-Za-z0-9._-]{1,64}):([!-+\--~]{16,})")
_ORIGIN = re.compile(r"https?://[^/?#@*\s]+/?", re.IGNORECASE)
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)mp/(\d{1,9}(?:\.\d{1,3})?)s")

Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(ipaddress.ip_network)
]

Address = Annotated[str, Field(pattern=r"^[^\s/:@]+:\d{1,5}$"), AfterValidator(_with_a_port)]


class Settings(BaseSettings):
    """What an operator may set. Frozen; ``load`` turns a wrong value into a ``ConfigError``."""

    model_config = SettingsConfigDict(frozen=True, validate_default=True)

    model_dir: Path = Field(default=Path("models"), validation_alias="MODEL_DIR")
    """Folder with models of your own (``*.toml`` beside their weights). May be absent."""

    upload_folder: Path = Field(default=Path("uploads"), validation_alias="UPLOAD_FOLDER")
    """Folder of the results. Made if missing, also later."""

    num_servers: int | None = Field(default=None, ge=1, validation_alias="NUM_SERVERS")
    """Model servers started here. ``auto``: one per core, at most 5."""

    base_port: int = Field(default=5002, ge=0, le=65535, validation_alias="BASE_PORT")
    """Port of the first local model server; the others follow. 0: each takes a free one."""

    max_file_size_bytes: int = Field(default=7_340_032, ge=1, validation_alias="MAX_FILE_SIZE")
    """Bytes of one encoded input picture, however it arrives."""

    max_image_dimension_px: int = Field(default=2048, ge=1, validation_alias="MAX_IMAGE_DIMENSION")
    """Longest allowed side of an input picture, in pixels."""

    cleanup_interval_s: Seconds = Field(default=300, gt=0, validation_alias="CLEANUP_INTERVAL")
    """Seconds between two sweeps of the results."""

    file_max_age_s: Seconds = Field(default=300, gt=0, validation_alias="FILE_MAX_AGE")
    """Seconds a result lives."""

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

    jobs_limit: int = Field(default=10_000, ge=1, validation_alias="ENLARGER_JOBS_LIMIT")
    """Jobs that wait; the next one is refused with ``queue_full``. Their pictures are on disk, not in memory."""

    picture_memory_mib: int = Field(default=2048, ge=1, validation_alias="ENLARGER_PICTURE_MEMORY")
    """MiB of pixels held at once by all pictures being enlarged; others wait. An eighth is for small ones; one
    larger than the rest is enlarged with small ones beside it alone.
    Their files as they came may take a quarter as much; more is ``queue_full``."""

    precision: Precision = Field(default="auto", validation_alias="ENLARGER_PRECISION")
    """Default precision. ``auto``: bf16 where the processor has it, else f32. ``int8`` holds for models that have it."""

    server_memory_mib: int = Field(default=4096, ge=1, validation_alias="ENLARGER_SERVER_MEMORY")
    """MiB that a model server started here may hold; one with more is replaced, without losing a tile."""

    server_tiles: int | None = Field(default=None, ge=1, validation_alias="ENLARGER_SERVER_TILES")
    """Tiles after which a model server started here is replaced. ``auto``: never."""

    drain_s: Seconds = Field(default=45, ge=0, validation_alias="ENLARGER_DRAIN")
    """Seconds that running work gets after SIGTERM."""

    fetch: str = Field(default="public", validation_alias="ENLARGER_FETCH")
    """``public``, ``off``, or ``host[:port]``, networks and ``:port`` allowed besides public ones, with commas."""

    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_API_KEYS"
    )
    """``name:sha256-<hex>`` of keys that callers must show, with commas; ``enlarger key`` makes one. Unset: no keys."""

    signing_keys: Annotated[tuple[SigningKey, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_SIGNING_KEYS"
    )
    """``kid:secret`` of keys that links may be signed with, with commas; new links take the first. Unset: none."""

    webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_WEBHOOK_SECRETS"
    )
    """``whsec_<base64>`` that webhooks are signed with, each by all, with commas. Unset: no webhooks."""

    rate_limit: RateLimit | None = Field(default=None, validation_alias="ENLARGER_RATE_LIMIT")
    """Output megapixels per time of each caller, such as ``500mp/60s``. Unset: no limit."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_CORS_ORIGINS"
    )
    """Origins of pages that may read answers, such as ``https://a.example``, with commas; or ``*``. Unset: none."""

    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_TRUSTED_PROXIES"
    )
    """Networks of proxies whose ``X-Forwarded-For`` names the caller, with commas. Unset: none."""

    tile_token: SecretStr | None = Field(
        default=None, min_length=16, validation_alias="ENLARGER_TILE_TOKEN"
    )
    """What gateway and model servers share, so that nobody else uses these. Needed off the loopback address."""

    public_url: str | None = Field(
        default=None, pattern=r"^https?://[^\s]+$", validation_alias="ENLARGER_PUBLIC_URL"
    )
    """Prefix of the URLs in answers. Unset: they are paths."""

    servers: Annotated[tuple[Address, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_SERVERS"
    )
    """``host:port`` of model servers that somebody else runs, with commas; none are started here."""

    database: str | None = Field(
        default=None, min_length=1, repr=False, validation_alias="ENLARGER_DATABASE"
    )
    """File of an SQLite database of jobs, or a ``postgresql://`` URL. Unset: ``jobs.sqlite3`` in the folder of results."""

    blobs: str | None = Field(default=None, min_length=1, validation_alias="ENLARGER_BLOBS")
    """Folder of what jobs read and write, or ``s3://bucket/prefix``. Unset: ``jobs`` in the folder of results."""

    cache_dir: Path | None = Field(default=None, validation_alias="ENLARGER_CACHE_DIR")
    """Folder of compiled networks. Unset: ``enlarger`` in the user's cache folder."""

    log_level: LogLevel = Field(default="info", validation_alias="ENLARGER_LOG_LEVEL")
    """The least important lines that are logged."""

    log_format: LogFormat = Field(default="auto", validation_alias="ENLARGER_LOG_FORMAT")
    """``text`` or ``json``; ``auto``: text if stderr is a terminal, else JSON."""

    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """URL of an OpenTelemetry collector, OTLP over HTTP, that gets traces of requests."""

    traces_exporter: str | None = Field(default=None, validation_alias="OTEL_TRACES_EXPORTER")
    """``otlp``: send traces, to http://localhost:4318 if no collector is named; ``none``: send none."""

    @field_validator("database", "blobs")
    @classmethod
    def _known_scheme(cls, value: str | None, info: ValidationInfo) -> str | None:
        known = {
            "database": ("sqlite:///", "postgresql://", "postgres://"),
            "blobs": ("s3://",),
        }[str(info.field_name)]
        if value is not None and "://" in value and not value.startswith(known):
            raise ValueError(f"it must be a path or begin with {' or '.join(known)}")
        return value

    @field_validator("num_servers", "deadline_s", "server_tiles", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = [_KEY.fullmatch(entry.strip()) for entry in value.split(",") if entry.strip()]
        if None in found:
            # Not the value itself: somebody may have written a key where its hash belongs.
            raise ValueError("each entry must be name:sha256-<64 hexadecimal digits>")
        return tuple(ApiKey(*match.groups()) for match in found if match is not None)

    @field_validator("signing_keys", mode="before")
    @classmethod
    def _link_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = [
            _SIGNING_KEY.fullmatch(entry.strip()) for entry in value.split(",") if entry.strip()
        ]
        if None in found:
            raise ValueError("each entry must be kid:secret, the secret of at least 16 characters")
        return tuple(
            SigningKey(match.group(1), SecretStr(match.group(2))) for match in found if match
        )

    @field_validator("webhook_secrets", mode="before")
    @classmethod
    def _webhook_secrets(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        entries = [entry.strip() for entry in value.split(",") if entry.strip()]
        if not all(map(_is_webhook_secret, entries)):
            raise ValueError("each entry must be whsec_<base64 of 24 to 64 bytes>")
        return tuple(map(SecretStr, entries))

    @field_validator("rate_limit", mode="before")
    @classmethod
    def _rate(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _RATE.fullmatch(value.strip())
        if match is None or not all(float(part) for part in match.groups()):
            raise ValueError("it must be megapixels and seconds, both over 0, such as 500mp/60s")
        return RateLimit(*map(float, match.groups()))

    @field_validator("servers", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return value if value == ("*",) else tuple(map(_origin, value))

    @field_validator("fetch", "log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("fetch")
    @classmethod
    def _readable_fetch_rule(cls, value: str) -> str:
        for entry in allowed_sources(value):
            if "/" in entry:
                ipaddress.ip_network(entry)
            elif entry.startswith(":"):
                TypeAdapter(Address).validate_python(f"any{entry}")
            elif not entry or any(sign in entry for sign in "@ \t"):
                raise ValueError(
                    f"'{entry}' is neither a host, a port such as :8080, nor a network such as 10.0.0.0/8"
                )
            elif ":" in entry:
                TypeAdapter(Address).validate_python(entry)
        return value

    @property
    def has_webhooks(self) -> bool:
        """Whether webhooks can be sent: they are signed, and go where pictures may come from."""
        return bool(self.webhook_secrets) and self.fetch != "off"

    @property
    def output_limit_px(self) -> int:
        """Output pixels of one request, with the default worked out."""
        return self.max_output_px or (4 * self.max_image_dimension_px) ** 2

    @property
    def body_limit_bytes(self) -> int:
        """Bytes of one request body: a picture of the largest size in base64, and 1 MiB around it."""
        return 4 * -(-self.max_file_size_bytes // 3) + 1_048_576

    @property
    def server_count(self) -> int:
        """Model servers to start here."""
        return min(cores(), MAX_AUTO_SERVERS) if self.num_servers is None else self.num_servers

    @property
    def threads_per_server(self) -> int:
        """Compute threads of one model server: cores divided by servers, at least one."""
        return max(1, cores() // self.server_count)

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
                f"OTEL_TRACES_EXPORTER: Input should be otlp or none, not '{exporter}'"
            )
        if exporter == "none" or (exporter is None and endpoint is None):
            return None
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"OTEL_EXPORTER_OTLP_ENDPOINT: Input should begin with http:// or https://, not '{endpoint}'"
            )
        return "OTEL_EXPORTER_OTLP_ENDPOINT" if endpoint is not None else "OTEL_TRACES_EXPORTER"

    @property
    def database_url(self) -> str:
        """File or URL of the jobs' rows, with the default worked out."""
        return self.database or str(self.upload_folder / "jobs.sqlite3")

    @property
    def blobs_place(self) -> str:
        """Folder or URL of the jobs' bytes, with the default worked out."""
        return self.blobs or str(self.upload_folder / "jobs")

    @property
    def cache_folder(self) -> Path:
        """Folder of compiled networks, with the default worked out."""
        if self.cache_dir is not None:
            return self.cache_dir
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "enlarger"


def may_be_coloured() -> bool:
    """Whether nobody asked for text without colours, as programs of all kinds are asked: https://no-color.org."""
    return not os.environ.get("NO_COLOR")


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allowed_sources(rule: str) -> tuple[str, ...]:
    """The hosts, networks and ports that an ``ENLARGER_FETCH`` rule allows besides public addresses."""
    return () if rule in {"public", "off"} else tuple(part.strip() for part in rule.split(","))


def load(**overrides: Any) -> Settings:
    """Settings from the environment, with ``overrides`` (by attribute name) from the command line.

    Raises:
        ConfigError: a value cannot be used; the text names the variable.
    """
    given = {
        str(Settings.model_fields[name].validation_alias): value
        for name, value in overrides.items()
        if value is not None
    }
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        variable = str(first["loc"][0]) if first["loc"] else "settings"
        reason = first["msg"].removeprefix("Value error, ")
        shown = "" if variable in _SECRETS else f", not '{first['input']}'"
        raise ConfigError(f"{variable}: {reason}{shown}") from error
