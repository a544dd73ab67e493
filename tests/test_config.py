"""Settings: names and defaults of the HTTP contract, and what becomes of a value that cannot be used."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from enlarger import cli, config
from enlarger.config import (
    CLIENT_VARIABLES,
    GROUPS,
    ApiKey,
    RateLimit,
    Settings,
    SigningKey,
    allowed_sources,
    check_names,
    load,
)
from enlarger.errors import ConfigError

HASH = "0123456789abcdef" * 4

DEFAULTS: dict[str, tuple[str, Any]] = {
    "MODEL_DIR": ("model_dir", Path("models")),
    "UPLOAD_FOLDER": ("upload_folder", Path("uploads")),
    "NUM_SERVERS": ("num_servers", None),
    "BASE_PORT": ("base_port", 5002),
    "MAX_FILE_SIZE": ("max_file_size_bytes", 7_340_032),
    "MAX_IMAGE_DIMENSION": ("max_image_dimension_px", 2048),
    "CLEANUP_INTERVAL": ("cleanup_interval_s", 300),
    "FILE_MAX_AGE": ("file_max_age_s", 300),
    "ENLARGER_MAX_OUTPUT_PIXELS": ("max_output_px", None),
    "ENLARGER_MAX_FRAMES": ("max_frames", 500),
    "ENLARGER_DEADLINE": ("deadline_s", None),
    "ENLARGER_QUEUE_LIMIT": ("queue_limit", 256),
    "ENLARGER_MAX_WAIT": ("max_wait_s", 600),
    "ENLARGER_SYNC_LIMIT": ("sync_limit_s", 90),
    "ENLARGER_JOBS_LIMIT": ("jobs_limit", 10_000),
    "ENLARGER_PICTURE_MEMORY": ("picture_memory_mib", 2048),
    "ENLARGER_PRECISION": ("precision", "auto"),
    "ENLARGER_LOG_LEVEL": ("log_level", "info"),
    "ENLARGER_LOG_FORMAT": ("log_format", "auto"),
    "ENLARGER_SERVER_MEMORY": ("server_memory_mib", 4096),
    "ENLARGER_SERVER_TILES": ("server_tiles", None),
    "ENLARGER_DRAIN": ("drain_s", 45),
    "ENLARGER_FETCH": ("fetch", "public"),
    "ENLARGER_API_KEYS": ("api_keys", ()),
    "ENLARGER_SIGNING_KEYS": ("signing_keys", ()),
    "ENLARGER_WEBHOOK_SECRETS": ("webhook_secrets", ()),
    "ENLARGER_RATE_LIMIT": ("rate_limit", None),
    "ENLARGER_CORS_ORIGINS": ("cors_origins", ()),
    "ENLARGER_TRUSTED_PROXIES": ("trusted_proxies", ()),
    "ENLARGER_PROXY_HEADER": ("proxy_header", "x-forwarded-for"),
    "ENLARGER_TILE_TOKEN": ("tile_token", None),
    "ENLARGER_PUBLIC_URL": ("public_url", None),
    "ENLARGER_PAGE": ("page", "on"),
    "ENLARGER_PAGE_TITLE": ("page_title", "enlarger"),
    "ENLARGER_SERVERS": ("servers", ()),
    "ENLARGER_DATABASE": ("database", None),
    "ENLARGER_BLOBS": ("blobs", None),
    "ENLARGER_CACHE_DIR": ("cache_dir", None),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("otlp_endpoint", None),
    "OTEL_TRACES_EXPORTER": ("traces_exporter", None),
}
"""Attribute and default by variable: section 0 of the HTTP contract. None: unset, or ``auto``."""

GIVEN: dict[str, tuple[str, Any]] = {
    "MODEL_DIR": ("/srv/models", Path("/srv/models")),
    "UPLOAD_FOLDER": ("results/new", Path("results/new")),
    "NUM_SERVERS": ("12", 12),
    "BASE_PORT": ("0", 0),
    "MAX_FILE_SIZE": ("1", 1),
    "MAX_IMAGE_DIMENSION": ("4096", 4096),
    "CLEANUP_INTERVAL": ("0.5", 0.5),
    "FILE_MAX_AGE": ("86400", 86_400),
    "ENLARGER_MAX_OUTPUT_PIXELS": ("1000000", 1_000_000),
    "ENLARGER_MAX_FRAMES": ("12", 12),
    "ENLARGER_DEADLINE": ("90", 90),
    "ENLARGER_QUEUE_LIMIT": ("1", 1),
    "ENLARGER_MAX_WAIT": ("30.5", 30.5),
    "ENLARGER_SYNC_LIMIT": ("25.5", 25.5),
    "ENLARGER_JOBS_LIMIT": ("100000", 100_000),
    "ENLARGER_PICTURE_MEMORY": ("512", 512),
    "ENLARGER_PRECISION": ("bf16", "bf16"),
    "ENLARGER_LOG_LEVEL": ("WARNING", "warning"),
    "ENLARGER_LOG_FORMAT": ("Text", "text"),
    "ENLARGER_SERVER_MEMORY": ("800", 800),
    "ENLARGER_SERVER_TILES": ("1000", 1000),
    "ENLARGER_DRAIN": ("0", 0),
    "ENLARGER_API_KEYS": (
        f"alice:sha256-{HASH}, bob.2:sha256-{HASH},",
        (ApiKey("alice", HASH), ApiKey("bob.2", HASH)),
    ),
    "ENLARGER_SIGNING_KEYS": (
        "shop:sixteen-letters!, shop.2:a:colon/and=more+~,",
        (
            SigningKey("shop", SecretStr("sixteen-letters!")),
            SigningKey("shop.2", SecretStr("a:colon/and=more+~")),
        ),
    ),
    "ENLARGER_WEBHOOK_SECRETS": (
        f"whsec_{'A' * 32}, whsec_{'+/' * 42}AA==,",
        (SecretStr(f"whsec_{'A' * 32}"), SecretStr(f"whsec_{'+/' * 42}AA==")),
    ),
    "ENLARGER_RATE_LIMIT": ("500mp/60s", RateLimit(500, 60)),
    "ENLARGER_CORS_ORIGINS": (
        "https://a.example, http://localhost:3000",
        ("https://a.example", "http://localhost:3000"),
    ),
    "ENLARGER_TRUSTED_PROXIES": (
        "10.0.0.0/8, ::1",
        (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")),
    ),
    "ENLARGER_PROXY_HEADER": (" Forwarded ", "forwarded"),
    "ENLARGER_TILE_TOKEN": ("sixteen letters!", SecretStr("sixteen letters!")),
    "ENLARGER_FETCH": ("off", "off"),
    "ENLARGER_PUBLIC_URL": ("https://pictures.example/up", "https://pictures.example/up"),
    "ENLARGER_PAGE": ("off", "off"),
    "ENLARGER_PAGE_TITLE": ("Grandma's <pictures>", "Grandma's <pictures>"),
    "ENLARGER_SERVERS": ("one:5002,two:5003", ("one:5002", "two:5003")),
    "ENLARGER_DATABASE": ("postgresql://up@db/jobs", "postgresql://up@db/jobs"),
    "ENLARGER_BLOBS": ("s3://bucket/jobs", "s3://bucket/jobs"),
    "ENLARGER_CACHE_DIR": ("/var/cache/enlarger", Path("/var/cache/enlarger")),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://collector:4318", "http://collector:4318"),
    "OTEL_TRACES_EXPORTER": ("none", "none"),
}
"""A text that each variable takes, and what it means."""

FETCH_UNCLEAR = ["true", "yes", "on", "1", "all", "Yes", " TRUE ", "true,a.example", "a, all"]
"""Words that could mean public addresses, or any address."""

FETCH_CONTRADICTIONS = ["none,10.0.0.0/8", "public, off", "a.example,False", "no,no"]
"""Lists that allow something and switch fetching off."""

WRONG = {
    "NUM_SERVERS": ["0", "-1", "2.5", "many", "", "nan"],
    "BASE_PORT": ["-1", "65536", "http", ""],
    "MAX_FILE_SIZE": ["0", "-5", "7MB", "1.5"],
    "MAX_IMAGE_DIMENSION": ["0", "-1", "2k"],
    "CLEANUP_INTERVAL": ["0", "-1", "5m", "nan", "inf"],
    "FILE_MAX_AGE": ["0", "-300", "never", "nan", "inf"],
    "ENLARGER_MAX_OUTPUT_PIXELS": ["0", "-1", "64MP"],
    "ENLARGER_MAX_FRAMES": ["0", "-1", "all"],
    "ENLARGER_DEADLINE": ["0", "-1", "soon", "nan", "inf"],
    "ENLARGER_QUEUE_LIMIT": ["0", "-1", "none"],
    "ENLARGER_MAX_WAIT": ["0", "-1", "long", "nan", "inf"],
    "ENLARGER_SYNC_LIMIT": ["0", "-1", "never", "nan", "inf"],
    "ENLARGER_JOBS_LIMIT": ["0", "-1", "many"],
    "ENLARGER_PICTURE_MEMORY": ["0", "-1", "2GB"],
    "ENLARGER_PRECISION": ["f16", "int4", "F32", ""],
    "ENLARGER_LOG_LEVEL": ["verbose", "warn", "20", ""],
    "ENLARGER_LOG_FORMAT": ["logfmt", "console", "true", ""],
    "ENLARGER_SERVER_MEMORY": ["0", "-1", "much", "1.5"],
    "ENLARGER_SERVER_TILES": ["0", "-1", "never", "1.5"],
    "ENLARGER_API_KEYS": [
        "alice",
        f"alice:{HASH}",
        f"alice:sha256-{HASH[1:]}",
        f"alice:sha256-{HASH.upper()}",
        f"a b:sha256-{HASH}",
        f":sha256-{HASH}",
        f"alice:sha256-{HASH};bob:sha256-{HASH}",
    ],
    "ENLARGER_SIGNING_KEYS": [
        "shop",
        "sixteen-letters!",
        "shop:fifteen-letters",
        ":sixteen-letters!",
        "a b:sixteen-letters!",
        "shop:sixteen letters!",
        "shop:sixteen-lettersé",
        "shop:sixteen-letters!,more:short",
    ],
    "ENLARGER_WEBHOOK_SECRETS": [
        "A" * 32,
        f"whsec_{'A' * 31}",
        f"whsec_{'A' * 28}",
        f"whsec_{'A' * 88}",
        f"whsec_{'-' * 32}",
        f"whsec_{'A' * 32};whsec_{'A' * 32}",
    ],
    "ENLARGER_RATE_LIMIT": [
        "500",
        "null",
        "",
        "500mp",
        "500mp/0s",
        "0mp/60s",
        "-1mp/60s",
        "500mp/60",
        "1e3mp/1s",
    ],
    "ENLARGER_CORS_ORIGINS": [
        "a.example",
        "null",
        "ftp://a.example",
        "https://",
        "https:a.example",
        "https://a.example/page",
        "https://a.example?x",
        "https://u@a.example",
        "https://*.example",
        "https://a.example:http",
        "https://a.example http://b.example",
        "*, https://a.example",
        "*,*",
    ],
    "ENLARGER_TRUSTED_PROXIES": [
        "proxy.example",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.1:443",
        "[::1]",
        "[::1]:443",
        "10.0.0.0/8, unknown",
        "*",
    ],
    "ENLARGER_PROXY_HEADER": ["", "x-real-ip", "x_forwarded_for", "forwarded, x-forwarded-for"],
    "ENLARGER_TILE_TOKEN": ["", "short", "ä" * 20, "sixteen letters!\n", " " * 20],
    "MODEL_DIR": [""],
    "UPLOAD_FOLDER": ["", " "],
    "ENLARGER_CACHE_DIR": [""],
    "ENLARGER_DRAIN": ["-1", "quick", "nan", "inf"],
    "ENLARGER_FETCH": [
        "",
        "a,,b",
        ",",
        "http://a",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "a b",
        "u@a",
        "*.example",
        "a/b",
        "fd00::1",
        "[fd00::1]",
        *FETCH_UNCLEAR,
        *FETCH_CONTRADICTIONS,
    ],
    "ENLARGER_PAGE": ["none", "maybe"],
    "ENLARGER_PAGE_TITLE": ["x" * 61, " "],
    "ENLARGER_PUBLIC_URL": [
        *("example.com", "ftp://example.com", "https://", "https://a b"),
        *("https://a.example?x=1", "https://a.example/#top", "https://u:secret@a.example"),
        *("https://a.example:99999/x", "https://a.example/../x"),
    ],
    "ENLARGER_SERVERS": ["one", "one:", ":5002", "one:http", "a:1,b", "http://a:1", "a b:1"],
    "ENLARGER_DATABASE": ["", "mysql://db/jobs", "sqlite://jobs.sqlite3"],
    "ENLARGER_BLOBS": ["", "http://bucket.example", "gs://bucket"],
}
"""Texts that each variable refuses."""

WRONG_PORTS = [
    ("ENLARGER_SERVERS", "one:0"),
    ("ENLARGER_SERVERS", "one:65536"),
    ("ENLARGER_FETCH", "one:http"),
    ("ENLARGER_FETCH", "one:0"),
    ("ENLARGER_FETCH", "one:65536"),
    ("ENLARGER_FETCH", ":0"),
    ("ENLARGER_FETCH", ":http"),
    ("ENLARGER_FETCH", ":"),
    ("ENLARGER_FETCH", ":²"),
]
"""Addresses that nothing can be reached under."""


def value_of(settings: Settings, attribute: str) -> Any:
    """A setting by its attribute, which no two groups share; the only one of ``fetch`` is called like the group."""
    if attribute == "fetch":
        return settings.fetch.rule
    group = next(name for name, group in GROUPS.items() if attribute in group.model_fields)
    return getattr(getattr(settings, group), attribute)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.upper().startswith("ENLARGER_") or variable in DEFAULTS:
            monkeypatch.delenv(variable)


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process may use one processor core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("variable", DEFAULTS)
def test_default_is_that_of_the_contract(variable: str) -> None:
    """An empty environment gives the values of its table."""
    attribute, default = DEFAULTS[variable]
    assert value_of(load(), attribute) == default


def test_there_are_no_other_settings() -> None:
    """A setting that no table names is one that nobody can find."""
    fields = [field for group in GROUPS.values() for field in group.model_fields.values()]
    assert sorted(str(field.validation_alias) for field in fields) == sorted(DEFAULTS)


@pytest.mark.parametrize("variable", GIVEN)
def test_variable_sets_its_value(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Each is read under its own name."""
    text, value = GIVEN[variable]
    monkeypatch.setenv(variable, text)
    assert value_of(load(), DEFAULTS[variable][0]) == value


@pytest.mark.parametrize(
    "variable",
    [variable for variable, (attribute, _) in DEFAULTS.items() if attribute.upper() != variable],
)
def test_name_of_the_attribute_is_no_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """``PUBLIC_URL`` or ``SERVERS`` of some other program in the environment change nothing here."""
    attribute, default = DEFAULTS[variable]
    monkeypatch.setenv(attribute.upper(), GIVEN[variable][0])
    assert value_of(load(), attribute) == default


ALLOWED = {
    "NUM_SERVERS": "whole number, at least 1, or auto",
    "BASE_PORT": "whole number, from 0 to 65535",
    "MAX_FILE_SIZE": "whole number of bytes, at least 1",
    "MAX_IMAGE_DIMENSION": "whole number of pixels, at least 1",
    "CLEANUP_INTERVAL": "number of seconds, more than 0",
    "FILE_MAX_AGE": "number of seconds, more than 0",
    "ENLARGER_MAX_OUTPUT_PIXELS": "whole number of pixels, at least 1",
    "ENLARGER_MAX_FRAMES": "whole number, at least 1",
    "ENLARGER_DEADLINE": "number of seconds, more than 0, or auto",
    "ENLARGER_QUEUE_LIMIT": "whole number, at least 1",
    "ENLARGER_MAX_WAIT": "number of seconds, more than 0",
    "ENLARGER_SYNC_LIMIT": "number of seconds, more than 0",
    "ENLARGER_JOBS_LIMIT": "whole number, at least 1",
    "ENLARGER_PICTURE_MEMORY": "whole number of MiB, at least 1",
    "ENLARGER_PRECISION": "auto, f32, bf16 or int8",
    "ENLARGER_LOG_LEVEL": "debug, info, warning or error",
    "ENLARGER_LOG_FORMAT": "auto, text or json",
    "ENLARGER_SERVER_MEMORY": "whole number of MiB, at least 1",
    "ENLARGER_SERVER_TILES": "whole number, at least 1, or auto",
    "ENLARGER_API_KEYS": "`enlarger key NAME` makes one",
    "ENLARGER_SIGNING_KEYS": "kid:secret",
    "ENLARGER_WEBHOOK_SECRETS": "whsec_<base64 of 24 to 64 bytes>",
    "ENLARGER_RATE_LIMIT": "such as 500mp/60s",
    "ENLARGER_CORS_ORIGINS": "an origin such as https://a.example",
    "ENLARGER_TRUSTED_PROXIES": "10.0.0.0/8",
    "ENLARGER_PROXY_HEADER": "x-forwarded-for or forwarded",
    "ENLARGER_TILE_TOKEN": "at least 16 characters, all of them visible ASCII",
    "MODEL_DIR": "the path of a folder",
    "UPLOAD_FOLDER": "the path of a folder",
    "ENLARGER_CACHE_DIR": "the path of a folder",
    "ENLARGER_DRAIN": "number of seconds, at least 0",
    "ENLARGER_FETCH": "",
    "ENLARGER_PAGE": "on or off",
    "ENLARGER_PAGE_TITLE": "a text of 1 to 60 characters",
    "ENLARGER_PUBLIC_URL": "such as https://pictures.example",
    "ENLARGER_SERVERS": "host:port",
    "ENLARGER_DATABASE": "postgresql://",
    "ENLARGER_BLOBS": "s3://bucket/prefix",
}
"""What each message says is allowed. That of ``ENLARGER_FETCH`` depends on what is wrong, and is tested below."""

JARGON = re.compile(
    r"\\[dsSw]|\^|\(\?|\[\^|pattern|Input should|String should|Value (error|should)|does not appear|host bits"
    r"|pydantic|Traceback|parse"
)
"""Patterns, and the words of libraries."""


@pytest.mark.parametrize(
    ("variable", "text"),
    [*((variable, text) for variable, texts in WRONG.items() for text in texts), *WRONG_PORTS],
)
def test_value_that_cannot_be_used_is_answered_in_words(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    """One line: what the operator typed on the left, what is allowed, and what stood on the right."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as refused:
        load()
    message = str(refused.value)
    assert message.startswith(f"{variable}: ")
    assert ALLOWED[variable] in message
    assert not JARGON.search(message)
    assert "\n" not in message


def test_every_setting_that_can_be_wrong_is_tested() -> None:
    """All others take any text, or are checked where they are used."""
    checked_later = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"}
    assert set(DEFAULTS) == set(WRONG) | checked_later
    assert set(WRONG) == set(ALLOWED)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "ENLARGER_TRUSTED_PROXIES",
            "fd00::/8, 10.0.0.1:443",
            "each must be an IP address such as 10.0.0.7 or a network such as 10.0.0.0/8 or fd00::/8, without a port, "
            "brackets or a host name, not '10.0.0.1:443'",
        ),
        (
            "ENLARGER_TRUSTED_PROXIES",
            "10.0.0.1/8",
            "a network begins at its first address: write 10.0.0.0/8 for all of it, or 10.0.0.1 for one address, "
            "not '10.0.0.1/8'",
        ),
        (
            "ENLARGER_SERVERS",
            "a:1,http://b:2",
            "each must be host:port with a port from 1 to 65535, such as 10.0.0.7:5002, without http://, "
            "not 'http://b:2'",
        ),
        ("NUM_SERVERS", "a\nb", r"it must be a whole number, at least 1, or auto, not 'a\nb'"),
        (
            "ENLARGER_QUEUE_LIMIT",
            "9" * 5000,
            f"it must be a whole number, at least 1, not '{'9' * 100}...'",
        ),
        (
            "ENLARGER_BLOBS",
            "gs://user:enl_p@ss@bucket",
            "it must be the path of a folder, or s3://bucket/prefix, not 'gs://user:***@bucket'",
        ),
    ],
)
def test_message_names_the_part_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, message: str
) -> None:
    """Of a list its entry; on one line, not too long, and without passwords."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as refused:
        load()
    assert str(refused.value) == f"{variable}: {message}"


@pytest.mark.parametrize(
    ("variable", "entries"),
    [
        ("ENLARGER_API_KEYS", f"alice:sha256-{HASH},enl_secret"),
        ("ENLARGER_SIGNING_KEYS", "shop:sixteen-letters!, enl_secret"),
        ("ENLARGER_WEBHOOK_SECRETS", f"whsec_{'A' * 32},enl_secret"),
    ],
)
def test_message_counts_entries_that_it_must_not_show(
    monkeypatch: pytest.MonkeyPatch, variable: str, entries: str
) -> None:
    """So that an operator with many keys finds the one."""
    monkeypatch.setenv(variable, entries)
    with pytest.raises(ConfigError, match=f"^{variable}: .*, unlike entry 2; ") as refused:
        load()
    assert "enl_secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ENLARGER_API_KEYS", "enl_secret"),
        ("ENLARGER_SIGNING_KEYS", "enl_secret"),
        ("ENLARGER_WEBHOOK_SECRETS", "enl_secret"),
        ("ENLARGER_TILE_TOKEN", "enl_secret"),
        ("ENLARGER_DATABASE", "mysql://up:enl_secret@db/jobs"),
    ],
)
def test_message_does_not_show_a_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    """Somebody may have written a key where its hash belongs, and logs are read by many."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as refused:
        load()
    assert "enl_" not in str(refused.value)


SECRET = "c2VjcmV0" * 4


def test_settings_do_not_show_secrets() -> None:
    """Wherever they are printed."""
    settings = load(
        tile_token="enl_secret-and-longer",
        signing_keys="shop:enl_secret-and-longer",
        webhook_secrets=f"whsec_{SECRET}",
        database="postgresql://up:enl_secret@db/jobs",
    )
    assert "enl_" not in repr(settings) + str(settings)
    assert SECRET not in repr(settings) + str(settings)


def test_message_shows_the_value() -> None:
    """An operator sees what was read."""
    with pytest.raises(ConfigError, match=r"^NUM_SERVERS: .*, not '0'$"):
        load(num_servers=0)


@pytest.mark.parametrize(
    ("wrong", "variable"),
    [
        ({"base_port": 65_536}, "BASE_PORT"),
        ({"servers": "one"}, "ENLARGER_SERVERS"),
        ({"fetch": "a/b"}, "ENLARGER_FETCH"),
        ({"precision": "f16"}, "ENLARGER_PRECISION"),
    ],
)
def test_wrong_value_of_the_command_line_names_the_variable(
    wrong: dict[str, Any], variable: str
) -> None:
    """Overrides are checked as the environment is."""
    with pytest.raises(ConfigError, match=f"^{variable}: "):
        load(**wrong)


def test_command_line_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nearer to the operator wins."""
    monkeypatch.setenv("NUM_SERVERS", "3")
    assert load(num_servers=2).pool.num_servers == 2
    assert load(num_servers="auto").pool.num_servers is None


def test_option_that_was_not_given_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None on the command line means: not given."""
    monkeypatch.setenv("NUM_SERVERS", "3")
    assert load(num_servers=None, precision=None).pool.num_servers == 3


def test_only_the_settings_read_the_environment() -> None:
    """Whoever looks for what the environment changes finds it in one file."""
    source = Path(config.__file__).parent
    readers = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"\benviron\b|\bgetenv\b", path.read_text())
    ]
    assert readers == ["config.py"]


def test_settings_do_not_change() -> None:
    """Whoever holds them may rely on them."""
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.pool.num_servers = 2  # type: ignore[misc]


# auto


@pytest.mark.parametrize(
    ("variable", "attribute"), [("NUM_SERVERS", "num_servers"), ("ENLARGER_DEADLINE", "deadline_s")]
)
def test_auto_is_the_same_as_unset(
    monkeypatch: pytest.MonkeyPatch, variable: str, attribute: str
) -> None:
    """Both have a default that is worked out later."""
    monkeypatch.setenv(variable, "auto")
    assert value_of(load(), attribute) is None
    assert load() == load(**{attribute: "auto"})


@pytest.mark.parametrize(
    "variable", ["BASE_PORT", "MAX_FILE_SIZE", "ENLARGER_QUEUE_LIMIT", "ENLARGER_MAX_WAIT"]
)
def test_auto_is_no_value_elsewhere(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Nothing is worked out for these."""
    monkeypatch.setenv(variable, "auto")
    with pytest.raises(ConfigError, match=f"^{variable}: "):
        load()


def test_auto_starts_a_server_per_core_and_five_at_most() -> None:
    """Which cores there are is the system's to say."""
    assert load().pool.server_count == min(5, len(os.sched_getaffinity(0)))


@pytest.mark.usefixtures("one_core")
def test_cores_are_those_this_process_may_use() -> None:
    """A container on one core of many gets one server with one thread."""
    assert load().pool.server_count == 1
    assert load().pool.threads_per_server == 1


@pytest.mark.parametrize("servers", [1, 7, 100])
def test_any_number_of_servers_works(servers: int) -> None:
    """The bound of five is that of ``auto`` alone."""
    settings = load(num_servers=servers)
    assert settings.pool.server_count == servers
    assert settings.pool.threads_per_server == max(1, len(os.sched_getaffinity(0)) // servers)


# Lists


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("", ()),
        ("https://a.example/", ("https://a.example",)),
        ("HTTPS://A.Example:443", ("https://a.example",)),
        (
            "http://a.example:80,http://a.example:8080",
            ("http://a.example", "http://a.example:8080"),
        ),
        ("https://pictures.é.example", ("https://pictures.xn--9ca.example",)),
        ("http://[2001:DB8::1]:3000", ("http://[2001:db8::1]:3000",)),
    ],
)
def test_origins_are_as_browsers_write_them(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    """However the operator does: what is compared is text."""
    monkeypatch.setenv("ENLARGER_CORS_ORIGINS", text)
    assert load().access.cors_origins == origins


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", ()),
        (" , ", ()),
        ("one:5002", ("one:5002",)),
        (" one:5002 , 10.0.0.7:65535,", ("one:5002", "10.0.0.7:65535")),
        ("a-b.example:1", ("a-b.example:1",)),
    ],
)
def test_servers_are_a_list_with_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, servers: tuple[str, ...]
) -> None:
    """Spaces and a comma at the end do no harm."""
    monkeypatch.setenv("ENLARGER_SERVERS", text)
    assert load().pool.servers == servers


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        *((text, "public") for text in ("public", " Public ", "public,public")),
        *(
            (text, "off")
            for word in ("off", "none", "no", "false", "0", "disabled")
            for text in sorted({word, word.upper(), f" {word.title()} "})
        ),
    ],
)
def test_plain_fetch_rules_name_no_source(text: str, rule: str) -> None:
    """They allow all public addresses, or nothing: in any case, and with spaces around them."""
    assert load(fetch=text).fetch.rule == rule
    assert allowed_sources(rule) == ()
    assert load(fetch=text, webhook_secrets=f"whsec_{'A' * 32}").has_webhooks == (rule == "public")


@pytest.mark.parametrize("text", FETCH_UNCLEAR)
def test_fetch_rule_that_may_mean_either_is_refused(text: str) -> None:
    """With what may be meant."""
    with pytest.raises(ConfigError) as refused:
        load(fetch=text)
    assert re.match(
        r"ENLARGER_FETCH: it must be public \(all public addresses\), off \(none\), or a list of .*, not '\w+'$",
        str(refused.value),
    )


@pytest.mark.parametrize("text", FETCH_CONTRADICTIONS)
def test_fetch_rule_that_contradicts_itself_is_refused(text: str) -> None:
    """Whoever wrote a word for off must not find anything open."""
    with pytest.raises(
        ConfigError, match=r"^ENLARGER_FETCH: '\w+' switches fetching off, and must"
    ):
        load(fetch=text)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("public,10.0.0.0/8", ("10.0.0.0/8",)),
        ("minio , PUBLIC", ("minio",)),
        ("never", ("never",)),
        ("off.example,no:80", ("off.example", "no:80")),
        ("bilder.é.example", ("bilder.é.example",)),
        ("my_store-1:9000", ("my_store-1:9000",)),
    ],
)
def test_fetch_rule_of_any_other_word_is_a_host(text: str, sources: tuple[str, ...]) -> None:
    """``public`` among them says what is true of every list."""
    assert allowed_sources(load(fetch=text).fetch.rule) == sources


def test_fetch_rule_lists_hosts_and_networks() -> None:
    """With or without a port, of either family, spaces around the commas."""
    rule = "pictures.lan, minio:9000 ,10.0.0.0/8,fd00::/8, 192.168.1.7"
    assert load(fetch=rule).fetch.rule == rule
    assert allowed_sources(rule) == (
        "pictures.lan",
        "minio:9000",
        "10.0.0.0/8",
        "fd00::/8",
        "192.168.1.7",
    )


@given(address=st.ip_addresses(), bits=st.integers(0, 128))
def test_every_network_is_a_fetch_rule(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    """In the notation of RFC 4632 and RFC 4291."""
    prefix = min(bits, address.max_prefixlen)
    rule = str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))
    assert load(fetch=rule).fetch.rule == rule


@pytest.mark.parametrize("text", ["::ffff:10.0.0.0/104", "::ffff:a00:0/104"])
def test_trusted_proxies_that_are_mapped_into_ipv6_are_those_of_ipv4(text: str) -> None:
    """As their addresses are, wherever they come from."""
    assert load(trusted_proxies=text).access.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
    )


# Names


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ENLARGER_API_KEYZ", "ENLARGER_API_KEYS"),
        ("ENLARGER_APIKEYS", "ENLARGER_API_KEYS"),
        ("ENLARGER_KEYS", "ENLARGER_API_KEYS"),
        ("enlarger_api_keyz", "ENLARGER_API_KEYS"),
        ("enlarger_api_key", "ENLARGER_API_KEY"),
        ("ENLARGER_CORS", "ENLARGER_CORS_ORIGINS"),
        ("ENLARGER_RATELIMIT", "ENLARGER_RATE_LIMIT"),
        ("ENLARGER_TRUSTED_PROXY", "ENLARGER_TRUSTED_PROXIES"),
        ("ENLARGER_NUM_SERVERS", "NUM_SERVERS"),
        ("ENLARGER_MAX_FILE_SIZE", "MAX_FILE_SIZE"),
        ("ENLARGER_BASE_PORT", "BASE_PORT"),
        ("ENLARGER_HOST", "the option --host"),
        ("ENLARGER_PORT", "the option --port"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    """A list of keys that is not set, since its name is misspelt, is an open door. The value may be a secret."""
    monkeypatch.setenv(name, "5002")
    with pytest.raises(ConfigError) as refused:
        load()
    assert str(refused.value) == (
        f"{name}: there is no such setting; the nearest name is {nearest}. Correct the name, or unset it"
    )


@pytest.mark.parametrize("name", ["ENLARGER_", "ENLARGER_é", "Enlarger_X", "ENLARGER__FETCH"])
def test_every_unknown_name_with_our_prefix_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also one that is near to nothing."""
    monkeypatch.setenv(name, "")
    with pytest.raises(
        ConfigError, match=f"^{name}: there is no such setting; the nearest name is "
    ):
        load()


def test_all_unknown_names_are_listed() -> None:
    """They are mended in one go."""
    with pytest.raises(ConfigError) as refused:
        check_names({"ENLARGER_APIKEYS": "secret", "ENLARGER_CORS": "*", "ENLARGER_FETCH": "off"})
    assert str(refused.value) == (
        "ENLARGER_APIKEYS: there is no such setting; the nearest name is ENLARGER_API_KEYS. Correct the name, or "
        "unset it. Also unknown: ENLARGER_CORS (the nearest is ENLARGER_CORS_ORIGINS)"
    )


def test_names_of_others_are_not_looked_at() -> None:
    """Only those with our prefix are ours; settings without it are those of the HTTP contract."""
    check_names(
        {"MODEL_DIRS": "a", "ENLARGERS": "b", "MY_ENLARGER_X": "c", "ENLARGER": "d", "PATH": ""}
    )


@pytest.mark.parametrize("variable", DEFAULTS)
def test_names_of_settings_are_known_in_any_case(variable: str) -> None:
    """They are read in any."""
    check_names({variable: ""})
    check_names({variable.lower(): ""})
    check_names({variable.title(): ""})


def test_setting_with_two_spellings_is_refused() -> None:
    """Which one would be read depends on the order of the environment."""
    keys = {"ENLARGER_API_KEYS": f"alice:sha256-{HASH}", "enlarger_api_keys": ""}
    with pytest.raises(
        ConfigError, match=r"^ENLARGER_API_KEYS: it is set twice, also as enlarger_api_keys; "
    ):
        check_names(keys)


def variables_of(command: Any) -> set[str]:
    """The variables that the options of a command, and of those below it, are read from."""
    own = {option.envvar for option in command.params if option.envvar}
    return own.union(*map(variables_of, getattr(command, "commands", {}).values()))


def test_variables_of_the_client_are_known() -> None:
    """Each that an option is read from: a shell may have them set for ``enlarger jobs``."""
    assert variables_of(typer.main.get_command(cli.app)) == set(CLIENT_VARIABLES)
    check_names(dict.fromkeys(CLIENT_VARIABLES, "enl_secret"))


@pytest.mark.parametrize("text", [f"alice:sha256-{HASH}", f"enl_x,alice:sha256-{HASH}"])
def test_entry_for_the_keys_in_the_variable_of_the_client_is_refused(text: str) -> None:
    """It is a letter away, and the service would be open."""
    with pytest.raises(
        ConfigError, match=r"^ENLARGER_API_KEY: .* an entry of ENLARGER_API_KEYS"
    ) as refused:
        check_names({"ENLARGER_API_KEY": text})
    assert HASH not in str(refused.value)


def of_kubernetes(service: str, ports: dict[str, int], protocol: str = "TCP") -> dict[str, str]:
    """What Kubernetes sets in every container of the namespace for a service with these named ports.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    name = service.upper().replace("-", "_")
    host, first = "10.96.0.11", next(iter(ports.values()))
    scheme = protocol.lower()
    variables = {
        f"{name}_SERVICE_HOST": host,
        f"{name}_SERVICE_PORT": str(first),
        f"{name}_PORT": f"{scheme}://{host}:{first}",
    }
    for port_name, port in ports.items():
        if port_name:
            variables[f"{name}_SERVICE_PORT_{port_name.upper().replace('-', '_')}"] = str(port)
        variables |= {
            f"{name}_PORT_{port}_{protocol}": f"{scheme}://{host}:{port}",
            f"{name}_PORT_{port}_{protocol}_PROTO": scheme,
            f"{name}_PORT_{port}_{protocol}_PORT": str(port),
            f"{name}_PORT_{port}_{protocol}_ADDR": host,
        }
    return variables


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
@pytest.mark.parametrize("ports", [{"": 8000}, {"http": 8000, "http-metrics": 9100, "port": 1}])
@pytest.mark.parametrize(
    "service",
    [
        "enlarger",
        "enlarger-gateway",
        "enlarger-model-server",
        "enlarger-service",
        "enlarger-8000-tcp",
    ],
)
def test_variables_of_kubernetes_do_no_harm(
    monkeypatch: pytest.MonkeyPatch, service: str, ports: dict[str, int], protocol: str
) -> None:
    """It sets them in every container that runs beside a service whose name begins with ours."""
    before = load()
    for name, value in of_kubernetes(service, ports, protocol).items():
        monkeypatch.setenv(name, value)
    assert load() == before


def test_no_setting_has_a_name_that_kubernetes_may_set() -> None:
    """A service of that name would change it."""
    prefixed = [name for name in DEFAULTS if name.startswith("ENLARGER_")]
    assert not [name for name in prefixed if re.search(r"_(PORT|SERVICE)(_|$)", name)]


# What follows from the settings


@given(side=st.integers(1, 100_000))
def test_output_limit_is_that_of_the_largest_picture_at_4x(side: int) -> None:
    """Unset, it allows what the input limit allows."""
    assert load(max_image_dimension_px=side).limits.output_limit_px == 16 * side * side


def test_usual_output_limit_is_67_megapixels() -> None:
    """The number in the contract."""
    assert load().limits.output_limit_px == 67_108_864


def test_output_limit_of_the_operator_is_kept() -> None:
    """Whatever the input limit says."""
    assert load(max_output_px=1000, max_image_dimension_px=4096).limits.output_limit_px == 1000


@pytest.mark.parametrize(
    ("file_bytes", "body_bytes"),
    [(7_340_032, 10_835_288), (1, 1_048_580), (3, 1_048_580), (4, 1_048_584)],
)
def test_body_holds_the_largest_file_in_base64_and_a_mebibyte(
    file_bytes: int, body_bytes: int
) -> None:
    """``4 * ceil(MAX_FILE_SIZE / 3) + 1048576``; the first number is the one in the contract's example."""
    assert load(max_file_size_bytes=file_bytes).limits.body_limit_bytes == body_bytes


def test_jobs_lie_beside_the_results() -> None:
    """Where nothing else is said, one folder holds all that is kept."""
    settings = load(upload_folder="kept")
    assert settings.database_url == "kept/jobs.sqlite3"
    assert settings.blobs_place == "kept/jobs"


def test_jobs_lie_where_the_operator_says() -> None:
    """Each in a place of its own."""
    settings = load(database="/fast/jobs.sqlite3", blobs="s3://bucket")
    assert settings.database_url == "/fast/jobs.sqlite3"
    assert settings.blobs_place == "s3://bucket"


def test_compiled_networks_lie_where_the_operator_says() -> None:
    """Before anything that the system says."""
    assert load(cache_dir="/somewhere").server.cache_folder == Path("/somewhere")


def test_compiled_networks_lie_in_the_cache_folder_of_the_desktop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``XDG_CACHE_HOME`` of the XDG base directory specification."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert load().server.cache_folder == Path("/xdg/enlarger")


@pytest.mark.parametrize("unset", [True, False])
def test_compiled_networks_lie_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, unset: bool
) -> None:
    """The same specification: an empty ``XDG_CACHE_HOME`` is as good as none."""
    monkeypatch.setenv("HOME", "/home/operator")
    if unset:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert load().server.cache_folder == Path("/home/operator/.cache/enlarger")


# Traces


@pytest.mark.parametrize(
    ("endpoint", "exporter", "variable"),
    [
        (None, None, None),
        ("", "", None),
        ("http://collector:4318", None, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("https://collector", "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (None, "otlp", "OTEL_TRACES_EXPORTER"),
        ("", "otlp", "OTEL_TRACES_EXPORTER"),
        ("http://collector:4318", "none", None),
        ("collector:4317", "none", None),
        (None, "none", None),
    ],
)
def test_traces_are_sent_where_a_collector_is_configured(
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str | None,
    exporter: str | None,
    variable: str | None,
) -> None:
    """By OpenTelemetry's own variables, of which an empty one is not set."""
    for name, value in (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_TRACES_EXPORTER", exporter),
    ):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert load().observability.traces_asked_by == variable


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ],
)
def test_traces_that_cannot_be_sent_are_a_fault_of_who_sends_any(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """These variables are for all programs of a machine: those of us that send no traces do not look."""
    monkeypatch.setenv(variable, value)
    settings = load()
    with pytest.raises(ConfigError, match=rf"^{variable}: .*, not '{value}'$"):
        assert settings.observability.traces_asked_by
