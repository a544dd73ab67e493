"""``enlarger key`` and ``enlarger sign``: API keys, and signed links that work without one."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Annotated

import typer

from enlarger import config
from enlarger.cli.console import console, fail, say
from enlarger.errors import ConfigError
from enlarger.reasons import without_password


def key(
    name: Annotated[
        str, typer.Argument(help="Name of the key's owner: letters, digits, '.', '_' and '-'.")
    ],
) -> None:
    """Make an API key, and the entry of ENLARGER_API_KEYS that accepts it."""
    secret = f"enl_{secrets.token_urlsafe(32)}"
    entry = f"{name}:sha256-{hashlib.sha256(secret.encode()).hexdigest()}"
    config.load(api_keys=entry)
    say("The key for the caller. It is shown only once:")
    console.print(secret, highlight=False, soft_wrap=True)
    say("The entry for ENLARGER_API_KEYS, which holds no secret:")
    console.print(entry, highlight=False, soft_wrap=True)


def sign(
    url: Annotated[
        str,
        typer.Argument(
            help="The link to sign, or its path and query, such as '/v1/upscale?url=...'."
        ),
    ],
    expires_s: Annotated[
        int, typer.Option("--expires", min=1, help="Seconds until the link is refused.")
    ] = 3600,
    kid: Annotated[
        str | None, typer.Option("--key", help="Name of the signing key. The first one by default.")
    ] = None,
) -> None:
    """Sign a link with a key of ENLARGER_SIGNING_KEYS, so that it works without an API key."""
    from yarl import URL

    from enlarger.api import signing

    settings = config.load()
    keys = settings.access.signing_keys
    key = next((key for key in keys if kid in (None, key.kid)), None)
    if key is None:
        named = f" '{kid}'" if kid is not None else ""
        raise ConfigError(
            f"ENLARGER_SIGNING_KEYS: it has no key{named} to sign with; set it to the same value as on the gateway"
        )
    try:
        given = URL(url)
    except ValueError:
        fail(f"'{without_password(url)}' is no URL", ConfigError.exit_status)
    public_url = settings.server.public_url
    public_path = URL(public_url).raw_path if public_url else "/"
    prefix = signing.prefix_of(given.raw_path, public_path)
    if prefix is None:
        fail("only links to paths under /v1/ can be signed", ConfigError.exit_status)
    # yarl quotes the link as it is sent; one more character is quoted by browsers only. The path prefix that a proxy
    # removes is left out, because the gateway does not see it.
    target = signing.sign(
        given.raw_path_qs.removeprefix(prefix).replace("'", "%27"),
        kid=key.kid,
        secret=key.secret.get_secret_value(),
        expires_at=int(time.time()) + expires_s,
    )
    host = f"{given.scheme}://{given.raw_authority}" if given.absolute else ""
    console.print(f"{host}{prefix}{target}", highlight=False, soft_wrap=True)
