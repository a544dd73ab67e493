"""What tests are kept from when they start gateways."""

from __future__ import annotations

import pytest
from support.gateways import Start


async def test_gateway_is_closed_before_its_loop_ends(start: Start) -> None:
    """A test whose event loop ends earlier is told which marker it lacks."""
    with pytest.raises(AssertionError, match="loop_scope"):
        await start()
