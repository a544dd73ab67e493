"""Nothing but results is read from a real gateway, and nothing but pictures by a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running import RunningService
from support.strangers import (
    GOOD,
    PICTURE,
    Answer,
    assert_guarded,
    request,
    told,
)


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """One model server, which may fetch from public addresses alone."""
    folder = tmp_path_factory.mktemp("secret-place")
    with RunningService(folder, environment | {"NUM_SERVERS": "1"}) as service:
        assert service.upscale(PICTURE, model="nearest")[0] == 200  # whatever is loaded once, is
        yield service


@pytest.fixture(autouse=True)
def _all_is_well_afterwards(service: RunningService) -> Iterator[None]:
    """Whatever happens in a test, the next request is served."""
    yield
    answer = told(service, request(GOOD))
    assert answer.status == 200, answer.body


@pytest.fixture(scope="module")
def token(service: RunningService) -> str:
    """That of a result, beside which files lie that are none."""
    uploads = service.folder / "uploads"
    for name in (".env", "secret.png", "upscaled_secret.png", f".enlarger_{'0' * 32}"):
        (uploads / name).write_text(NOT_OURS)
    (uploads / "folder").mkdir()
    (service.folder / f"upscaled_{'1' * 32}.png").write_text(NOT_OURS)
    status, answer = service.upscale(PICTURE, model="nearest", inline=False)
    assert status == 200
    return str(answer["url"]).removeprefix("/files/").removesuffix(".png")


NOT_OURS = "nobody may read this"
TRAVERSALS = [
    "/files",
    "/files/",
    "/files/.",
    "/files/..",
    "/files/../",
    "/files/../service.log",
    "/files/../uploads/secret.png",
    "/files/../../../../../../etc/passwd",
    "/files/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/files/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/files/%2e%2e%2fservice.log",
    "/files/%252e%252e%252fservice.log",
    "/files/....//....//etc/passwd",
    "/files/..;/service.log",
    "/files/..\\service.log",
    "/files/..%5cservice.log",
    "/files/%c0%ae%c0%ae%c0%afservice.log",
    "/files/%uff0e%uff0e/service.log",
    "/files/%ef%bc%8e%ef%bc%8e/service.log",
    "/files/%2fetc%2fpasswd",
    "/files/file:%2f%2f%2fetc%2fpasswd",
    "/files/~root",
    "/files/.env",
    "/files/secret.png",
    "/files/upscaled_secret.png",
    "/files/folder",
    f"/files/.enlarger_{'0' * 32}",
    f"/files/.enlarger_{'0' * 32}.png",
    f"/files/%2e%2e%2fupscaled_{'1' * 32}.png",
    f"/files/..%2fuploads%2fupscaled_{'1' * 32}.png",
    f"/files/{'0' * 32}.png",
    f"/files/{'f' * 32}.png",
    f"/files/{'0' * 31}.png",
    f"/files/{'0' * 4000}.png",
    "/files/*",
    "/files/*.png",
    "/files/%2a.png",
    "/files/[0-9a-f].png",
    "/files/%00",
    "/files/%0a",
    "/files/%25",
    "/files/{token}",
    "/files/{token}.",
    "/files/{token}.PNG",
    "/files/{token}.jpg",
    "/files/{token}.txt",
    "/files/{token}.png.png",
    "/files/{token}.png%00",
    "/files/{token}.png%00.jpg",
    "/files/{token}.png%0a",
    "/files/{token}.png%20",
    "/files/{token}.png.",
    "/files/{token}.png/",
    "/files/{token}.png/.",
    "/files/{token}.png;a",
    "/files/%20{token}.png",
    "/files/./{token}.png",
    "/files/folder/../{token}.png",
    "/files/upscaled_{token}.png",
    "/files/{upper}.png",
    "/files/{first}*.png",
    "/files/{first}%25.png",
    "/FILES/{token}.png",
    "/file/{token}.png",
    "/uploads/upscaled_{token}.png",
    "/upscaled_{token}.png",
    "/static/secret.png",
    "/../uploads/secret.png",
    "/%2e%2e/service.log",
    "/.env",
    "/.git/config",
]
"""What finds a file where paths are joined, or tells that one is there."""


def got(service: RunningService, target: str, method: str = "GET") -> Answer:
    """The answer to a request whose target nobody made nicer on the way."""
    head = f"{method} {target} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
    return told(service, head.encode("latin1"))


@pytest.mark.parametrize("target", TRAVERSALS, ids=ascii)
def test_nothing_but_results_is_read(service: RunningService, token: str, target: str) -> None:
    """404, with the same words whatever lies there."""
    wanted = target.format(token=token, upper=token.upper(), first=token[:8])
    answer = got(service, wanted)
    assert answer.status == 404
    assert (answer.json["error"], answer.json["code"]) == ("Not found", "not_found")
    assert NOT_OURS.encode() not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE"])
def test_results_are_only_read(service: RunningService, token: str, method: str) -> None:
    """405 for whatever else one may want to do with them; they stay as they are."""
    assert got(service, f"/files/{token}.png", method).status == 405
    assert got(service, f"/files/{token}.png").status == 200


@pytest.mark.parametrize(
    ("format_", "type_"),
    [
        ("png", "image/png"),
        ("jpeg", "image/jpeg"),
        ("webp", "image/webp"),
        ("avif", "image/avif"),
        ("tiff", "image/tiff"),
    ],
)
def test_result_is_a_picture_and_nothing_else_to_a_browser(
    service: RunningService, format_: str, type_: str
) -> None:
    """Its type is that of its bytes, is not guessed, and nothing in it may run, load or be framed."""
    status, made = service.upscale(PICTURE, model="nearest", format=format_, inline=False)
    assert status == 200
    answer = got(service, made["url"])
    assert answer.headers["content-type"] == type_
    assert_guarded(answer)


@pytest.mark.parametrize(
    "target",
    ["/page", "/health", "/livez", "/readyz", "/status", "/metrics", "/upscale", "/files/none"],
)
def test_other_answers_are_guarded_too(service: RunningService, target: str) -> None:
    """And no other site may read them: there is no CORS."""
    assert_guarded(got(service, target))


def test_page_may_load_its_own_files_alone(service: RunningService) -> None:
    """The page is the one answer that runs scripts: its own, from its own origin, in nobody's frame."""
    answer = got(service, "/")
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not [rule for rule in policy if "unsafe" in rule or "http" in rule or "*" in rule]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
