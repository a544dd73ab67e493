"""How many tiles travel in one call: enough that calls cost a tenth of the computing at most, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.cluster.batching import CALL_S, MOST_SHARE, MOST_TILES, calls_of, tiles_per_call


@pytest.mark.parametrize(
    ("tile_s", "tiles"), [(None, 1), (3.3, 1), (0.05, 1), (0.026, 2), (0.006, 9), (0.0, MOST_TILES)]
)
def test_slow_devices_get_one_tile_and_fast_ones_several(tile_s: float | None, tiles: int) -> None:
    """A tile of 3.3 s travels alone; nine tiles of 6 ms travel together."""
    assert tiles_per_call(tile_s) == tiles


@given(st.floats(min_value=1e-9, max_value=1e6))
def test_cost_of_calls_is_bounded(tile_s: float) -> None:
    """Unless the call is as large as it may be, its own cost is a tenth of the computing at most."""
    tiles = tiles_per_call(tile_s)
    assert 1 <= tiles <= MOST_TILES
    assert tiles == MOST_TILES or MOST_SHARE * tiles * tile_s * (1 + 1e-9) >= CALL_S
    assert tiles == 1 or MOST_SHARE * (tiles - 1) * tile_s * (1 - 1e-9) < CALL_S


@given(st.lists(st.integers(1, MOST_TILES), max_size=60), st.integers(-2, 40))
def test_every_tile_is_in_one_call_that_is_not_too_large(most: list[int], free_calls: int) -> None:
    """In their order; no tile travels with more than may be, and no call has more than its share of a few tiles."""
    calls = [range(len(most))[one] for one in calls_of(most, free_calls=free_calls)]
    assert [tile for call in calls for tile in call] == list(range(len(most)))
    for call in calls:
        assert 1 <= len(call) <= min(most[tile] for tile in call)
        assert len(call) <= -(-len(most) // max(1, free_calls))


@pytest.mark.parametrize(
    ("tiles", "free_calls", "sizes"),
    [
        (16, 6, [3, 3, 3, 3, 3, 1]),
        (3, 6, [1, 1, 1]),
        (12, 1, [5, 5, 2]),
        (40, 6, [5] * 8),
        (0, 6, []),
    ],
)
def test_few_tiles_go_to_all_replicas(tiles: int, free_calls: int, sizes: list[int]) -> None:
    """Sixteen tiles for three replicas, which take two calls each, do not travel in one; many fill their calls."""
    calls = calls_of([5] * tiles, free_calls=free_calls)
    assert [one.stop - one.start for one in calls] == sizes
