"""A client that openapi-python-client generates from the OpenAPI document can call all of the service.

The generator is installed in an environment of its own, since it and our command line do not always agree on a version
of typer. What it generates needs httpx and attrs alone, and runs in this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from enum import EnumType
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import pytest_asyncio
from PIL import Image
from support.documents import Document, each, fetched, made_before, with_a_tile
from support.fakes import HeldEngine
from support.gateways import B64, PNG, Running, Start
from support.places import REPOSITORY
from support.stores import missing

from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

GENERATOR = REPOSITORY / ".venv-clients" / "bin" / "openapi-python-client"

PACKAGE = "generated_enlarger_client"

KEY = "a key of alice"
KEYS = f"alice:sha256-{hashlib.sha256(KEY.encode()).hexdigest()}"


class Generated:
    """The package that was generated, which talks to one gateway."""

    def __init__(self, gateway: Running, shown: Document, printed: str) -> None:
        self.shown = shown
        self.printed = printed
        """What the generator said."""

        self.types = self._module("types")
        self._client = self._module("client").Client(
            base_url=f"http://127.0.0.1:{gateway.port}",
            raise_on_unexpected_status=True,
            timeout=60.0,
        )
        self._operations = {
            operation["operationId"]: (path, operation) for _, path, operation in each(shown)
        }

    def authorize(self, key: str) -> None:
        """Show a key with each call."""
        self._client = self._client.with_headers({"Authorization": f"Bearer {key}"})

    def close(self) -> None:
        """Close its connections."""
        self._client.get_httpx_client().close()

    def _module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{PACKAGE}.{name}")

    def function(self, id_: str) -> Any:
        """What calls an operation, and returns status, headers and content, also parsed."""
        _, operation = self._operations[id_]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", id_).lower()
        return self._module(f"api.{operation['tags'][0]}.{name}").sync_detailed

    async def call(self, id_: str, **arguments: Any) -> Any:
        """The answer of an operation, which must not be an error."""
        function = self.function(id_)
        if "url" in arguments:  # a name that it has for something else
            arguments["url_query"] = arguments.pop("url")
        for name, parameter in inspect.signature(function).parameters.items():
            for kind in get_args(parameter.annotation):
                if name in arguments and isinstance(kind, EnumType):
                    arguments[name] = kind(arguments[name])
        answer = await asyncio.to_thread(function, client=self._client, **arguments)
        assert answer.status_code < 400, (id_, answer.content)
        return answer

    def body(self, id_: str, kind: str, value: dict[str, Any]) -> Any:
        """A body of that media type. ``image`` of a form, and all of what is sent as it is, is ``PNG``."""
        picture = self.types.File(payload=BytesIO(PNG), file_name="cat.png", mime_type="image/png")
        if kind == "application/octet-stream":
            return picture
        annotation = inspect.signature(self.function(id_)).parameters["body"].annotation
        models = [one for one in get_args(annotation) or (annotation,) if hasattr(one, "from_dict")]
        is_form = kind == "multipart/form-data"
        (model,) = [one for one in models if hasattr(one, "to_multipart") == is_form]
        return model(image=picture, **value) if is_form else model.from_dict(value)

    def examples(self, id_: str, known: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Arguments that call an operation, once for each media type of body that it takes.

        Options stand in the body where it is a form or JSON; a file has them beside it, as a request without a body does.
        """
        path, operation = self._operations[id_]
        given = {
            one["name"]: one.get("example", known.get(one["name"]))
            for one in operation["parameters"]
            if one["in"] == "path" or "example" in one
        }
        inside = {name: value for name, value in given.items() if f"{{{name}}}" in path}
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            yield given
        for kind, body in content.items():
            required = {
                name: given[name] for name in body["schema"].get("required", ()) if name in given
            }
            beside = given if kind == "application/octet-stream" else inside
            yield {"body": self.body(id_, kind, body.get("example", required)), **beside}


NewClient = Callable[[Running], Awaitable[Generated]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the package is generated, once for all tests: every gateway here has the same document."""
    if not GENERATOR.exists():
        missing("openapi-python-client in .venv-clients")
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest_asyncio.fixture(loop_scope="module")
async def generate(folder: Path) -> AsyncIterator[NewClient]:
    """Makes a client of a gateway."""
    made: list[Generated] = []
    log = folder / "log"

    async def begin(gateway: Running) -> Generated:
        shown = await fetched(gateway)
        if not log.exists():
            (folder / "openapi.json").write_text(json.dumps(shown))
            log.write_text(await asyncio.to_thread(generated, folder))
        made.append(Generated(gateway, shown, log.read_text()))
        return made[-1]

    yield begin
    for client in made:
        client.close()


def generated(folder: Path) -> str:
    """Generate the package from the document in the folder, and return what the generator says."""
    (folder / "config.yml").write_text("post_hooks: []\n")  # formats nothing
    command = [str(GENERATOR), "generate", "--path", "openapi.json", "--config", "config.yml"]
    done = subprocess.run(
        [*command, "--meta", "none", "--output-path", PACKAGE],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def check_parsed(answer: Any, types: ModuleType) -> None:
    """All of an answer's content was decoded."""
    kind = answer.headers["Content-Type"].partition(";")[0]
    if kind.endswith("json"):
        assert isinstance(answer.parsed, list) or answer.parsed.to_dict() == json.loads(
            answer.content
        )
    elif kind.startswith("text/"):
        assert answer.parsed == answer.content.decode()
    else:
        assert isinstance(answer.parsed, types.File), kind
        assert answer.parsed.payload.read() == answer.content


async def test_nothing_of_the_document_is_left_out(start: Start, generate: NewClient) -> None:
    """The generator has no warning: no operation, no answer and no body that it cannot make."""
    client = await generate(await start())
    assert "warning" not in client.printed.lower(), client.printed
    for _, _, operation in each(client.shown):
        assert callable(client.function(operation["operationId"]))


async def test_every_operation_can_be_called(
    start: Start, generate: NewClient, models: list[ModelFacts]
) -> None:
    """Each operation is called once with each kind of body that it accepts, and with every default of the document."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    client = await generate(gateway)
    job_id = await with_a_tile(gateway, engine)
    tile = await client.call("jobTile", job_id=job_id, index=0)
    check_parsed(tile, client.types)
    check_parsed(await client.call("jobTiles", job_id=job_id), client.types)
    following = asyncio.ensure_future(client.call("events", jobs=job_id))
    await asyncio.sleep(0.5)
    engine.let_go()
    assert (await following).status_code.value == 200
    known = await made_before(gateway)
    called = 3
    # Deleted at last: then there is nothing left to be asked for.
    for method, path, operation in sorted(each(client.shown), key=lambda one: one[0] == "DELETE"):
        id_ = operation["operationId"]
        if id_ in ("jobTile", "jobTiles", "events", "jobs"):
            continue
        for arguments in client.examples(id_, known):
            answer = await client.call(id_, **arguments)
            assert str(answer.status_code.value) in operation["responses"], (method, path)
            check_parsed(answer, client.types)
        called += 1
    # Only a caller with a key has a list of jobs.
    keyed = await generate(await start(api_keys=KEYS))
    keyed.authorize(KEY)
    check_parsed(await keyed.call("jobs", limit=5, state="queued"), keyed.types)
    called += 1
    assert called == len(list(each(client.shown)))


async def test_bytes_are_decoded_as_bytes(start: Start, generate: NewClient) -> None:
    """What is posted as a file comes back as a file, in the format and size that were asked for."""
    client = await generate(await start())
    body = client.body("upscale", "application/octet-stream", {})
    answer = await client.call("upscale", body=body, scale=4)
    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(answer.parsed.payload).size == (120, 80)
    body.payload.seek(0)
    answer = await client.call("upscale", body=body, scale=4, accept="application/octet-stream")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert Image.open(answer.parsed.payload).size == (120, 80)


async def test_options_of_a_body_are_its_own(start: Start, generate: NewClient) -> None:
    """The defaults that the client adds to the query change nothing of what a form or JSON asks for."""
    client = await generate(await start())
    for kind, fields in (
        ("multipart/form-data", {"scale": 4, "color_lock": False}),
        ("application/json", {"image_b64": B64, "scale": 4, "color_lock": False}),
    ):
        answer = await client.call("submit", body=client.body("submit", kind, fields))
        assert answer.parsed.options["scale"] == 4
        assert answer.parsed.options["color_lock"] is False


async def test_options_of_a_batch_hold_for_its_items(start: Start, generate: NewClient) -> None:
    """The client adds no default to an item: it would be taken instead of the batch's option."""
    client = await generate(await start())
    fields = {"items": [{"image_b64": B64}], "options": {"scale": 4, "color_lock": False}}
    body = client.body("submitBatch", "application/json", fields)
    batch = await client.call("submitBatch", body=body)
    job = await client.call("job", job_id=batch.parsed.items[0].job, wait=30)
    assert job.parsed.options["color_lock"] is False
    assert job.parsed.options["scale"] == 4
