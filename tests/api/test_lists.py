"""What a query of ``GET /v1/jobs`` asks for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from enlarger.api.v1.lists import Page, read_page
from enlarger.errors import InvalidOption
from enlarger.jobs.job import STATES


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ([], Page()),
        ([("limit", "1")], Page(limit=1)),
        ([("limit", "100")], Page(limit=100)),
        ([("state", "running")], Page(("running",))),
        ([("state", "failed, queued")], Page(("queued", "failed"))),
        ([("state", "failed"), ("state", "queued")], Page(("queued", "failed"))),
        ([("cursor", "job_1")], Page(cursor="job_1")),
    ],
)
def test_query_is_read(query: list[tuple[str, str]], page: Page) -> None:
    """What is not said is all states, and twenty jobs."""
    assert read_page(MultiDict(query)) == page


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ([("limit", "0")], "limit"),
        ([("limit", "101")], "limit"),
        ([("limit", "-1")], "limit"),
        ([("limit", "ten")], "limit"),
        ([("limit", "")], "limit"),
        ([("limit", "9" * 5000)], "limit"),
        ([("limit", "1"), ("limit", "2")], "limit"),
        ([("state", "done")], "state"),
        ([("state", "")], "state"),
        ([("state", "queued,")], "state"),
        ([("status", "queued")], "status"),
    ],
)
def test_query_that_cannot_be_used_is_refused(query: list[tuple[str, str]], wrong: str) -> None:
    """With the parameter, and what is allowed."""
    with pytest.raises(InvalidOption) as refusal:
        read_page(MultiDict(query))
    assert [fault.option for fault in refusal.value.faults] == [wrong]
    assert str(refusal.value).startswith(f"Invalid {wrong}: ")


@given(
    states=st.lists(st.sampled_from(STATES), min_size=1, unique=True),
    limit=st.integers(1, 100),
)
def test_next_page_asks_for_the_same(states: list[Any], limit: int) -> None:
    """The query of a link is read as the page it was made of, after a job."""
    page = read_page(MultiDict([("state", ",".join(states)), ("limit", str(limit))]))
    pairs = [pair.split("=") for pair in page.after("job_1").split("&")]
    following = read_page(MultiDict([(name, value) for name, value in pairs]))
    assert following == Page(page.states, page.limit, "job_1")
