"""Probes of one member: how often it is asked, what is logged, and when its process is replaced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from enlarger.errors import OpenFilesExhausted
from enlarger.pool.health import State
from enlarger.pool.member import Member
from enlarger.pool.policy import Wear
from enlarger.pool.remote import Readiness
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

INTERVAL_S = 2.0
INTERVAL_DOWN_S = 0.25
"""Seconds between two probes of a member that is ready, and of one that is not."""

HUNG_S = 15.0
"""A member that is gone for this long although its process lives is started again."""

_UNUSABLE = frozenset({State.GONE, State.FAILED, State.INCOMPATIBLE})
"""States of a member that the operator may have to mend."""


class Prober:
    """Probes one member, and replaces its process when it hangs or is worn.

    Args:
        member: the member; it must have a ``probe``.
        members: all members of the pool. Only one of them is retired at a time.
        hung_s: how long a supervised member may be gone before its process is ended.
        wear: what a supervised member may use and serve before its process is replaced.
        on_probed: called after each probe, when the member's state and facts are up to date.
    """

    def __init__(
        self,
        member: Member,
        members: Sequence[Member],
        *,
        hung_s: float,
        wear: Wear,
        on_probed: Callable[[], None],
    ) -> None:
        self._member = member
        self._members = members
        self._hung_s = hung_s
        self._wear = wear
        self._on_probed = on_probed
        self._silent_since: float | None = None
        self._unusable = Repeated()
        """The member is gone, failed or incompatible."""

        self._broken = Repeated()
        """A probe, or what follows from it, raised an error that nobody foresaw."""

        self._unasked = Repeated()
        """This process could not ask the member."""

    async def run(self) -> None:
        """Probe the member for ever: often while it is not ready, and at once when ``changed`` is set."""
        member = self._member
        while True:
            member.changed.clear()
            try:
                await self._probe()
                self._broken.over()
            except (
                Exception
            ):  # nobody waits for this task: it would end unseen, and the member with it
                if (left_out := self._broken.occurred()) is not None:
                    log.exception("probe_failed", server=member.name, left_out=left_out)
            interval_s = INTERVAL_S if member.state is State.READY else INTERVAL_DOWN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await member.changed.wait()

    async def _probe(self) -> None:
        """Probe the member once, and act on the result."""
        member = self._member
        assert member.probe is not None  # noqa: S101 - for the type checker; only such members are probed
        before = member.state
        try:
            readiness = await member.probe()
        except OpenFilesExhausted as error:
            # It may be as well as before, and nobody knows how long it was silent: its process is left alone.
            self._silent_since = None
            if (left_out := self._unasked.occurred()) is not None:
                log.warning(
                    "server_not_probed",
                    server=member.name,
                    reason=reason_of(error),
                    left_out=left_out,
                )
            return
        self._unasked.over()
        member.learn(readiness)
        self._log(before, readiness)
        self._end_if_hung()
        if member.is_worn(readiness, self._wear) and not any(
            one.health.retired for one in self._members
        ):
            member.retire()
        if member.health.retired and not member.in_flight:
            member.end("it is worn")
        self._on_probed()

    def _log(self, before: State, readiness: Readiness) -> None:
        """Log a change of state; and an unusable member, with the reason, at growing intervals."""
        member = self._member
        if member.state is not before:
            log.info(
                "server_state",
                server=member.name,
                state=member.state.value,
                before=before.value,
            )
        if member.state is not before or member.state not in _UNUSABLE:
            self._unusable.over()
        if member.state in _UNUSABLE and (left_out := self._unusable.occurred()) is not None:
            log.warning(
                "server_unusable",
                server=member.name,
                state=member.state.value,
                reason=readiness.reason,
                left_out=left_out,
            )

    def _end_if_hung(self) -> None:
        """End the process of a member that has not answered for too long."""
        now = asyncio.get_running_loop().time()
        if self._member.state is not State.GONE:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since >= self._hung_s:
            self._silent_since = None
            self._member.end("it does not answer")
