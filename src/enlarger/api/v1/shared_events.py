"""What a request for the events of several jobs asks for, and the event ids that let it continue all of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from werkzeug.datastructures import MultiDict

from enlarger.errors import Fault, InvalidOption
from enlarger.jobs import Job

MOST_JOBS = 100
"""Jobs in one stream."""

_BITS = 30
"""A shared event id holds as many characters of a job's random number, and of its event id."""

_DIGITS = _BITS // 6
"""Characters of base64 that hold so many bits."""

_ID = re.compile(rf"(?:[A-Za-z0-9_-]{{{2 * _DIGITS}}}){{1,{MOST_JOBS}}}")
_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def read_ids(query: MultiDict[str, str]) -> list[str]:
    """Return the ids of jobs in a query, each once.

    Raises:
        InvalidOption: the query has none, or too many.
    """
    texts = [text.strip() for given in query.getlist("jobs") for text in given.split(",")]
    ids = list(dict.fromkeys(text for text in texts if text))
    if not 1 <= len(ids) <= MOST_JOBS:
        detail = f"it must be 1 to {MOST_JOBS} ids of jobs with commas between them, not {len(ids)}"
        raise InvalidOption.of(Fault("jobs", "range", detail))
    return ids


def check_jobs(ids: Collection[str], found: Mapping[str, Job], seen: Collection[str]) -> None:
    """Check that each job can be followed.

    Args:
        ids: ids of the jobs that the client asks for.
        found: those that the client may see, by id.
        seen: ids of jobs whose events the client has followed before. They may have ended since.

    Raises:
        InvalidOption: some jobs are unknown or have ended; there is one fault for each.
    """
    faults = []
    for id_ in ids:
        if id_ not in found:
            faults.append(Fault("jobs", "range", f"there is no job {id_[:40]}"))
        elif found[id_].is_ended and id_ not in seen:
            detail = f"{id_} has ended, so no events follow; GET /v1/jobs/{id_} returns it"
            faults.append(Fault("jobs", "range", detail))
    if faults:
        raise InvalidOption.of(*faults)


def shared_id(seen: Mapping[str, int]) -> str:
    """Return one event id for several jobs: ten characters for each, so less than 1 KiB for all.

    Args:
        seen: by the id of each job, the id of its last event that was sent; 0 if none was.
    """
    # An id that does not fit is that of a job that is six days old; its stream begins again with its state.
    return "".join(
        _in_base64(_short(job_id)) + _in_base64(last if last < 1 << _BITS else 0)
        for job_id, last in seen.items()
    )


def last_seen(text: str, ids: Collection[str]) -> dict[str, int]:
    """Return the last event of each job that a shared event id covers; jobs that it does not cover are left out.

    Args:
        text: what ``shared_id`` returned, for any jobs; whatever else a client sends covers none.
        ids: ids of jobs.
    """
    if not _ID.fullmatch(text):
        return {}
    pairs = [text[at : at + 2 * _DIGITS] for at in range(0, len(text), 2 * _DIGITS)]
    known = {pair[:_DIGITS]: _number(pair[_DIGITS:]) for pair in pairs}
    short = {job_id: _in_base64(_short(job_id)) for job_id in ids}
    return {job_id: known[key] for job_id, key in short.items() if key in known}


def _short(job_id: str) -> int:
    """Return the first bits of the random number in a job's id. Two of a hundred jobs share them once in 200,000 streams."""
    digits = job_id.rpartition("_")[2][:8]
    return int(digits, 16) >> (32 - _BITS) if re.fullmatch("[0-9a-f]{8}", digits) else 0


def _in_base64(number: int) -> str:
    return "".join(_SIGNS[number >> 6 * place & 63] for place in reversed(range(_DIGITS)))


def _number(text: str) -> int:
    value = 0
    for sign in text:
        value = value << 6 | _SIGNS.index(sign)
    return value
