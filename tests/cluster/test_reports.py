"""Reports of replicas: the newest of each, until it falls silent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from support.fakes import NEAREST, NearestEngine

from enlarger.cluster.calls import NO_FACTS
from enlarger.cluster.reports import STALE_S, ReplicaReport, Reports, facts_together
from enlarger.engine.tile import NetworkCounts


@dataclass
class Clock:
    """A clock that a test moves."""

    now_s: float = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def report(
    replica: str, *, mflop_per_s: float | None = None, in_flight: int = 0, done: int = 0
) -> ReplicaReport:
    """A report of that replica."""
    facts = replace(
        NearestEngine().facts(),
        capacity=4,
        in_flight=in_flight,
        parallel=2,
        mflop_per_s=mflop_per_s,
    )
    return ReplicaReport(
        replica=replica,
        deployment="cpu",
        node="3f5a81c0@10.0.0.7",
        facts=facts,
        tiles_done=done,
        rss_bytes=1000,
    )


def test_newest_report_of_each_replica_counts() -> None:
    """They are sorted by name, so that nothing jumps in a list of them."""
    reports = Reports(Clock())
    for one in (report("b"), report("a"), report("b", done=7)):
        reports.put(one)
    assert [(one.replica, one.tiles_done) for one in reports.all()] == [("a", 0), ("b", 7)]
    assert reports.all()[0].name == "cpu-a"


def test_silent_replica_is_gone() -> None:
    """After five seconds without a report, and not before."""
    clock = Clock()
    reports = Reports(clock)
    reports.put(report("a"))
    clock.now_s += STALE_S
    reports.put(report("b"))
    assert [one.replica for one in reports.all()] == ["a", "b"]
    clock.now_s += 0.1
    assert [one.replica for one in reports.all()] == ["b"]


def test_replicas_together_are_the_sum_of_them() -> None:
    """Seats and tiles at once add up; the speed of one tile is the mean of those that were measured."""
    together = facts_together(
        [
            report("a", mflop_per_s=100, in_flight=2),
            report("b", mflop_per_s=300, in_flight=3),
            report("c"),
        ]
    )
    assert (together.capacity, together.parallel, together.in_flight) == (12, 6, 5)
    assert together.mflop_per_s == 200
    assert together.models == (NEAREST,)


def test_model_is_loaded_where_all_replicas_have_loaded_it() -> None:
    """Ray chooses the replica, so that a tile may have to wait at any that has not."""
    one, two = (
        replace(report(name), facts=replace(report(name).facts, models=(model,)))
        for name, model in (
            ("a", replace(NEAREST, loaded=("f32", "bf16"))),
            ("b", replace(NEAREST, loaded=("f32",))),
        )
    )
    (model,) = facts_together([one, two]).models
    assert model.loaded == ("f32",)


def test_networks_in_memory_add_up() -> None:
    """They are unknown where one replica does not say."""
    counts = NetworkCounts(loaded=1, held_bytes=10, loads=3, switches=2)
    saying = replace(report("a"), facts=replace(report("a").facts, networks=counts))
    assert facts_together([saying, saying]).networks == NetworkCounts(
        loaded=2, held_bytes=20, loads=6, switches=4
    )
    assert facts_together([saying, report("b")]).networks is None


def test_no_replica_can_do_nothing() -> None:
    """It is not ready, and has no seat."""
    assert facts_together([]) == NO_FACTS
