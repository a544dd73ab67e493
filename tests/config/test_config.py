"""Settings: names and defaults of the HTTP contract, and what happens to a value that cannot be used."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.settings_tables import (
    DEFAULTS,
    GIVEN,
    HASH,
    WRONG,
    WRONG_PORTS,
    value_of,
)

import enlarger
from enlarger.config import (
    GROUPS,
    load,
)
from enlarger.errors import ConfigError, WrongSettings

pytestmark = pytest.mark.usefixtures("no_settings")


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
    "ENLARGER_PRECISION": "auto, f32, f16, bf16 or int8",
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
    "ENLARGER_MODEL_MEMORY": "whole number of MiB, at least 1",
    "ENLARGER_PAGE": "on or off",
    "ENLARGER_PAGE_TITLE": "a text of 1 to 60 characters",
    "ENLARGER_PUBLIC_URL": "such as https://pictures.example",
    "ENLARGER_DEVICE": "it must be auto, cpu, vulkan",
    "ENLARGER_SERVERS": "host:port",
    "ENLARGER_ENGINE": "it must be servers or ray",
    "ENLARGER_RAY_ADDRESS": "host:port of the cluster's head, such as 10.0.0.7:6379, or auto",
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


def test_all_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one group and of several, and a misspelt one, on one line; each is told once, and no secret is shown."""
    for variable, value in (
        ("ENLARGER_QUEUE", "1"),
        ("FILE_MAX_AGE", "soon"),
        ("CLEANUP_INTERVAL", "0"),
        ("NUM_SERVERS", "-3"),
        ("ENLARGER_TILE_TOKEN", "sesame"),
    ):
        monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettings) as refused:
        load()
    named = [text.partition(":")[0] for text in refused.value.texts]
    assert named[0] == "ENLARGER_QUEUE"
    assert sorted(named[1:]) == [
        "CLEANUP_INTERVAL",
        "ENLARGER_TILE_TOKEN",
        "FILE_MAX_AGE",
        "NUM_SERVERS",
    ]
    message = str(refused.value)
    assert all(text in message for text in refused.value.texts)
    assert message.count("Also wrong: ") == 4
    assert "sesame" not in message
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
    """For a list, the message quotes the wrong entry. It is one line, is not too long, and has no passwords."""
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
        ({"precision": "f64"}, "ENLARGER_PRECISION"),
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
    """Pydantic fills the groups of ``config``, and one file there reads all other variables."""
    source = Path(enlarger.__file__).parent
    readers = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"\benviron\b|\bgetenv\b", path.read_text())
    ]
    settings = {Path(inspect.getfile(group)).parent for group in GROUPS.values()}
    assert readers == ["config/environment.py"]
    assert settings == {source / "config"}


def test_settings_do_not_change() -> None:
    """Code that holds settings can rely on their values."""
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.pool.num_servers = 2  # type: ignore[misc]


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
