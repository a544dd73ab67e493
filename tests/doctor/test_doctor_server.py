"""``enlarger doctor --server``: what it says of services and addresses that cannot be asked, with no secret in it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from support.gateways import Start

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("no_settings"),
]


async def asked(url: str, *options: str, **variables: str) -> tuple[Any, str]:
    """The only finding as JSON, and all that the command prints in both forms."""
    command = [sys.executable, "-m", "enlarger", "doctor", "--server", url, *options]
    told = []
    for form in ([], ["--json"]):
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, *form],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")
        told.append(done.stdout)
    (finding,) = json.loads(told[1])["findings"]
    assert (finding["check"], finding["level"]) == ("service", "error")
    assert finding["title"] in told[0]
    assert finding["hint"] in told[0]
    return finding, "".join(told)


async def test_service_with_keys_says_how_to_give_one(start: Start) -> None:
    """Also where the key that was given is not known, and where it stands in the address."""
    gateway = await start(api_keys=f"a:sha256-{hashlib.sha256(b'secret').hexdigest()}")
    place = f"127.0.0.1:{gateway.port}"
    missing, _ = await asked(f"http://{place}")
    assert missing["title"] == f"http://{place} needs an API key that it knows"
    assert "an API key is needed" in missing["detail"]
    assert missing["hint"] == "give a key with --api-key KEY, or set ENLARGER_API_KEY"
    wrong, _ = await asked(f"http://{place}", "--api-key", "mistyped")
    assert "not known here" in wrong["detail"]
    _, printed = await asked(f"http://me:sesame@{place}")
    assert "sesame" not in printed
    assert f"http://me:***@{place}" in printed


@pytest.mark.parametrize(
    "url",
    [
        "http://me:sesame@127.0.0.1:1",
        "http://me:ses@sesame@127.0.0.1:1/?",
        "http://sesame@127.0.0.1:1",
        "me:sesame@host",
        "ftp://me:sesame/x@host",
        "http://me:sesame@[::g]",
        "http://me:sesame@a..b",
    ],
)
async def test_password_in_the_address_is_not_shown(url: str) -> None:
    """Whether the address can be used or not."""
    _, printed = await asked(url)
    assert "sesame" not in printed


@pytest.mark.parametrize(
    ("url", "variables", "detail", "hint"),
    [
        ("nonsense", {}, "'nonsense' is no address of a server", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:1", {"ENLARGER_API_KEY": "ü"}, "visible ASCII characters", "correct it"),
        ("http://127.0.0.1:1", {}, "cannot reach http://127.0.0.1:1", "whether it runs"),
    ],
)
async def test_service_that_cannot_be_asked_is_a_finding(
    url: str, variables: dict[str, str], detail: str, hint: str
) -> None:
    """In JSON, too, so that programs need not read an error."""
    found, _ = await asked(url, **variables)
    assert detail in found["detail"]
    assert hint in found["hint"]
