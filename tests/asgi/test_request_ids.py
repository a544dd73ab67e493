"""Request ids: the caller's where it can be used, else a new one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.asgi.request_ids import HEADER, id_of, request_id

USABLE = "ABCXYZabcxyz0189._-"


def test_header_is_that_of_the_contract() -> None:
    """One name, from the edge to the model server."""
    assert HEADER == "X-Request-Id"


@given(given=st.text(USABLE, min_size=1, max_size=64))
def test_usable_id_is_kept(given: str) -> None:
    """1 to 64 letters, digits, dots, underscores and hyphens."""
    assert request_id(given) == given


@pytest.mark.parametrize("length", [1, 64])
def test_shortest_and_longest_id_are_kept(length: int) -> None:
    """Both bounds belong to what is allowed."""
    assert request_id("x" * length) == "x" * length


@pytest.mark.parametrize(
    "given",
    [
        *(None, "", "x" * 65, "a b", " a", "a\n", "a\r\nSet-Cookie: b", "a\0", "a/b", "a:b"),
        *("é", "１２", '"', "{}", "%0a", "\x1b[31m"),
    ],
)
def test_other_id_is_replaced(given: str | None) -> None:
    """Nothing that could end a header or forge a line of the log; no digits but ASCII's."""
    made = request_id(given)
    assert re.fullmatch(r"r-[0-9a-f]{16}", made)
    assert made != given


@given(given=st.text())
def test_every_id_is_usable(given: str) -> None:
    """Whatever came, what goes on is accepted unchanged by the next server."""
    made = request_id(given)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", made)
    assert request_id(made) == made


@pytest.mark.parametrize("name", [b"x-request-id", b"X-Request-Id"])
def test_id_is_found_in_an_asgi_scope(name: bytes) -> None:
    """The request has not reached an application yet. If it has several ids, the first one counts."""
    headers = [(b"host", b"x"), (name, b"mine"), (name, b"other")]
    assert id_of({"headers": headers}) == "mine"


@pytest.mark.parametrize("headers", [[], [(b"x-request-id", b"a b")], [(b"x-request-id", b"\xe9")]])
def test_scope_without_a_usable_id_gets_one(headers: list[tuple[bytes, bytes]]) -> None:
    """As any other request."""
    assert re.fullmatch(r"r-[0-9a-f]{16}", id_of({"headers": headers}))


def test_new_ids_differ() -> None:
    """Two requests are not confused in the log."""
    assert len({request_id(None) for _ in range(1000)}) == 1000
