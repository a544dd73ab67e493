"""Requests that a program makes of the OpenAPI document: no answer is one that it does not have."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from support.gateways import Start
from support.places import TESTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIGURATION = TESTS / "schemathesis.toml"

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")
"""The number of examples for each operation. ``make schemathesis`` sets a higher one."""

PHASES = os.environ.get("SCHEMATHESIS_PHASES", "examples,fuzzing")
"""The phase ``coverage``, which tries each boundary of each value, takes most of a minute. Only ``make schemathesis`` runs it."""


@pytest.mark.timeout(1200)
async def test_nothing_undocumented_is_found(start: Start, tmp_path: Path) -> None:
    """No status, type, header or field that the document does not have, and no fault of ours."""
    gateway = await start(fetch="off", max_image_dimension_px=64, sync_limit_s=5)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        *("--config-file", str(CONFIGURATION)),
        *("run", f"http://127.0.0.1:{gateway.port}/openapi.json"),
        *("--checks", "all", "--max-examples", EXAMPLES, "--seed", "1"),
        *("--phases", PHASES, "--continue-on-failure"),
        *("--generation-database", "none", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert gateway.load() == 0
