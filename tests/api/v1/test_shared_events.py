"""The ids of events of several jobs: short, for any jobs, and read back whatever a client sends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enlarger.api.v1.shared_events import MOST_JOBS, last_seen, shared_id
from enlarger.jobs.job import new_job_id

HEX = st.integers(0, 2**128 - 1).map(lambda number: f"job_{number:032x}")
LAST = st.integers(0, 2**30 - 1)


def first_bits(job_id: str) -> str:
    """What of an id goes into a shared one decides alone: 30 bits."""
    return f"{int(job_id[4:12], 16) >> 2:x}"


@given(st.dictionaries(HEX, LAST, max_size=MOST_JOBS))
def test_every_place_is_read_back(seen: dict[str, int]) -> None:
    """For other jobs nothing is, as long as the first bits of their ids differ."""
    if len({first_bits(job_id) for job_id in seen}) < len(seen):
        return
    text = shared_id(seen)
    assert last_seen(text, seen) == seen
    other = new_job_id()
    if first_bits(other) not in {first_bits(job_id) for job_id in seen}:
        assert last_seen(text, [other]) == {}


def test_id_of_many_jobs_is_short() -> None:
    """Below 1 KB for as many jobs as one stream takes, and made of characters that a header may have."""
    text = shared_id({new_job_id(): 2**30 - 1 - at for at in range(MOST_JOBS)})
    assert len(text) < 1024
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


def test_id_that_does_not_fit_begins_anew() -> None:
    """A job that is twelve days old is told from its state on."""
    assert last_seen(shared_id({"job_" + "0" * 32: 2**30}), ["job_" + "0" * 32]) == {
        "job_" + "0" * 32: 0
    }


@given(st.text(max_size=60), st.lists(st.text(max_size=40), max_size=3))
def test_any_text_is_read(text: str, ids: list[str]) -> None:
    """What a client sends is no reason to fail."""
    assert set(last_seen(text, ids)) <= set(ids)
