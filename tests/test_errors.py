"""The errors: their tree, their codes and statuses, and the way from a code back to the class."""

from __future__ import annotations

import ast
import errno
import re
import socket
import sqlite3
import ssl
from collections import Counter
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from support.log_calls import LogCall, log_calls

from enlarger import errors
from enlarger.errors import (
    DeadlineExceeded,
    EnlargerError,
    Fault,
    FileTooLarge,
    ImageTooLarge,
    InvalidOption,
    OutputTooLarge,
    QueueFull,
    by_code,
)
from enlarger.reasons import reason_of


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("Invalid region: it ends at 9,9", [("region", "range", "it ends at 9,9")]),
        ("Invalid Idempotency-Key: no\nkey", [("Idempotency-Key", "range", "no\nkey")]),
        ("cannot write 'a.bmp': the name must end in .png", []),
    ],
)
def test_option_in_the_text_is_the_fault(text: str, faults: list[tuple[str, str, str]]) -> None:
    """The code that raises it need not repeat the option, and ``errors`` on /v1 is never empty."""
    found = InvalidOption(text).faults
    assert [(fault.option, fault.reason, fault.detail) for fault in found] == faults
    given = [Fault("other", "type", "text")]
    assert InvalidOption(text, faults=given).faults == tuple(given)


ON_V1 = {
    "missing_body": 400,
    "malformed_json": 400,
    "missing_input": 422,
    "invalid_option": 422,
    "animation_unsupported": 422,
    "unknown_model": 422,
    "invalid_url": 422,
    "unreadable_image": 422,
    "source_unreachable": 422,
    "source_refused": 422,
    "file_too_large": 413,
    "image_too_large": 413,
    "output_too_large": 413,
    "unsupported_format": 415,
    "unauthorized": 401,
    "signature_invalid": 403,
    "signature_expired": 403,
    "list_needs_keys": 403,
    "not_found": 404,
    "not_acceptable": 406,
    "request_timeout": 408,
    "job_not_finished": 409,
    "job_without_result": 409,
    "result_expired": 410,
    "tiles_gone": 410,
    "idempotency_key_reused": 422,
    "malformed_multipart": 400,
    "malformed_encoding": 400,
    "unsupported_encoding": 415,
    "rate_limited": 429,
    "source_timeout": 504,
    "source_failed": 502,
    "engine_failed": 500,
    "wrong_output": 500,
    "internal_error": 500,
    "engine_lost": 502,
    "device_lost": 502,
    "no_engine_ready": 503,
    "queue_full": 503,
    "draining": 503,
    "out_of_memory": 503,
    "open_files_exhausted": 503,
    "deadline_exceeded": 504,
    "storage_unavailable": 503,
    "storage_full": 507,
}
"""Status by code: section B.9 of the HTTP contract."""

ON_TILES = {
    "bad_tile": 400,
    "model_not_here": 404,
    "tile_too_large": 413,
    "engine_failed": 500,
    "wrong_output": 500,
    "busy": 503,
    "starting": 503,
    "draining": 503,
    "deadline_exceeded": 504,
}
"""Status by code: section C.2, where it is not another one than on /v1."""

RETRYABLE = {
    *("source_timeout", "source_failed", "request_timeout", "job_not_finished"),
    *("storage_unavailable", "open_files_exhausted"),
    *("no_engine_ready", "queue_full", "rate_limited", "draining", "out_of_memory"),
    *("engine_lost", "device_lost", "engine_failed", "wrong_output"),
    *("model_not_here", "busy", "starting"),
}
"""Codes that sections B.9 and C.2 call retryable."""

GROUPS = {"RequestError", "CapacityError", "TileError", "EngineError", "ClientError"}
"""Classes that are there to be caught; only their children are raised."""

AT_START = {
    *("config_error", "weights_error", "unwritable_file"),
    *("server_unreachable", "timed_out", "unexpected_answer"),
}
"""Codes that never become an answer."""


def classes() -> list[type[EnlargerError]]:
    """Every error of the module, the root included."""
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, EnlargerError)
    ]


def raised() -> list[type[EnlargerError]]:
    """Those with a code of their own that are raised."""
    return [cls for cls in classes() if "code" in vars(cls) and cls.__name__ not in GROUPS]


def drawn() -> dict[str, set[str]]:
    """The tree in the module's docstring: names of the classes below each child of the root."""
    known = {cls.__name__ for cls in classes()}
    tree: dict[str, set[str]] = {}
    heading = ""
    for line in (errors.__doc__ or "").splitlines():
        names = [word for word in re.findall(r"[A-Za-z]+", line) if word in known]
        if re.match(r"[|`]-- ", line):
            heading = names.pop(0)
            tree[heading] = set()
        if heading:
            tree[heading].update(names)
    return tree


def test_docstring_draws_every_class() -> None:
    """A new error is drawn, or this fails."""
    tree = drawn()
    assert {"EnlargerError", *tree}.union(*tree.values()) == {cls.__name__ for cls in classes()}


def test_docstring_draws_each_class_where_it_stands() -> None:
    """First the root's children, under each of them what derives from it."""
    by_name = {cls.__name__: cls for cls in classes()}
    tree = drawn()
    assert {name for name, cls in by_name.items() if cls.__base__ is EnlargerError} == set(tree)
    for name, below in tree.items():
        derived = {
            other
            for other, cls in by_name.items()
            if issubclass(cls, by_name[name]) and other != name
        }
        assert below == derived


def test_codes_are_unique() -> None:
    """No two classes own the same code."""
    owned = Counter(vars(cls)["code"] for cls in classes() if "code" in vars(cls))
    assert [code for code, owners in owned.items() if owners > 1] == []


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_code_leads_back_to_the_class_that_owns_it(cls: type[EnlargerError]) -> None:
    """A class without a code of its own travels as the nearest one above it that has one."""
    owner = next(parent for parent in cls.__mro__ if "code" in vars(parent))
    assert by_code(cls.code) is owner


@pytest.mark.parametrize("code", ["", "Busy", "no_such_code", "file-too-large"])
def test_unknown_code_leads_nowhere(code: str) -> None:
    """A newer server may know more codes; that is the caller's to answer."""
    assert by_code(code) is None


@pytest.mark.parametrize("cls", raised(), ids=lambda cls: cls.__name__)
def test_every_raised_code_stands_in_the_contract(cls: type[EnlargerError]) -> None:
    """Sections B.9 and C.2 list it, unless it ends the start-up."""
    assert cls.code in {*ON_V1, *ON_TILES, *AT_START}


@pytest.mark.parametrize(("code", "status"), sorted(ON_V1.items() | ON_TILES.items()))
def test_status_is_that_of_the_contract(code: str, status: int) -> None:
    """As in the tables of B.9 and C.2."""
    cls = by_code(code)
    assert cls is not None
    assert cls.status == status


@pytest.mark.parametrize("code", sorted(ON_V1 | ON_TILES))
def test_repeating_helps_where_the_contract_says_so(code: str) -> None:
    """A deadline that has passed does not come back; a busy server may."""
    cls = by_code(code)
    assert cls is not None
    assert cls.retryable == (code in RETRYABLE)


def test_faults_of_the_sender_are_request_errors() -> None:
    """Their statuses are below 500, but for a source that fails or is slow: then we are the gateway."""
    ours = {"source_timeout", "source_failed"}
    for cls in raised():
        if issubclass(cls, errors.RequestError) and cls.code not in ours:
            assert 400 <= cls.status < 500
        elif not issubclass(cls, (errors.TileError, errors.RateLimited)):
            assert cls.status >= 500


@pytest.mark.parametrize("cls", [errors.BodyTooLarge, errors.DownloadTooLarge])
def test_too_large_is_one_code_however_it_came(cls: type[EnlargerError]) -> None:
    """Clients see ``file_too_large`` for a body, a download and a file."""
    assert issubclass(cls, FileTooLarge)
    assert (cls.code, cls.status) == ("file_too_large", 413)


def test_error_carries_its_numbers() -> None:
    """The text is for people, limit and actual value for programs."""
    error = ImageTooLarge("4000x3000 px; up to 2048", limit=2048, actual=4000)
    assert str(error) == "4000x3000 px; up to 2048"
    assert (error.limit, error.actual, error.retry_after_s) == (2048, 4000, None)


def test_error_knows_when_to_come_back() -> None:
    """Where a time is known, it becomes ``Retry-After``."""
    error = QueueFull("256 requests wait", retry_after_s=12.5)
    assert (error.limit, error.actual, error.retry_after_s) == (None, None, 12.5)


def test_too_large_an_output_carries_what_was_asked_for() -> None:
    """Contracts make fields and sentences of their own from it."""
    facts: dict[str, object] = {"input_px": (9, 8), "scale": 4}
    error = OutputTooLarge("too large", limit=100, actual=1152, facts=facts)
    assert (error.limit, error.actual, error.facts) == (100, 1152, facts)


def test_class_is_raised_and_caught_on_both_sides_of_the_wire() -> None:
    """``except DeadlineExceeded`` reads the same for a local engine and for a remote one."""
    cls = by_code("deadline_exceeded")
    assert cls is not None
    with pytest.raises(DeadlineExceeded, match="100 s"):
        raise cls("the deadline of 100 s has passed")


# Reasons in words

KEY = cast(ConnectionKey, None)
"""What aiohttp's errors have besides the error that they wrap."""


def connect_error(error: OSError) -> aiohttp.ClientConnectorError:
    """As aiohttp wraps it when it cannot connect."""
    return aiohttp.ClientConnectorError(KEY, error)


def untrusted() -> ssl.SSLCertVerificationError:
    """As ssl raises it for a certificate that nobody signed."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)")
    error.verify_message = "self-signed certificate"
    return error


def unlike_tls() -> ssl.SSLError:
    """As ssl raises it where something else than TLS answers."""
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    error.library, error.reason = "SSL", "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (PermissionError(errno.EACCES, "x", "/data/a.png"), "Permission denied: '/data/a.png'"),
        (OSError(errno.ECONNREFUSED, "Connect call failed ('::1', 1)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 80, 0, 0)"),
            "Multiple exceptions: Connect call failed ::1 port 80",
        ),
        (TimeoutError(), "it took too long"),
        (ConnectionResetError("Cannot write to closing transport"), "Cannot write to closing transport"),
        (ConnectionResetError(), "connection reset error"),
        (connect_error(OSError(errno.EHOSTUNREACH, "x ('10.0.0.1', 1)")), "No route to host"),
        (connect_error(OSError("port 9 is not allowed")), "port 9 is not allowed"),
        (aiohttp.ClientConnectorCertificateError(KEY, untrusted()), "the certificate is not valid: self-signed certificate"),
        (aiohttp.ClientConnectorSSLError(KEY, unlike_tls()), "TLS failed: wrong version number"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (aiohttp.InvalidURL("http://a/?sig=secret"), "the URL is not valid"),
        (
            aiohttp.ClientPayloadError("Response payload is not completed: <ContentLengthError: 400, message='Not enough'>"),
            "Response payload is not completed",
        ),
        (
            aiohttp.ClientResponseError(
                cast(aiohttp.RequestInfo, None), (), status=400, message="Bad status line:\n\n  b'x'\n    ^"
            ),
            "Bad status line",
        ),
        (OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error")), "disk I/O error"),
        (KeyError("instance"), "'instance' is missing"),
        (ExceptionGroup("2 of 2", [ValueError("a reason"), KeyError()]), "a reason"),
        (ZeroDivisionError(), "zero division error"),
        (QueueFull("256 requests wait"), "256 requests wait"),
        (ValueError("one line\nand another"), "one line"),
        (ValueError("x" * 9999), "x" * 300),
    ],
)  # fmt: skip
def test_reason_is_in_words(error: BaseException, reason: str) -> None:
    """What the system or a library says, without class names, numbers of errors, URLs and Python's own notation."""
    assert reason_of(error) == reason


@given(
    kind=st.sampled_from([OSError, ValueError, TimeoutError, KeyError, EnlargerError]),
    text=st.text(),
)
def test_reason_is_one_line_and_never_empty(kind: type[Exception], text: str) -> None:
    """Whatever the error says of itself."""
    assert len(reason_of(kind(text)).splitlines()) == 1


def test_a_missing_file_is_named() -> None:
    """As the system raises it."""
    with pytest.raises(FileNotFoundError) as caught:
        Path("/no/such/file").read_text()
    assert reason_of(caught.value) == "No such file or directory: '/no/such/file'"


@pytest.mark.parametrize("call", log_calls(), ids=lambda call: call.place)
def test_log_has_reasons_in_words(call: LogCall) -> None:
    """An error goes into a line through ``reason_of``, or whole as its traceback; nothing else does as Python shows it."""
    for keyword in call.call.keywords:
        if keyword.arg == "exc_info":
            continue
        for node in ast.walk(keyword.value):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"repr", "type"}
                if node.func.id == "reason_of":
                    break
            assert not isinstance(node, ast.FormattedValue) or node.conversion != ord("r")
            if isinstance(node, ast.Name):
                assert node.id not in call.caught or _is_field(keyword.value, node.id)


def _is_field(value: ast.expr, name: str) -> bool:
    """Whether a value is a field of an error of ours, such as its code."""
    return (
        isinstance(value, ast.Attribute)
        and value.attr == "code"
        and isinstance(value.value, ast.Name)
        and value.value.id == name
    )
