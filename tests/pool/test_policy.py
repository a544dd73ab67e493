"""The pool's decisions: which server gets a tile, how long it may take, and when a tile has failed for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import NEAREST, need_of
from support.pictures import noise

from enlarger.engine.tile import EngineFacts, ModelFacts, TileRequest
from enlarger.errors import (
    EngineFailed,
    EngineLost,
    EnlargerError,
    InvalidOption,
    OutOfMemory,
    TileTooLarge,
    WrongOutput,
)
from enlarger.pool.health import State
from enlarger.pool.policy import (
    NeverBegun,
    Tries,
    Wear,
    attempt_limit_s,
    choose,
    computes,
    done_sooner,
    has_open_seat,
    has_room,
    in_rotation,
    is_idle,
    may_eject,
    model_here,
    retry_fits,
)


def engine_facts(*models: ModelFacts, capacity: int = 2) -> EngineFacts:
    """Return the facts of an engine with these models, or with ``NEAREST``."""
    return EngineFacts(
        engine="nearest",
        ready=True,
        models=models or (NEAREST,),
        capacity=capacity,
        in_flight=0,
        mflop_per_s=None,
    )


@dataclass(eq=False)
class Server:
    """A server with all values on which a choice depends."""

    state: State = State.READY
    facts: EngineFacts | None = None
    in_flight: int = 0
    outstanding_mflop: float = 0.0
    mflop_per_s: float | None = None
    last_used: int = 0
    warm: bool = True

    def __post_init__(self) -> None:
        self.facts = self.facts or engine_facts()

    def is_warm(self, request: TileRequest) -> bool:
        """Return what the test has set, for any tile."""
        return self.warm


def request(
    *, weights_sha256: str = NEAREST.sha256, precision: str = "f32", scale: int = NEAREST.scale
) -> TileRequest:
    """A tile for ``NEAREST``, of 2x2 LR pixels."""
    return TileRequest(
        pixels=noise(2, 2, 3),
        model=NEAREST.id,
        weights_sha256=weights_sha256,
        scale=scale,
        precision=precision,
        deadline=0,
        request_id="-",
    )


# Which servers can take a tile


def test_server_takes_up_to_its_capacity() -> None:
    """A server that is full, or whose facts are not known, has no room."""
    assert has_room(Server(in_flight=1))
    assert not has_room(Server(in_flight=2))
    server = Server()
    server.facts = None
    assert not has_room(server)
    assert not computes(server, request())
    assert model_here(server, need_of()) is None


@pytest.mark.parametrize("state", list(State))
def test_ready_servers_get_the_tiles(state: State) -> None:
    """As long as one is ready, servers in other states get none."""
    ready, other = Server(outstanding_mflop=1000, in_flight=1), Server(state=state)
    assert choose([ready, other], request()) is (other if state is State.READY else ready)


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_ejected_servers_are_better_than_none(state: State) -> None:
    """If no server that computes what is asked is ready, those that were ejected are tried, and no others."""
    members = [Server(state=state), Server(facts=engine_facts(replace(NEAREST, sha256="1" * 64)))]
    expected = members[0] if state is State.EJECTED else None
    assert choose(members, request()) is expected
    assert in_rotation(members) == members[1:]


def test_server_with_other_weights_gets_no_tile() -> None:
    """One picture never mixes weights: the hash decides, not the name."""
    other = replace(NEAREST, sha256="1" * 64)
    assert not computes(Server(facts=engine_facts(other)), request())
    assert computes(Server(facts=engine_facts(other)), request(weights_sha256="1" * 64))


def test_server_with_another_graph_gets_no_tile() -> None:
    """The same weights may be for several graphs. A server, or a tile, that states none is taken at its word."""
    server = Server(facts=engine_facts(replace(NEAREST, graph_sha256="2" * 64)))
    assert computes(server, replace(request(), graph_sha256="2" * 64))
    assert not computes(server, replace(request(), graph_sha256="1" * 64))
    assert computes(server, request())
    assert computes(Server(), replace(request(), graph_sha256="1" * 64))


def test_server_without_the_model_gets_no_tile() -> None:
    """The name decides, not the hash."""
    renamed = replace(NEAREST, id="other")
    assert not computes(Server(facts=engine_facts(renamed)), request())


def test_server_without_the_precision_gets_no_tile() -> None:
    """One picture never mixes precisions."""
    full_only = replace(NEAREST, precisions=("f32",))
    assert computes(Server(facts=engine_facts(full_only)), request(precision="f32"))
    assert not computes(Server(facts=engine_facts(full_only)), request(precision="bf16"))


def test_facts_of_a_model_are_found_by_name_and_hash() -> None:
    """The model is found among all models of the server."""
    other = replace(NEAREST, id="other", sha256="1" * 64)
    server = Server(facts=engine_facts(other, NEAREST))
    assert model_here(server, need_of()) is NEAREST
    assert model_here(server, need_of(other)) is other
    assert model_here(server, need_of(replace(other, sha256=NEAREST.sha256))) is None
    assert model_here(server, need_of(replace(NEAREST, id="no-such"))) is None


def test_server_whose_model_has_another_scale_gets_no_tile() -> None:
    """Its answer would have another size; what it states of its halo changes nothing."""
    assert not computes(Server(facts=engine_facts(replace(NEAREST, scale=2))), request())
    assert computes(Server(facts=engine_facts(replace(NEAREST, scale=2))), request(scale=2))
    other_halo = replace(NEAREST, halo_px=NEAREST.halo_px + 1, halo_is_exact=False)
    assert computes(Server(facts=engine_facts(other_halo)), request())


def test_server_that_takes_smaller_tiles_only_gets_no_larger_one() -> None:
    """The tile's size with its halo counts; a tile of just the limit is taken."""
    assert computes(Server(facts=engine_facts(replace(NEAREST, max_tile_px=4))), request())
    assert not computes(Server(facts=engine_facts(replace(NEAREST, max_tile_px=3))), request())


# Which server gets a tile


def test_least_outstanding_work_gets_the_tile() -> None:
    """The outstanding work decides, not the number of tiles or the last use."""
    busy = Server(outstanding_mflop=30, in_flight=1, last_used=1)
    less_busy = Server(outstanding_mflop=20, in_flight=1, last_used=9)
    assert choose([busy, less_busy], request()) is less_busy
    assert choose([less_busy, busy], request()) is less_busy


def test_ties_go_to_the_one_used_longest_ago() -> None:
    """So that idle servers take turns."""
    servers = [Server(last_used=5), Server(last_used=3), Server(last_used=4)]
    assert choose(servers, request()) is servers[1]


def test_nobody_free_means_wait() -> None:
    """Servers that are full or broken are not chosen, and there may be no server at all."""
    assert choose([Server(in_flight=2), Server(state=State.GONE)], request()) is None
    assert choose([], request()) is None


def test_server_where_the_tile_failed_is_avoided() -> None:
    """This holds even if all others have more work."""
    failed, busy = Server(), Server(outstanding_mflop=1000, in_flight=1)
    assert choose([failed, busy], request(), avoid={failed}) is busy


def test_full_server_is_waited_for_rather_than_one_where_the_tile_failed() -> None:
    """The full server will have room. The one that fails at once always has room, and would use up the attempts immediately."""
    failed, full = Server(), Server(in_flight=2)
    assert choose([failed, full], request(), avoid={failed}) is None


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_server_where_the_tile_failed_is_better_than_none(state: State) -> None:
    """If the tile failed on every server that may compute it, it goes there again. It does not wait for a server that may never return."""
    failed, out = Server(), Server(state=state)
    unable = Server(facts=engine_facts(replace(NEAREST, sha256="1" * 64)))
    assert choose([failed, out, unable], request(), avoid={failed}) is failed


def ejected_server(has_other_weights: bool) -> Server:
    """Return an ejected server with room."""
    model = replace(NEAREST, sha256="1" * 64) if has_other_weights else NEAREST
    return Server(state=State.EJECTED, facts=engine_facts(model))


servers = st.builds(
    Server,
    state=st.sampled_from([State.READY, State.READY, State.SUSPECT, State.GONE]),
    in_flight=st.integers(0, 2),
    outstanding_mflop=st.integers(0, 3).map(float),
    last_used=st.integers(0, 5),
)


@given(members=st.lists(servers, max_size=6), avoided=st.sets(st.integers(0, 5)))
def test_choice_is_the_least_of_those_that_can_take_it(
    members: list[Server], avoided: set[int]
) -> None:
    """For every set of servers, no better one is passed over, and an avoided one is chosen only if there is no other."""
    avoid = [member for number, member in enumerate(members) if number in avoided]
    chosen = choose(members, request(), avoid=avoid)
    ready = [member for member in members if member.state is State.READY]
    elsewhere = [member for member in ready if member not in avoid] or ready
    wanted = [member for member in elsewhere if member.in_flight < 2]
    if not wanted:
        assert chosen is None
        return
    assert chosen in wanted
    least = min((member.outstanding_mflop, member.last_used) for member in wanted)
    assert (chosen.outstanding_mflop, chosen.last_used) == least


@given(members=st.lists(servers | st.builds(ejected_server, st.booleans()), max_size=4))
def test_without_an_open_seat_nobody_is_chosen(members: list[Server]) -> None:
    """If a seat is open, some tile gets it. So the pool need not try each waiting tile."""
    tiles = [request(precision=precision) for precision in NEAREST.precisions]
    tiles.append(request(weights_sha256="1" * 64))
    chosen = [choose(members, tile) for tile in tiles]
    assert has_open_seat(members) is any(member is not None for member in chosen)


def test_ejected_server_has_no_open_seat_while_another_has_the_same() -> None:
    """It gets no tile that another server can compute, although it has room. It gets tiles of models that no other server has."""
    ejected, full = Server(state=State.EJECTED), Server(in_flight=2)
    assert not has_open_seat([ejected, full])
    ejected.facts = engine_facts(replace(NEAREST, sha256="1" * 64))
    assert has_open_seat([ejected, full])


# Which servers have the network in memory


def cold(outstanding_mflop: float = 0.0) -> Server:
    """Return a server that would have to load the network first."""
    return Server(warm=False, outstanding_mflop=outstanding_mflop)


warm_or_cold = st.builds(
    Server,
    state=st.sampled_from([State.READY, State.READY, State.EJECTED, State.GONE]),
    in_flight=st.integers(0, 2),
    outstanding_mflop=st.integers(0, 3).map(float),
    warm=st.booleans(),
)


def test_server_with_the_network_in_memory_is_preferred() -> None:
    """It is preferred even to an idle server, as long as loading would take longer than the waiting work."""
    warm = Server(outstanding_mflop=1000, in_flight=1, mflop_per_s=1000)
    assert choose([cold(), warm], request(), waiting_mflop=900) is warm


def test_work_that_waits_is_loaded_on_a_second_server() -> None:
    """This happens once the waiting tiles and the work of the warm server take longer than loading."""
    warm = Server(outstanding_mflop=1000, in_flight=1, mflop_per_s=1000)
    second = cold()
    assert choose([warm, second], request(), waiting_mflop=1100) is second


def test_tile_waits_for_a_full_server_that_is_warm() -> None:
    """A moment of waiting is cheaper than loading, which may also drop the network of others."""
    full = Server(outstanding_mflop=100, in_flight=2, mflop_per_s=1000)
    assert choose([full, cold()], request(), waiting_mflop=100) is None


def test_without_a_warm_server_the_least_loaded_one_loads() -> None:
    """The choice is the same as without networks in memory."""
    idle, busy = cold(), cold(outstanding_mflop=10)
    assert choose([busy, idle], request(), waiting_mflop=1e9) is idle


def test_warm_server_where_the_tile_failed_is_no_reason_to_wait() -> None:
    """Another one loads the network."""
    failed, other = Server(), cold()
    assert choose([failed, other], request(), avoid=[failed]) is other


@given(waiting=st.floats(0, 1e9), members=st.lists(warm_or_cold, min_size=1, max_size=4))
def test_tile_gets_a_seat_wherever_there_is_work_enough(
    waiting: float, members: list[Server]
) -> None:
    """If much work waits, no server that could take the tile stays idle. Every server that is chosen can take it."""
    chosen = choose(members, request(), waiting_mflop=waiting)
    anybody = choose(members, request(), waiting_mflop=1e12)
    assert chosen is None or (has_room(chosen) and computes(chosen, request()))
    assert (anybody is not None) == any(
        has_room(one) for one in in_rotation(one for one in members if computes(one, request()))
    )


# How long an attempt may take


@pytest.mark.parametrize(
    ("outstanding_mflop", "mflop_per_s", "limit_s"),
    [
        (1000, 100, 40),
        (250, 100, 10),
        (251, 100, 10.04),
        (0, 100, 10),
        (100_000, None, 80),
        (100_000, 0, 80),
    ],
)
def test_attempt_gets_four_times_what_its_servers_speed_says(
    outstanding_mflop: float, mflop_per_s: float | None, limit_s: float
) -> None:
    """It gets at least ten seconds. If no speed was measured, 5000 MFLOP/s are assumed, a slow core."""
    assert attempt_limit_s(outstanding_mflop, mflop_per_s) == pytest.approx(limit_s)


@pytest.mark.parametrize(("parallel", "limit_s"), [(1, 40), (3, 20), (1000, 10.036)])
def test_work_is_shared_by_those_that_compute_at_the_same_time(
    parallel: int, limit_s: float
) -> None:
    """The tile itself is not shared: one of the servers computes 250 of these 1000 MFLOP."""
    limit = attempt_limit_s(1000, 100, tile_mflop=250, parallel=parallel, at_least_s=0)
    assert limit == pytest.approx(max(limit_s, 10 + 30 / parallel), rel=1e-2)


def test_shortest_attempt_can_be_set() -> None:
    """For engines whose tiles are known to be quick."""
    assert attempt_limit_s(0, None, at_least_s=0.5) == 0.5


def test_lost_attempts_double_the_time_of_the_next() -> None:
    """If attempts are lost on several servers, the whole machine is probably slow."""
    assert [attempt_limit_s(1000, 100, lost=lost) for lost in range(4)] == [40, 80, 160, 320]
    assert [attempt_limit_s(0, 100, lost=lost) for lost in range(4)] == [10, 20, 40, 80]


@pytest.mark.parametrize(
    ("left_s", "lost", "limit_s"), [(600, 0, 10), (20, 0, 10), (8, 0, 4), (4, 1, 2), (0.1, 0, 0.05)]
)
def test_attempt_leaves_time_for_another(left_s: float, lost: int, limit_s: float) -> None:
    """The ten seconds are at most half of what is left until the deadline, so a hang is seen in time."""
    assert attempt_limit_s(0, 100, lost=lost, left_s=left_s) == pytest.approx(limit_s)


def test_slow_server_is_given_all_the_time_that_is_left() -> None:
    """A tile that takes 3 s by its measured speed may take 12, and so up to its deadline in 5: nothing hangs."""
    assert attempt_limit_s(300, 100, left_s=5) == pytest.approx(12)


# Ejection, replacement and retries


@pytest.mark.parametrize(
    ("ejected", "others", "allowed"),
    [
        (0, 1, False),
        (0, 2, True),
        (1, 1, False),
        (0, 3, True),
        (1, 2, False),
        (1, 4, True),
        (2, 3, False),
    ],
)
def test_no_more_than_half_are_ejected(ejected: int, others: int, *, allowed: bool) -> None:
    """A single server is never ejected. Two of five servers may be."""
    members = [Server(state=State.EJECTED)] * ejected + [Server()] * others
    assert may_eject(members) is allowed


@pytest.mark.parametrize(
    ("retrying", "tiles", "fits"),
    [
        (0, 1, True),
        (2, 10, True),
        (3, 10, False),
        (3, 19, False),
        (3, 20, True),
        (19, 100, True),
        (20, 100, False),
    ],
)
def test_a_fifth_of_all_tiles_may_be_tried_again(retrying: int, tiles: int, *, fits: bool) -> None:
    """Three tiles may always be tried again."""
    assert retry_fits(retrying, tiles) is fits


@pytest.mark.parametrize(
    ("rss_bytes", "tiles", "reached"),
    [(99, 9, False), (100, 9, True), (99, 10, True), (None, None, False), (None, 10, True)],
)
def test_server_is_worn_at_either_limit(
    rss_bytes: int | None, tiles: int | None, *, reached: bool
) -> None:
    """An unknown value reaches no limit, and without a limit nothing is reached."""
    assert Wear(rss_bytes=100, tiles=10).is_reached(rss_bytes=rss_bytes, tiles=tiles) is reached
    assert not Wear().is_reached(rss_bytes=rss_bytes, tiles=tiles)


# When a tile has failed


def times(error: EnlargerError) -> int:
    """Return the number of failures with ``error`` after which a tile is not tried again."""
    tries = Tries()
    for attempt in range(1, 101):
        if not tries.count(error):
            return attempt
    return 100


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EngineFailed("e"), 3),
        (WrongOutput("e"), 3),
        (OutOfMemory("e"), 3),
        (EngineLost("e"), 5),
        (NeverBegun("e"), 100),
        (InvalidOption("e"), 1),
        (TileTooLarge("e"), 1),
    ],
)
def test_errors_end_a_tile_after_so_many(error: EnlargerError, expected: int) -> None:
    """A tile ends after three failures, or after five lost servers. An error that every server would repeat ends it at once."""
    assert times(error) == expected


@pytest.mark.parametrize(
    ("first", "then", "more"),
    [(EngineLost, EngineFailed, [True, True, False]), (EngineFailed, EngineLost, [True] * 4)],
)
def test_lost_servers_are_no_failures(
    first: Callable[[str], EnlargerError], then: Callable[[str], EnlargerError], more: list[bool]
) -> None:
    """Both are counted separately: two of one kind leave the other its full number."""
    tries = Tries()
    assert [tries.count(first("e")) for _ in range(2)] == [True, True]
    assert [tries.count(then("e")) for _ in more] == more


# Idle servers


def test_member_is_idle_while_it_could_compute_one_more() -> None:
    """It accepts more tiles than it computes at a time."""
    two = replace(engine_facts(capacity=4), parallel=2)
    assert is_idle(Server(in_flight=0))
    assert not is_idle(Server(in_flight=1))
    assert is_idle(Server(facts=two, in_flight=1))
    assert not is_idle(Server(facts=two, in_flight=2))
    unknown = Server()
    unknown.facts = None
    assert not is_idle(unknown)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (None, None, True),
        (10.0, 10.0, True),
        (10.0, 5.1, True),
        (10.0, 4.9, False),
        (10.0, None, True),
    ],
)
def test_tile_is_done_sooner_where_it_need_not_wait(
    here: float | None, there: float | None, expected: bool
) -> None:
    """Here the tile is the second of two of 5 MFLOP, so it is done when both are. There it is alone, at the speed of that server."""
    waits = Server(in_flight=2, outstanding_mflop=10.0, mflop_per_s=here)
    idle = Server(mflop_per_s=there)
    assert done_sooner(request(), 5.0, here=waits, there=idle) == expected
    other = Server(facts=engine_facts(replace(NEAREST, sha256="1" * 64)))
    assert not done_sooner(request(), 5.0, here=waits, there=other)


def test_tile_is_not_moved_to_where_loading_takes_longer() -> None:
    """It is moved once the work before it takes longer than loading."""
    slow = Server(in_flight=2, outstanding_mflop=1000, mflop_per_s=100)
    quick = Server(in_flight=2, outstanding_mflop=1000, mflop_per_s=1000)
    assert done_sooner(request(), 500, here=slow, there=cold())
    assert not done_sooner(request(), 500, here=quick, there=cold())
