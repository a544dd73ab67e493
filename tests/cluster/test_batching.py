"""How many tiles travel in one call: enough that calls cost a tenth of the computing at most, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.cluster.batching import CALL_S, MOST_SHARE, MOST_TILES, tiles_per_call


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
