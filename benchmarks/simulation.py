"""A day of a cluster: arrivals, nodes that come and go, and a queue, as a seeded simulation of events.

A picture is computed by one node, in the order of arrival. A request that would find too many seconds of work before it is refused.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What arrives."""

    pictures_per_s: float
    """Mean over the day."""

    wave: float = 0.6
    """Amplitude of the daily wave: at its top this part more than the mean arrives, at its bottom as much less."""

    bursts_per_day: float = 24.0
    burst_factor: float = 2.0
    """While a burst lasts, as many times more arrive."""

    burst_s: float = 120.0
    median_mpx: float = 0.8
    """Median size of a picture in input megapixels. Sizes are distributed log-normally."""

    spread: float = 0.9
    """Standard deviation of the logarithm of sizes."""

    most_mpx: float = 4.2
    """Larger pictures are refused by the limits, and so are none here."""

    duration_s: float = DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """What computes, and how it scales."""

    least: int
    most: int
    mpx_per_s: float
    """Input megapixels that a node computes in a second."""

    overhead_s: float = 0.05
    """Seconds of a picture besides its pixels."""

    target: float = 0.7
    """Pictures in progress for each node that the autoscaler aims at."""

    look_s: float = 30.0
    """Between two decisions of the autoscaler."""

    start_s: float = 180.0
    """From a decision to a node that computes."""

    idle_s: float = 600.0
    """A surplus lasts as long before nodes are given back."""

    failures_per_node_day: float = 0.02
    spot_share: float = 0.5
    """Part of the nodes that may be reclaimed."""

    reclaims_per_node_day: float = 0.5
    lease_s: float = 15.0
    """After so long the work of a node that failed is given to another one. A node that is reclaimed finishes its picture."""

    price_per_h: float = 1.0
    spot_price_per_h: float = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a day."""

    arrived: int
    refused: int
    lost_nodes: int
    reclaimed_nodes: int
    repeated: int
    """Pictures that were computed again, because their node failed."""

    waits_s: Sequence[float]
    """Seconds from arrival to the begin of computing, of each finished picture."""

    totals_s: Sequence[float]
    """Seconds from arrival to the end."""

    mpx: float
    """Input megapixels that were finished."""

    node_s: float
    """Seconds that nodes were paid for."""

    cost: float
    most_nodes: int

    def percentiles(self, *points: float) -> list[float]:
        """Return percentiles of waiting, in seconds."""
        return [float(one) for one in np.percentile(self.waits_s or [0.0], points)]


def arrivals(traffic: Traffic, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of arrival in seconds, in order, and the sizes in megapixels.

    A Poisson process whose rate follows the wave and the bursts, by thinning.
    """
    random = np.random.default_rng(seed)
    bursts = np.sort(
        random.uniform(
            0,
            traffic.duration_s,
            random.poisson(traffic.bursts_per_day * traffic.duration_s / DAY_S),
        )
    )
    top = traffic.pictures_per_s * (1 + traffic.wave) * max(1.0, traffic.burst_factor)
    count = random.poisson(top * traffic.duration_s)
    times = np.sort(random.uniform(0, traffic.duration_s, count))
    rate = traffic.pictures_per_s * (1 - traffic.wave * np.cos(2 * np.pi * times / DAY_S))
    last = np.searchsorted(bursts, times, side="right") - 1
    since = np.where(last >= 0, times - bursts[np.maximum(last, 0)] if bursts.size else 0, np.inf)
    rate = np.where((last >= 0) & (since < traffic.burst_s), rate * traffic.burst_factor, rate)
    kept = times[random.uniform(0, top, count) < rate]
    sizes = traffic.median_mpx * np.exp(traffic.spread * random.standard_normal(kept.size))
    return kept, np.minimum(sizes, traffic.most_mpx)


def wanted_nodes(busy: int, queued: int, nodes: Nodes) -> int:
    """Return how many nodes the autoscaler asks for, from the pictures that are computed and those that wait."""
    return min(nodes.most, max(nodes.least, math.ceil((busy + queued) / nodes.target)))


@dataclass(slots=True)
class _Node:
    spot: bool
    since_s: float
    ends_s: float
    """When it fails or is reclaimed."""

    fails: bool
    """Whether that is a failure, which loses the picture that it computes."""


@dataclass(slots=True)
class _Run:
    """The state of a simulation."""

    nodes: Nodes
    random: np.random.Generator
    max_wait_s: float
    now_s: float = 0.0
    idle: list[_Node] = field(default_factory=list)
    busy: int = 0
    starting: int = 0
    queue: deque[tuple[float, float]] = field(default_factory=deque)
    queued_mpx: float = 0.0
    events: list[tuple[float, int, str, _Node | None, float, float]] = field(default_factory=list)
    number: int = 0
    surplus_since_s: float | None = None
    refused: int = 0
    failed: int = 0
    reclaimed: int = 0
    repeated: int = 0
    held: int = 0
    """Pictures whose node has failed, and whose lease is not over."""

    waits_s: list[float] = field(default_factory=list)
    totals_s: list[float] = field(default_factory=list)
    mpx: float = 0.0
    node_s: float = 0.0
    cost: float = 0.0
    most_nodes: int = 0

    @property
    def count(self) -> int:
        """Nodes that compute or could."""
        return len(self.idle) + self.busy

    def later(
        self,
        at_s: float,
        kind: str,
        node: _Node | None = None,
        arrived: float = 0.0,
        mpx: float = 0.0,
    ) -> None:
        """Add an event."""
        self.number += 1
        heapq.heappush(self.events, (at_s, self.number, kind, node, arrived, mpx))

    def new_node(self) -> _Node:
        """Return a node that begins now."""
        nodes, random = self.nodes, self.random
        spot = bool(random.random() < nodes.spot_share)
        fails_s = _exponential(random, nodes.failures_per_node_day)
        reclaimed_s = _exponential(random, nodes.reclaims_per_node_day) if spot else math.inf
        ends_s = self.now_s + min(fails_s, reclaimed_s)
        return _Node(spot, self.now_s, ends_s, fails=fails_s < reclaimed_s)

    def leave(self, node: _Node, at_s: float) -> None:
        """Pay a node that is not there any more."""
        took_s = at_s - node.since_s
        self.node_s += took_s
        price = self.nodes.spot_price_per_h if node.spot else self.nodes.price_per_h
        self.cost += took_s / 3600 * price

    def lose(self, node: _Node) -> None:
        """Count a node that failed or was reclaimed."""
        self.failed += node.fails
        self.reclaimed += not node.fails
        self.leave(node, min(node.ends_s, self.now_s))

    def arrive(self, mpx: float) -> None:
        """Admit a picture, or refuse it."""
        speed = self.nodes.mpx_per_s * max(1, self.count)
        if self.queued_mpx / speed > self.max_wait_s:
            self.refused += 1
            return
        self.queue.append((self.now_s, mpx))
        self.queued_mpx += mpx
        self.dispatch()

    def dispatch(self) -> None:
        """Give waiting pictures to idle nodes."""
        while self.queue and self.idle:
            node = self.idle.pop()
            if node.ends_s <= self.now_s:
                self.lose(node)
                continue
            arrived, mpx = self.queue.popleft()
            self.queued_mpx -= mpx
            self.busy += 1
            end_s = self.now_s + self.nodes.overhead_s + mpx / self.nodes.mpx_per_s
            if node.fails and node.ends_s < end_s:
                self.later(node.ends_s, "fail", node)
                self.later(node.ends_s + self.nodes.lease_s, "again", None, arrived, mpx)
            else:
                self.waits_s.append(self.now_s - arrived)
                self.totals_s.append(end_s - arrived)
                self.mpx += mpx
                self.later(end_s, "end", node)

    def handle(self, kind: str, node: _Node | None, arrived: float, mpx: float) -> None:
        """Do what an event says."""
        if kind == "end" and node is not None:
            self.busy -= 1
            if node.ends_s <= self.now_s:
                self.lose(node)
            else:
                self.idle.append(node)
        elif kind == "fail" and node is not None:
            self.busy -= 1
            self.held += 1
            self.lose(node)
        elif kind == "again":
            self.held -= 1
            self.repeated += 1
            self.queue.appendleft((arrived, mpx))
            self.queued_mpx += mpx
        elif kind == "start":
            self.starting -= 1
            self.idle.append(self.new_node())
        elif kind == "look":
            self.scale()
            self.later(self.now_s + self.nodes.look_s, "look")
        self.dispatch()

    def scale(self) -> None:
        """Ask for nodes, or give some back after a surplus that lasted."""
        gone = [node for node in self.idle if node.ends_s <= self.now_s]
        self.idle = [node for node in self.idle if node.ends_s > self.now_s]
        for node in gone:
            self.lose(node)
        wanted = wanted_nodes(self.busy, len(self.queue), self.nodes)
        missing = wanted - self.count - self.starting
        self.most_nodes = max(self.most_nodes, self.count)
        for _ in range(missing):
            self.starting += 1
            self.later(self.now_s + self.nodes.start_s, "start")
        if missing >= 0:
            self.surplus_since_s = None
        elif self.surplus_since_s is None:
            self.surplus_since_s = self.now_s
        elif self.now_s - self.surplus_since_s >= self.nodes.idle_s:
            for _ in range(min(-missing, len(self.idle))):
                self.leave(self.idle.pop(0), self.now_s)
            self.surplus_since_s = None


def simulate(traffic: Traffic, nodes: Nodes, *, seed: int, max_wait_s: float = 600.0) -> Outcome:
    """Simulate a day.

    Args:
        traffic: what arrives.
        nodes: what computes.
        seed: equal seeds make equal days.
        max_wait_s: a picture that finds more seconds of work before it is refused.
    """
    times, sizes = arrivals(traffic, seed)
    run = _Run(nodes, np.random.default_rng(seed + 1), max_wait_s)
    begins = wanted_nodes(
        math.ceil(
            float(np.mean(sizes) if sizes.size else 0)
            / nodes.mpx_per_s
            * traffic.pictures_per_s
            * (1 - traffic.wave)
        ),
        0,
        nodes,
    )
    run.idle = [run.new_node() for _ in range(begins)]
    run.later(0.0, "look")
    for time_s, mpx in zip(times.tolist(), sizes.tolist(), strict=True):
        while run.events[0][0] <= time_s:
            run.now_s, _, kind, node, arrived, again_mpx = heapq.heappop(run.events)
            run.handle(kind, node, arrived, again_mpx)
        run.now_s = time_s
        run.arrive(mpx)
    while run.queue or run.busy or run.held:
        run.now_s, _, kind, node, arrived, again_mpx = heapq.heappop(run.events)
        run.handle(kind, node, arrived, again_mpx)
    for node in run.idle:
        run.leave(node, max(run.now_s, node.since_s))
    return Outcome(
        arrived=times.size,
        refused=run.refused,
        lost_nodes=run.failed,
        reclaimed_nodes=run.reclaimed,
        repeated=run.repeated,
        waits_s=run.waits_s,
        totals_s=run.totals_s,
        mpx=run.mpx,
        node_s=run.node_s,
        cost=run.cost,
        most_nodes=run.most_nodes,
    )


def _exponential(random: np.random.Generator, per_day: float) -> float:
    return float(random.exponential(DAY_S / per_day)) if per_day > 0 else math.inf
