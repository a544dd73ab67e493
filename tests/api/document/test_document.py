"""The OpenAPI document and the text for language models are complete and true, and their examples work unchanged."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import re
import shlex
import subprocess
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.documents import Document, each, fetched, made_before, with_a_tile
from support.fakes import HeldEngine
from support.gateways import B64, PNG, Running, Start
from support.pictures import encoded, noise
from support.sites import Site
from support.sites import page as page_of
from yarl import URL

from enlarger.api.document.openapi import document
from enlarger.api.document.operation import RATES
from enlarger.api.document.operations import OPERATIONS
from enlarger.engine.tile import ModelFacts
from enlarger.errors import all_codes
from enlarger.options import Options

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIDDEN = {
    ("GET", "/"): "the page for people",
    ("GET", "/page/<version>/<path:name>"): "the files that it loads",
    ("GET", "/docs/<name>"): "the files that the page loads",
}
"""All operations that are not documented, and why."""

ELSEWHERE = {
    "config_error": "at the start, before anybody can ask",
    "weights_error": "at the start, before anybody can ask",
    "unwritable_file": "in the shell",
    **dict.fromkeys(
        ("bad_tile", "model_not_here", "tile_too_large", "busy", "starting"),
        "between gateway and model servers",
    ),
    **dict.fromkeys(
        ("server_unreachable", "timed_out", "unexpected_answer"), "in the Python client"
    ),
    **dict.fromkeys(
        ("invalid_request", "no_capacity", "engine_error", "client_error"),
        "of classes that are never raised themselves",
    ),
}
"""Codes that no caller of this API receives, and where they appear instead."""


def strict(value: Any) -> Any:
    """A schema that takes no property which it does not name."""
    if isinstance(value, dict):
        made = {key: strict(part) for key, part in value.items()}
        return (
            {"additionalProperties": False, **made}
            if isinstance(made.get("properties"), dict)
            else made
        )
    return [strict(part) for part in value] if isinstance(value, list) else value


def assert_fits(shown: Document, operation: Document, status: int, kind: str, body: bytes) -> None:
    """An answer is documented: its status, its type, and in JSON every field."""
    answer = operation["responses"].get(str(status))
    assert answer is not None, (operation["operationId"], status, body[:300])
    content = answer.get("content", {})
    if not body:
        return
    assert kind in content, (operation["operationId"], status, kind)
    if kind.endswith("json"):
        components = strict(copy.deepcopy(shown["components"]))
        schema = {**content[kind]["schema"], "components": components}
        jsonschema.Draft202012Validator(schema).validate(json.loads(body))


def rates_in(headers: Mapping[str, Any]) -> list[str]:
    """Return the headers that state what is left of a caller's rate."""
    return [name for name in RATES if name in headers]


# Completeness


async def test_every_route_is_documented_or_hidden_for_a_reason(start: Start) -> None:
    """Nothing is documented that does not exist."""
    app = (await start()).gateway.app
    served = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == set(OPERATIONS) | set(HIDDEN)
    assert not set(OPERATIONS) & set(HIDDEN)
    shown = await fetched(await start())
    assert len(list(each(shown))) == len(OPERATIONS)
    ids = [operation["operationId"] for _, _, operation in each(shown)]
    assert len(set(ids)) == len(ids)


async def test_every_error_is_documented_or_met_elsewhere(start: Start) -> None:
    """Each code that can reach a caller is listed at a route, and all of them are in one enumeration."""
    shown = await fetched(await start())
    said = {
        code
        for _, _, operation in each(shown)
        for answer in operation["responses"].values()
        for code in answer.get("x-codes", ())
    }
    assert said == set(all_codes()) - set(ELSEWHERE)
    assert set(shown["components"]["schemas"]["ErrorCode"]["enum"]) == said


async def test_every_option_is_documented(start: Start) -> None:
    """The document says what each option means."""
    shown = await fetched(await start())
    forms = shown["paths"]["/v1/upscale"]["post"]["requestBody"]["content"]
    for name in ("application/json", "multipart/form-data"):
        properties = forms[name]["schema"]["properties"]
        assert set(Options.model_fields) <= set(properties)
        assert all(properties[option]["description"] for option in Options.model_fields)


async def test_document_is_valid(start: Start) -> None:
    """OpenAPI 3.1, whose schemas are JSON Schemas, and whose references lead somewhere."""
    shown = await fetched(await start())
    assert shown["openapi"].startswith("3.1.")
    text = json.dumps(shown)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in shown["components"]["schemas"]
    for name, schema in shown["components"]["schemas"].items():
        assert name.isalnum(), "two types have this name"
        jsonschema.Draft202012Validator.check_schema(schema)
    for _, path, operation in each(shown):
        inside = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert inside == set(re.findall(r"{(\w+)}", path))


async def test_it_is_made_in_no_time() -> None:
    """The document is made within the first request for it."""
    began_s = time.perf_counter()
    document()
    assert time.perf_counter() - began_s < 5


# Truth


async def test_examples_of_the_document_work(start: Start) -> None:
    """Each of them gets an answer below 400, with no status, type or field that is not documented.

    And with what is left of the caller's rate exactly where that is documented.
    """
    gateway = await start(rate_limit="1000mp/60s")
    shown = await fetched(gateway)
    known = await made_before(gateway)
    tried = 0
    # Cancelled at last: then there is no result any more.
    for method, path, operation in sorted(each(shown), key=lambda one: one[0] == "DELETE"):
        if operation["operationId"] in ("jobTile", "jobTiles", "events", "jobs"):
            continue  # of jobs that run, and refused without keys; see test_v1_tiles.py, test_v1_events.py, test_v1_lists.py
        query, target = {}, path
        for one in operation["parameters"]:
            value = one.get("example", known.get(one["name"]))
            if one["in"] == "path":
                target = target.replace(f"{{{one['name']}}}", str(value))
            elif one["in"] == "query" and "example" in one:
                query[one["name"]] = str(value)
        bodies = operation.get("requestBody", {}).get("content", {"": {}})
        for kind, body in bodies.items():
            options: dict[str, Any] = {}
            if "example" in body:
                options = {"json": body["example"]}
            elif kind == "multipart/form-data":
                needed = [one for one in body["schema"].get("required", ()) if one in query]
                parts = {one: query[one] for one in needed}
                options = {"data": {"image": BytesIO(PNG), **parts}}
            elif kind:
                options = {"data": PNG, "headers": {"Content-Type": kind}}
            # Options of a form or of JSON stand in the body.
            asked = query if kind in ("", "application/octet-stream") else {}
            async with gateway.http.request(method, target, params=asked, **options) as response:
                data = await response.read()
                assert response.status < 400, (method, path, kind, data[:300])
                assert_fits(shown, operation, response.status, response.content_type, data)
                documented = operation["responses"][str(response.status)]["headers"]
                assert rates_in(response.headers) == rates_in(documented), path
                tried += 1
    assert tried > len(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/v1/upscale", {"json": {"image_b64": B64, "scale": 99}}, 422),
        ("POST", "/v1/upscale", {"data": b"nothing"}, 415),
        ("POST", "/upscale", {"json": {"image_b64": B64, "scale": 3}}, 400),
        ("POST", "/upscale", {"json": {"image_b64": B64, "scale": 4}, "large": True}, 400),
        ("GET", "/v1/jobs/{job_id}", {}, 404),
        ("POST", "/sdapi/v1/extra-single-image", {"json": {}}, 422),
        ("POST", "/predictions", {"json": {}}, 422),
        ("POST", "/v1/predictions", {"json": {}}, 422),
        ("POST", "/v1/images/upscale", {"json": {}}, 422),
        ("POST", "/v1/estimate", {"json": {"image_b64": "x"}}, 200),
    ],
)
async def test_errors_look_as_documented(
    start: Start, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    """Errors are checked in each of their forms."""
    limits = {"max_output_px": 100} if options.pop("large", False) else {}
    gateway = await start(**limits)
    shown = await fetched(gateway)
    async with gateway.http.request(method, path, **options) as response:
        data = await response.read()
        assert response.status == status, data
        assert_fits(
            shown, shown["paths"][path][method.lower()], status, response.content_type, data
        )


async def test_documentation_needs_no_key(start: Start) -> None:
    """A reader may not have a key yet. The document says which routes need one, and it is right."""
    gateway = await start(api_keys="a:sha256-" + "0" * 64)
    shown = await fetched(gateway)
    for path in ("/docs", "/llms.txt"):
        async with gateway.http.get(path) as response:
            assert response.status == 200
    for method, path, operation in each(shown):
        target = re.sub(r"{\w+}", "0", path)
        async with gateway.http.request(method, target) as response:
            assert (response.status == 401) == bool(operation["security"]), path
            if response.status == 401:
                assert_fits(shown, operation, 401, response.content_type, await response.read())


# Its commands


async def ran(gateway: Running, folder: Path, command: str) -> bytes:
    """What a command of the shell prints, with this gateway for the one that it names. No answer is an error."""
    curl = (
        """curl() { command curl -q --noproxy '*' --silent --show-error --fail-with-body "$@"; }"""
    )
    here = command.replace("http://localhost:8000", f"http://127.0.0.1:{gateway.port}")
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", f"{curl}\n{here}"],
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout[:300], done.stderr)
    for name in re.findall(r" -o (\S+)", command):
        assert (folder / name).stat().st_size > 0
        (folder / name).unlink()
    return done.stdout


async def test_commands_of_the_document_run(
    start: Start, models: list[ModelFacts], tmp_path: Path
) -> None:
    """Every command runs unchanged, except for placeholders in braces. The first ones run while a job is being computed, and those that delete run last."""
    (tmp_path / "cat.png").write_bytes(PNG)
    engine = HeldEngine(models)
    gateway = await start(engine)
    shown = await fetched(gateway)
    order = {"jobTile": 0, "jobTiles": 0, "cancel": 2, "cancelBatch": 2}
    known = {"job_id": await with_a_tile(gateway, engine)}
    for _, _, operation in sorted(each(shown), key=lambda one: order.get(one[2]["operationId"], 1)):
        if operation["operationId"] in ("jobs", "events"):
            continue  # the first is of keys, see the next test; the second takes only jobs that run, see test_v1_events.py
        if operation["operationId"] not in ("jobTile", "jobTiles") and len(known) == 1:
            engine.let_go()
            known = await made_before(gateway)
        for sample in operation["x-codeSamples"]:
            command = sample["source"]
            for name, value in known.items():
                command = command.replace(f"{{{name}}}", value)
            await ran(gateway, tmp_path, command)


async def test_command_that_lists_jobs_shows_a_key(start: Start, tmp_path: Path) -> None:
    """Listing jobs needs a key, so the command reads one from the environment."""
    key = "a key of alice"
    gateway = await start(api_keys=f"alice:sha256-{hashlib.sha256(key.encode()).hexdigest()}")
    (operation,) = [
        one for _, _, one in each(await fetched(gateway)) if one["operationId"] == "jobs"
    ]
    (sample,) = operation["x-codeSamples"]
    listed = await ran(gateway, tmp_path, f"ENLARGER_API_KEY='{key}'\n{sample['source']}")
    assert json.loads(listed)["jobs"] == []


# The text


def commands_in(text: str) -> list[str]:
    """Return the commands that a text shows."""
    found = re.findall(r"^    (curl .*)$", text, re.MULTILINE)
    assert len(found) >= 5
    return found


async def test_text_for_language_models(start: Start) -> None:
    """All options and routes, and commands that work as they stand."""
    gateway = await start()
    async with gateway.http.get("/llms.txt") as response:
        assert response.content_type == "text/plain"
        text = await response.text()
    assert all(f"`{name}`" in text for name in Options.model_fields)
    shown = await fetched(gateway)
    assert all(f"- {method} {path}: " in text for method, path, _ in each(shown))
    for command in commands_in(text):
        words = shlex.split(command)
        url = URL(
            next(word for word in words if word.startswith(("http://localhost", "localhost")))
        )
        path = re.sub(r"job_\.\.\.", "{job_id}", url.path)
        body = [word for word in words if word.startswith("{")]
        method = "post" if {"-d", "-F", "--data-binary"} & set(words) else "get"
        operation = shown["paths"][path][method]
        known = {one["name"] for one in operation["parameters"]}
        assert set(url.query) <= known
        if body:
            content = operation["requestBody"]["content"]["application/json"]
            jsonschema.Draft202012Validator(content["schema"]).validate(json.loads(body[0]))


async def test_commands_for_language_models_run(start: Start, tmp_path: Path) -> None:
    """They run in their order and unchanged, except that the URL of the example picture and the id of the job are replaced."""
    photo = encoded(noise(300, 400, 3), "JPEG")
    (tmp_path / "cat.jpg").write_bytes(photo)
    async with Site({"/cat.jpg": page_of(photo)}) as site:
        gateway = await start(fetch=site.address)
        async with gateway.http.get("/llms.txt") as response:
            commands = commands_in(await response.text())
        job_id, printed = "", b""
        for command in commands:
            here = command.replace("https://example.com/cat.jpg", site.url("/cat.jpg"))
            printed = await ran(gateway, tmp_path, here.replace("job_...", job_id))
            if "/v1/jobs?" in command:
                job_id = json.loads(printed)["id"]
    assert json.loads(printed)["accepted"] is True
