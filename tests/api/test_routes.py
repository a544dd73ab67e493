"""The route table: it has every route of the gateway, and what it says of a path is what the gateway does."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart
from support.fakes import NearestEngine
from support.gateways import Start
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map

from enlarger.api.routes import (
    AUTOMATIC1111,
    BATCH_BYTES,
    COG,
    COMPATIBLE,
    FOLDERS,
    OPEN,
    OPENAI,
    ROUTES,
    SECRET_FOLDERS,
    V1,
    Contract,
    Route,
    body_limit_bytes,
    contract_of,
    is_charged,
    is_open,
    is_probe,
    may_be_signed,
    register,
    routes_at,
)
from enlarger.engine.tile import ModelFacts

FILLED = {"<int:index>": "7", "<name>": "cat.png", "<version>": "a" * 64}
"""What stands in place of the parts of a rule; of others a word."""


def example(route: Route) -> str:
    """A path that the route answers."""
    parts = [
        FILLED.get(part, "word") if part.startswith("<") else part for part in route.path.split("/")
    ]
    return "/".join(parts)


class Anything:
    """A handler with every method."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[str]]:
        async def view(**_: str) -> str:
            return name

        return view


def rules() -> Map:
    """The table as Quart has it."""
    app = Quart(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    register(app, defaultdict(Anything))
    return app.url_map


RULES = rules().bind("any")


@pytest.mark.asyncio(loop_scope="module")
async def test_every_rule_is_a_row_and_every_row_a_rule(
    start: Start, models: list[ModelFacts]
) -> None:
    """With the same methods; HEAD and OPTIONS follow."""
    app = (await start(NearestEngine(models))).gateway.app
    rules = Counter(
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )
    rows = Counter((method, route.path) for route in ROUTES for method in route.methods.split())
    assert rules == rows
    assert set(rules.values()) == {1}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.methods} {route.path}")
def test_the_table_finds_the_row_that_quart_finds(route: Route) -> None:
    """For each method of each row."""
    path = example(route)
    for method in route.methods.split():
        assert RULES.match(path, method)[0] == route.handler
    assert route in routes_at(path)


@pytest.mark.parametrize(
    "path",
    [
        *("/upscale/", "/files", "/files/", "/files/a/b", "/docs/a/b", "/HEALTH", "/healthy"),
        *("/v1", "/v1/", "/v1/jobs/", "/v1/jobs/a/tiles/x", "/v1/jobs/a/tiles/-1"),
        *("/v1/models/a/b", "/v1/batches/a/results-zip", "/static/x", "/errors/a/b"),
    ],
)
def test_the_table_finds_no_row_where_quart_finds_none(path: str) -> None:
    """A path that is nearly one of the table's is none of them, so it needs a key."""
    with pytest.raises(NotFound):
        RULES.match(path, "GET")
    assert routes_at(path) == ()
    assert not is_open(path)


SEGMENTS = sorted(
    {part for route in ROUTES for part in example(route).split("/")} | {"7", "<name>"}
)


@given(segments=st.lists(st.sampled_from(SEGMENTS), max_size=7))
def test_the_table_and_quart_see_the_same_route(segments: list[str]) -> None:
    """In any path of the words that there are: who is let in by the table is answered by the row that let it in."""
    path = "/" + "/".join(segments).lstrip("/")
    handlers = {route.handler for route in routes_at(path)}
    found = set()
    for method in ("GET", "POST", "DELETE"):
        with suppress(NotFound, MethodNotAllowed):
            found.add(RULES.match(path, method)[0])
    assert found == handlers


def test_rows_of_one_path_agree() -> None:
    """A caller may be stopped before its method is looked at."""
    for route in ROUTES:
        for other in routes_at(example(route)):
            assert (route.access, route.contract) == (other.access, other.contract)


def test_open_paths_make_no_pictures() -> None:
    """What costs anything needs a key where there are keys."""
    assert not [route for route in ROUTES if route.access is OPEN and route.charged]
    assert {route.path for route in ROUTES if route.access is OPEN} == {
        *("/", "/page/<version>/<path:name>"),
        *("/docs", "/docs/<name>", "/openapi.json", "/llms.txt"),
        *("/health", "/livez", "/readyz", "/health-check"),
        *("/files/<name>", "/errors/<code>"),
    }


@pytest.mark.parametrize(
    ("path", "contract"),
    [
        ("/upscale", COMPATIBLE),
        ("/nothing", COMPATIBLE),
        ("/v1", COMPATIBLE),
        ("/v1/upscale", V1),
        ("/v1/nothing", V1),
        ("/errors/busy", V1),
        ("/v1/predictions", V1),
        ("/predictions", COG),
        ("/predictions/1/cancel", COG),
        ("/health-check", COG),
        ("/sdapi/v1/options", AUTOMATIC1111),
        ("/sdapi/v1/txt2img", AUTOMATIC1111),
        ("/v1/images/upscale", OPENAI),
        ("/v1/images/generations", V1),
    ],
)
def test_contract_of_a_path(path: str, contract: Contract) -> None:
    """That of its row, or of its folder; of all others the compatible one."""
    assert contract_of(path) is contract


def test_folders_have_no_contract_that_their_rows_do_not_have() -> None:
    """A client that asks for what is not there reads the error as it reads others."""
    for folder, contract in FOLDERS.items():
        rows = [route.contract for route in ROUTES if f"{route.path}/".startswith(folder)]
        assert contract in rows


def test_facts_of_paths() -> None:
    """Some of each kind."""
    assert is_charged("/v1/jobs")
    assert not is_charged("/v1/jobs/1")
    assert is_probe("/metrics")
    assert not is_probe("/status")
    assert may_be_signed("/v1/upscale")
    assert not may_be_signed("/upscale")
    assert SECRET_FOLDERS == ("/files/",)
    assert body_limit_bytes("/upscale", 5) == 5
    assert body_limit_bytes("/v1/batches", 5) == BATCH_BYTES
    assert body_limit_bytes("/v1/batches", BATCH_BYTES + 1) == BATCH_BYTES + 1
