"""Requests with random content: each response is one that the reference documents."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.fakes import NearestEngine, nearest
from support.gateways import B64, PNG, RED, Running, running
from support.places import REFERENCE
from yarl import URL

from enlarger import config
from enlarger.engine.tile import ModelFacts
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERRORS = (REFERENCE / "errors.md").read_text()
REFUSALS = {400, 404, 405, 406, 413, 415, 422}
"""The documented statuses that can occur here: the gateway is never overloaded, needs no key, and fetches nothing."""

NOT_FOR_CALLERS = re.compile(r"Traceback|[a-z]Error\b|Exception|/tmp|/home|\.py\b|\b0x[0-9a-f]{6}")
"""Names and texts of exceptions, paths, and addresses in memory."""

ROUTES = (
    "/upscale",
    "/v1/upscale",
    "/v1/models",
    "/v1/models/auto",
    "/errors/queue_full",
    "/health",
    "/livez",
    "/readyz",
    "/metrics",
    "/status",
    "/cleanup",
    "/files/" + "0" * 32 + ".png",
)


def mostly(often: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw from the first strategy four times out of five."""
    return st.integers(0, 4).flatmap(lambda number: seldom if number == 4 else often)


texts = st.text(max_size=20)
numbers = (
    st.integers(-(10**20), 10**20) | st.floats() | st.sampled_from([0, 1, 2, 4, 8, 10**400, 1e-320])
)
words = st.sampled_from(
    [
        "",
        "2",
        "4",
        "auto",
        "png",
        "webp",
        "all",
        "first",
        "keep",
        "strip",
        "#ffffff",
        "0,0,4,4",
        "nearest",
        "f32",
        "int8",
        "srgb",
        "true",
        "1",
        "-1",
        "1e999",
        "NaN",
        "null",
        "\0",
        "²",
        "٣",
        "http://localhost/a",
        "https://u:p@host/",
        "file:///etc/passwd",
        "http://[::1",
        B64,
        "AA==",
        f"data:image/png;base64,{B64}",
        "data:,",
        "data:image/png;base64,%%%",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [*Options.model_fields, "img_url", "image_b64", "inline", "url", "webhook", "tta"]
)
USABLE: dict[str, list[Any]] = {
    "scale": [2, 4],
    "region": ["0,0,4,4", [1, 2, 3, 4]],
    "model": ["auto", "nearest"],
    "format": ["png", "jpeg", "webp", "auto"],
    "quality": [1, 100],
    "frames": ["all", "first", 2],
    "background": ["#ffffff"],
    "metadata": ["keep", "strip"],
    "color": ["keep", "srgb"],
    "provenance": [True],
    "inline": [True, False],
    "precision": ["f32", "auto"],
}
fields = st.dictionaries(names | texts, values, max_size=4)
usable = st.fixed_dictionaries(
    {"image_b64": st.sampled_from([B64, B64, "AA=="])},
    optional={name: st.sampled_from(chosen) for name, chosen in USABLE.items()},
)
odd = st.dictionaries(names | texts, values, min_size=1, max_size=1)
objects = usable | fields | st.builds(lambda one, two: {**one, **two}, usable, odd)
"""Many lack nothing, or are wrong in one thing, so that all that comes after the first look is reached."""


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """A body of ``multipart/form-data``, more or less."""
    parts = []
    for name, value in draw(st.lists(st.tuples(names | texts, words | texts), max_size=2)):
        head = f'Content-Disposition: form-data; name="{name}"'
        parts.append(head.encode() + b"\r\n\r\n" + value.encode())
    if draw(mostly(st.just(True), st.just(False))):
        name = draw(st.sampled_from(["image", "image", "options", "picture"]))
        called = draw(mostly(st.just(f'; name="{name}"'), st.just("")))
        head = f'Content-Disposition: form-data{called}; filename="../a.png"'
        parts.append(head.encode() + b"\r\n\r\n" + draw(st.sampled_from([PNG, b"", b"{}"])))
    ends = draw(st.sampled_from([b"--b--\r\n", b"--b--", b"", b"--b"]))
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + ends


bodies = mostly(
    (objects.map(lambda value: json.dumps(value).encode())) | st.just(PNG) | forms(),
    st.none()
    | st.binary(max_size=60)
    | st.sampled_from([PNG[:100], b"{", b"[]", b"null", b"[" * 5000, b'{"scale":2,"scale":4}'])
    | objects.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")),
)
types = mostly(
    st.sampled_from(
        ["application/json", "application/json", "image/png", "multipart/form-data; boundary=b"]
    ),
    st.sampled_from(
        [
            "application/json; charset=utf-16",
            "application/vnd.api+json",
            "multipart/form-data",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=" + "b" * 300,
            "text/plain",
            ";",
            "application/",
        ]
    ),
)
header_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(
    str.strip
)
headers = st.fixed_dictionaries(
    {"Content-Type": types},
    optional={
        "Accept": st.sampled_from(["*/*", "image/*", "image/webp;q=0.1", "application/json", "a/b"])
        | header_texts,
        "X-Request-Id": header_texts,
        "Authorization": header_texts,
        "Cache-Control": st.sampled_from(["no-cache", "max-age=x", "=,="]) | header_texts,
        "Prefer": header_texts,
        "Range": st.sampled_from(["bytes=0-1", "bytes=9-1", "bytes=-", "lines=1-2"]),
        "If-None-Match": st.sampled_from(["*", '"a"', 'W/"', ","]),
        "Content-Encoding": st.sampled_from(["gzip", "identity", "br"]),
        "X-Forwarded-For": header_texts,
        "X-HTTP-Method-Override": st.sampled_from(["DELETE", "GET"]),
        "Cookie": header_texts,
        "Host": st.sampled_from(["localhost", "a b", "[::1", "évil", "", "x" * 300, "localhost:99999"]),
    },
)  # fmt: skip
odd_paths = st.one_of(
    texts.map(lambda text: "/" + quote(text, safe="")),
    st.tuples(st.sampled_from(["/files/", "/v1/models/", "/errors/", "/v1/", "/static/"]), texts).map(
        lambda path: path[0] + quote(path[1], safe="/")
    ),
    st.tuples(st.sampled_from(ROUTES), st.sampled_from(["/", "//", "/..", "%2f", "%00", ".", "/%2e%2e"]))
    .map("".join),
    st.sampled_from(ROUTES).map(lambda path: path.replace("/", "//")),
    st.sampled_from(["/files/..%2f..%2fetc%2fpasswd", "/%", "/%ff%fe", "/upscale%0d%0aX:%20y", "/."]),
)  # fmt: skip
queries = mostly(
    st.just("")
    | st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(chosen) for name, chosen in USABLE.items()}
    ).map(urlencode),
    st.lists(st.tuples(names | texts, words | texts), max_size=5).map(
        lambda pairs: urlencode(pairs, errors="replace")
    )
    | st.sampled_from(["%", "a=%ff", "&&&", "=", "scale", "scale=2&scale=4", "a" * 2000, ";=;"]),
)
methods = mostly(
    st.sampled_from(["POST", "POST", "POST", "GET"]),
    st.sampled_from(["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "X"]),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    catalogue: Catalogue,
    models: list[ModelFacts],
    decoders: Decoders,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    """One for all requests; it fetches nothing."""
    settings = config.load(
        upload_folder=tmp_path_factory.mktemp("fuzz") / "uploads",
        fetch="off",
        max_image_dimension_px=64,
    )
    pool = Pool([Member("one", NearestEngine(models))])
    async with running(pool, catalogue, decoders, settings) as gateway:
        yield gateway


came: Counter[int] = Counter()
"""Answers by status, of all examples."""


@settings(
    max_examples=400,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(method="POST", path="/v1/upscale", query="", headers={"Accept": "a/b"}, body=PNG)
@given(
    method=methods,
    path=mostly(
        mostly(st.sampled_from(["/upscale", "/v1/upscale"]), st.sampled_from(ROUTES)), odd_paths
    ),
    query=queries,
    headers=headers,
    body=bodies,
)
async def test_any_request_has_an_answer_of_the_reference(
    gateway: Running,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes | None,
) -> None:
    """Never a failure of ours; every refusal has its four fields, in the form of its route, and tells of nothing inside."""
    url = URL(f"http://127.0.0.1:{gateway.port}{path}?{query}", encoded=True)
    async with gateway.http.request(
        method, url, headers=headers, data=body, allow_redirects=False
    ) as response:
        content = await response.read()
    came[response.status] += 1
    # Odd paths may come to that of the service itself, which leads to its page.
    assert response.status in {200, 307, *REFUSALS}, content
    given_id = response.headers["X-Request-Id"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given_id)
    if response.status in (200, 307) or method == "HEAD":
        return
    refusal = json.loads(content)
    assert_refusal(refusal, given_id)
    is_problem = f"/{path.lstrip('/')}".startswith(("/v1/", "/errors/"))
    assert response.content_type == (
        "application/problem+json" if is_problem else "application/json"
    )
    assert not is_problem or refusal["status"] == response.status
    assert not NOT_FOR_CALLERS.search(refusal["error"]), refusal


def assert_refusal(refusal: dict[str, Any], request_id: str) -> None:
    """It has the fields that every refusal has, and a code that is documented."""
    assert refusal["request_id"] == request_id
    assert isinstance(refusal["error"], str)
    assert refusal["error"]
    assert f"`{refusal['code']}`" in ERRORS
    assert refusal["retryable"] is False


async def test_the_gateway_is_as_it_was_before(gateway: Running) -> None:
    """After all of them it does its work, holds nothing, and had a picture to make among them."""
    assert came[200] > 0
    assert REFUSALS - {413} <= set(came), came
    assert gateway.load() == 0
    assert (await gateway.call("GET", "/health")).status == 200
    assert np.array_equal(await gateway.picture(image_b64=B64, scale=4), nearest(RED, 4))
