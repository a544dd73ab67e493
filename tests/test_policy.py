"""The pool's decisions: who gets a tile, how long it may take, and when a tile has failed for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from fakes import NEAREST, need_of
from hypothesis import given
from hypothesis import strategies as st
from pictures import noise

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
    """Of an engine with these models, or ``NEAREST``."""
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
    """All that a choice looks at."""

    state: State = State.READY
    facts: EngineFacts | None = None
    in_flight: int = 0
    outstanding_mflop: float = 0.0
    mflop_per_s: float | None = None
    last_used: int = 0

    def __post_init__(self) -> None:
        self.facts = self.facts or engine_facts()


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


# Who can take a tile


def test_server_takes_up_to_its_capacity() -> None:
    """One tile more has no room; nor has any where nobody knows what the server has."""
    assert has_room(Server(in_flight=1))
    assert not has_room(Server(in_flight=2))
    server = Server()
    server.facts = None
    assert not has_room(server)
    assert not computes(server, request())
    assert model_here(server, need_of()) is None


@pytest.mark.parametrize("state", list(State))
def test_ready_servers_get_the_tiles(state: State) -> None:
    """While there is one, no other gets any, whatever the reason."""
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
    """Among all that a server has."""
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


# Who gets it


def test_least_outstanding_work_gets_the_tile() -> None:
    """Computing decides, not the number of tiles and not who was used last."""
    busy = Server(outstanding_mflop=30, in_flight=1, last_used=1)
    less_busy = Server(outstanding_mflop=20, in_flight=1, last_used=9)
    assert choose([busy, less_busy], request()) is less_busy
    assert choose([less_busy, busy], request()) is less_busy


def test_ties_go_to_the_one_used_longest_ago() -> None:
    """So that idle servers take turns."""
    servers = [Server(last_used=5), Server(last_used=3), Server(last_used=4)]
    assert choose(servers, request()) is servers[1]


def test_nobody_free_means_wait() -> None:
    """Full ones and broken ones are not chosen, nor is one of none."""
    assert choose([Server(in_flight=2), Server(state=State.GONE)], request()) is None
    assert choose([], request()) is None


def test_server_where_the_tile_failed_is_avoided() -> None:
    """Even if all others have more work."""
    failed, busy = Server(), Server(outstanding_mflop=1000, in_flight=1)
    assert choose([failed, busy], request(), avoid={failed}) is busy


def test_full_server_is_waited_for_rather_than_one_where_the_tile_failed() -> None:
    """It will have room. One that fails at once always has, and would use up the attempts in no time."""
    failed, full = Server(), Server(in_flight=2)
    assert choose([failed, full], request(), avoid={failed}) is None


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_server_where_the_tile_failed_is_better_than_none(state: State) -> None:
    """If the tile failed on all that get such tiles, it goes there again; nobody waits for one that may never return."""
    failed, out = Server(), Server(state=state)
    unable = Server(facts=engine_facts(replace(NEAREST, sha256="1" * 64)))
    assert choose([failed, out, unable], request(), avoid={failed}) is failed


def ejected_server(has_other_weights: bool) -> Server:
    """One with room."""
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
    """For every set of servers: no better one was passed over, and an avoided one only for want of another."""
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
    """And with one, somebody is, for one tile at least. So it need not be asked for each tile that waits."""
    tiles = [request(precision=precision) for precision in NEAREST.precisions]
    tiles.append(request(weights_sha256="1" * 64))
    chosen = [choose(members, tile) for tile in tiles]
    assert has_open_seat(members) is any(member is not None for member in chosen)


def test_ejected_server_has_no_open_seat_while_another_has_the_same() -> None:
    """Though it has room: it gets nothing. It gets what nobody else has."""
    ejected, full = Server(state=State.EJECTED), Server(in_flight=2)
    assert not has_open_seat([ejected, full])
    ejected.facts = engine_facts(replace(NEAREST, sha256="1" * 64))
    assert has_open_seat([ejected, full])


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
    """At least ten seconds; 5000 MFLOP/s, a slow core, where nobody measured."""
    assert attempt_limit_s(outstanding_mflop, mflop_per_s) == pytest.approx(limit_s)


def test_shortest_attempt_can_be_set() -> None:
    """For engines whose tiles are known to be quick."""
    assert attempt_limit_s(0, None, at_least_s=0.5) == 0.5


def test_lost_attempts_double_the_time_of_the_next() -> None:
    """Where a whole machine became slow, not all its servers hang."""
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


# Who is ejected, retired, and tried again


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
    """A single server never is; of five, two are."""
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
    """Three in any case."""
    assert retry_fits(retrying, tiles) is fits


@pytest.mark.parametrize(
    ("rss_bytes", "tiles", "reached"),
    [(99, 9, False), (100, 9, True), (99, 10, True), (None, None, False), (None, 10, True)],
)
def test_server_is_worn_at_either_limit(
    rss_bytes: int | None, tiles: int | None, *, reached: bool
) -> None:
    """What is not known reaches nothing, and without a limit nothing is reached."""
    assert Wear(rss_bytes=100, tiles=10).is_reached(rss_bytes=rss_bytes, tiles=tiles) is reached
    assert not Wear().is_reached(rss_bytes=rss_bytes, tiles=tiles)


# When a tile has failed


def times(error: EnlargerError) -> int:
    """How often a tile may meet ``error`` until no attempt follows."""
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
    """Three failures, or five servers lost; what no other server would do better ends it at once."""
    assert times(error) == expected


@pytest.mark.parametrize(
    ("first", "then", "more"),
    [(EngineLost, EngineFailed, [True, True, False]), (EngineFailed, EngineLost, [True] * 4)],
)
def test_lost_servers_are_no_failures(
    first: Callable[[str], EnlargerError], then: Callable[[str], EnlargerError], more: list[bool]
) -> None:
    """Each kind is counted by itself: two of the one leave the other its full number."""
    tries = Tries()
    assert [tries.count(first("e")) for _ in range(2)] == [True, True]
    assert [tries.count(then("e")) for _ in more] == more


# Who has nothing to do


def test_member_is_idle_while_it_could_compute_one_more() -> None:
    """That is less than the tiles it takes."""
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
    """Of two tiles of 5 mflop the second is done when both are; elsewhere one alone, at that one's speed."""
    waits = Server(in_flight=2, outstanding_mflop=10.0, mflop_per_s=here)
    idle = Server(mflop_per_s=there)
    assert done_sooner(request(), 5.0, here=waits, there=idle) == expected
    other = Server(facts=engine_facts(replace(NEAREST, sha256="1" * 64)))
    assert not done_sooner(request(), 5.0, here=waits, there=other)
