"""How much one caller may ask for: output megapixels in a time."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from enlarger.config import RateLimit
from enlarger.errors import RateLimited

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
    """The buckets of all callers.

    Who has anything left may take a whole picture, and owes what is missing: a picture above the limit would
    else never be made. So over a long time nobody gets more than the limit and one picture.

    Args:
        limit: of each caller; None: there is none.
        clock: seconds, never going back.
    """

    def __init__(
        self, limit: RateLimit | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def charge(self, caller: str, output_px: int) -> None:
        """Take the pixels of a picture that is about to be made.

        Raises:
            RateLimited: the caller has nothing left.
        """
        limit = self._limit
        if limit is None:
            return
        bucket = self._bucket(caller, limit)
        if bucket.megapixels <= 0:
            raise RateLimited(
                f"more than {limit.megapixels:g} output megapixels in {limit.seconds:g} s",
                retry_after_s=max(1.0, bucket.usable_in_s(limit)),
            )
        self._buckets[caller] = bucket.taken(output_px / 1e6)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)

    def headers(self, caller: str) -> dict[str, str]:
        """What is left, as draft-ietf-httpapi-ratelimit-headers has it."""
        limit = self._limit
        if limit is None:
            return {}
        bucket = self._bucket(caller, limit)
        left, full_s = max(0, math.floor(bucket.megapixels)), math.ceil(bucket.full_in_s(limit))
        return {
            "RateLimit-Policy": f'"output-mp";q={limit.megapixels:g};w={limit.seconds:g}',
            "RateLimit": f'"output-mp";r={left};t={full_s}',
        }

    def _bucket(self, caller: str, limit: RateLimit) -> Bucket:
        now = self._clock()
        return self._buckets.get(caller, Bucket(limit.megapixels, now)).filled(limit, now)
