"""How much one caller may ask for: output megapixels in a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from enlarger.config import RateLimit
from enlarger.errors import EnlargerError, RateLimited
from enlarger.jobs.rows import RateRows
from enlarger.jobs.rows.brief import BriefCalls
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

_FORGET_S = 60.0
"""Between two times that callers are forgotten."""

_MOST_CALLERS = 10_000
"""Callers that are remembered; those who were quiet for longest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a caller has left. It fills at an even rate, up to the limit; below zero it owes."""

    megapixels: float
    at_s: float

    def filled(self, limit: RateLimit, now: float) -> Bucket:
        """At a later time."""
        gained = max(0.0, now - self.at_s) * limit.megapixels / limit.seconds
        return Bucket(min(limit.megapixels, self.megapixels + gained), now)

    def taken(self, megapixels: float) -> Bucket:
        """With so much less."""
        return Bucket(self.megapixels - megapixels, self.at_s)

    def full_in_s(self, limit: RateLimit) -> float:
        """Seconds until it is full."""
        return (limit.megapixels - self.megapixels) * limit.seconds / limit.megapixels

    def usable_in_s(self, limit: RateLimit) -> float:
        """Seconds until it holds more than nothing."""
        return max(0.0, -self.megapixels) * limit.seconds / limit.megapixels


class Rates:
    """The buckets of all callers, which gateways on one database share.

    While the database is away, each gateway counts for itself, from what it saw last.

    A caller who has anything left may take a whole picture, and owes what is missing: a picture above the limit would
    else never be made. So over a long time nobody gets more than the limit and one picture.

    Args:
        limit: of each caller; None: there is none.
        rows: where the buckets are; None: nobody shares them.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        limit: RateLimit | None,
        rows: RateRows | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limit = limit
        self._rows = rows
        self._clock = clock
        self._away = Repeated()
        self._brief = BriefCalls()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    async def charge(self, caller: str, output_px: int) -> None:
        """Take the pixels of a picture that is about to be made.

        Raises:
            RateLimited: the caller has nothing left.
        """
        limit = self._limit
        if limit is None:
            return
        bucket, is_taken = await self._take(caller, output_px / 1e6, limit)
        if not is_taken:
            raise RateLimited(
                f"more than {limit.megapixels:g} output megapixels in {limit.seconds:g} s",
                retry_after_s=max(1.0, bucket.usable_in_s(limit)),
            )
        self._remember(caller, bucket)

    async def headers(self, caller: str) -> dict[str, str]:
        """What is left, as draft-ietf-httpapi-ratelimit-headers has it."""
        limit = self._limit
        if limit is None:
            return {}
        try:
            bucket = await self._bucket(caller, limit)
        except EnlargerError as error:
            self._note(error)
            bucket = self._own_bucket(caller, limit)
        left, full_s = max(0, math.floor(bucket.megapixels)), math.ceil(bucket.full_in_s(limit))
        return {
            "RateLimit-Policy": f'"output-mp";q={limit.megapixels:g};w={limit.seconds:g}',
            "RateLimit": f'"output-mp";r={left};t={full_s}',
        }

    async def forget_regularly(self) -> None:
        """Forget callers who have the whole limit again."""
        while self._limit is not None and self._rows is not None:
            try:
                await self._rows.forget(self._limit, now=self._clock())
            except EnlargerError as error:
                self._note(error)
            await asyncio.sleep(_FORGET_S)

    async def _take(self, caller: str, megapixels: float, limit: RateLimit) -> tuple[Bucket, bool]:
        """Take megapixels of a caller who has anything left.

        Returns:
            What the caller has now, and whether they were taken. Only the second says whether the picture may be made: a
            caller who had nothing left may have something again by the time that the row is read.
        """
        try:
            if (rows := self._rows) is not None:
                taken = await self._brief.call(
                    lambda: rows.take(caller, megapixels, limit, now=self._clock())
                )
                if taken is not None:
                    return Bucket(*taken), True
                return await self._bucket(caller, limit), False
        except EnlargerError as error:
            self._note(error)
        bucket = self._own_bucket(caller, limit)
        return (bucket.taken(megapixels), True) if bucket.megapixels > 0 else (bucket, False)

    async def _bucket(self, caller: str, limit: RateLimit) -> Bucket:
        """What a caller has now.

        Raises:
            StorageUnavailable: the database is away.
        """
        if (rows := self._rows) is None:
            return self._own_bucket(caller, limit)
        row = await self._brief.call(lambda: rows.get(caller))
        now = self._clock()
        self._away.over()
        return (Bucket(*row) if row else Bucket(limit.megapixels, now)).filled(limit, now)

    def _remember(self, caller: str, bucket: Bucket) -> None:
        self._buckets[caller] = bucket
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)

    def _note(self, error: EnlargerError) -> None:
        if (left_out := self._away.occurred()) is not None:
            log.warning("rates_not_shared", reason=reason_of(error), left_out=left_out)

    def _own_bucket(self, caller: str, limit: RateLimit) -> Bucket:
        """What a caller has now, as far as this process knows."""
        now = self._clock()
        return self._buckets.get(caller, Bucket(limit.megapixels, now)).filled(limit, now)
