"""``Prefer``: RFC 7240, as far as it counts here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.api.v1.preferences import Preference, read_preference

LIMIT_S = 50.0
NONE = Preference(is_async=False, wait_s=LIMIT_S, applied=None)


def waits(seconds: float) -> Preference:
    """So many, before it is a job."""
    return Preference(is_async=False, wait_s=seconds, applied=f"wait={seconds:.0f}")


def at_once(seconds: float = 0.0) -> Preference:
    """A job from the first."""
    return Preference(is_async=True, wait_s=seconds, applied="respond-async")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, NONE),
        ("", NONE),
        ("respond-async", at_once()),
        ("Respond-Async", at_once()),
        ("  respond-async ; foo=bar ", at_once()),
        ("respond-async, wait=10", at_once(10)),
        ("wait=10, respond-async", at_once(10)),
        ("wait=10", waits(10)),
        ("wait = 10", waits(10)),
        ('wait="10"', waits(10)),
        ("WAIT=10", waits(10)),
        ("wait=0", waits(0)),
        ("wait=50", waits(50)),
        ("wait=51", waits(50)),
        ("wait=999999999", waits(50)),
        ("wait=10, wait=20", waits(10)),  # the first one counts: section 2
        ("return=minimal, wait=7", waits(7)),
        # What is not understood is ignored.
        ("wait", NONE),
        ("wait=", NONE),
        ("wait=-1", NONE),
        ("wait=1.5", NONE),
        ("wait=soon", NONE),
        ("wait=9999999999", NONE),
        ("return=minimal", NONE),
        ("respond-asynchronously", NONE),
    ],
)
def test_preference(header: str | None, expected: Preference) -> None:
    """A job at once, or how long an answer may take; never longer than the server's limit."""
    assert read_preference(header, limit_s=LIMIT_S) == expected


@given(header=st.text(max_size=80), limit_s=st.floats(0, 1e6))
def test_no_header_is_an_error(header: str, limit_s: float) -> None:
    """The wait is within the limit, whatever the header says."""
    found = read_preference(header, limit_s=limit_s)
    assert 0 <= found.wait_s <= limit_s
    assert (found.applied is None) == (found.wait_s == limit_s and not found.is_async) or (
        found.applied == f"wait={found.wait_s:.0f}"
    )
