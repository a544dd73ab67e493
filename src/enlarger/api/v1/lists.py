"""``GET /v1/jobs``: a key's own jobs, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from enlarger.errors import Fault, InvalidOption
from enlarger.jobs.job import STATES, State

MOST_JOBS = 100
"""On one page."""

USUAL_JOBS = 20

_NAMES = ("state", "limit", "cursor")


@dataclass(frozen=True, slots=True)
class Page:
    """Which jobs are asked for."""

    states: tuple[State, ...] = STATES
    limit: int = USUAL_JOBS
    cursor: str | None = None
    """Id of the last job of the page before."""

    def after(self, job_id: str) -> str:
        """The query of the page that follows one which ends with that job."""
        query: dict[str, Any] = {}
        if self.states != STATES:
            query["state"] = ",".join(self.states)
        if self.limit != USUAL_JOBS:
            query["limit"] = self.limit
        return urlencode({**query, "cursor": job_id}, safe=",")


def read_page(query: MultiDict[str, str]) -> Page:
    """The page that a query asks for.

    Raises:
        InvalidOption: what it says cannot be used; ``faults`` has all of it.
    """
    faults = [
        Fault(name[:40], "unknown", f"there is no such parameter; there are {', '.join(_NAMES)}")
        for name in query
        if name not in _NAMES
    ]
    faults += [
        Fault(name, "conflict", "it is given more than once")
        for name in ("limit", "cursor")
        if len(query.getlist(name)) > 1
    ]
    wanted = [word.strip() for text in query.getlist("state") for word in text.split(",")]
    if any(word not in STATES for word in wanted):
        allowed = ", ".join(get_args(State))
        faults.append(Fault("state", "range", f"it must be of {allowed}; several with commas"))
    limit = query.get("limit", str(USUAL_JOBS))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MOST_JOBS):
        faults.append(Fault("limit", "range", f"it must be a number from 1 to {MOST_JOBS}"))
    if faults:
        raise InvalidOption.of(*faults)
    states = tuple(state for state in STATES if state in wanted) if wanted else STATES
    return Page(states, int(limit), query.get("cursor"))


def cursor_fault() -> InvalidOption:
    """The page before ended with a job that is not known to this caller."""
    detail = "there is no such job any more; begin again without it"
    return InvalidOption.of(Fault("cursor", "range", detail))
