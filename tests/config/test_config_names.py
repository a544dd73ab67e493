"""Names of variables: a misspelt one stops the start, and names of other programs do not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer.main
from support.settings_tables import (
    DEFAULTS,
    HASH,
)

from enlarger import cli
from enlarger.config import (
    CLIENT_VARIABLES,
    check_names,
    load,
)
from enlarger.errors import ConfigError

pytestmark = pytest.mark.usefixtures("no_settings")


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
