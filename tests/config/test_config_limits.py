"""Settings of limits, and the limits that follow from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.config import (
    load,
)

pytestmark = pytest.mark.usefixtures("no_settings")


@given(side=st.integers(1, 100_000))
def test_output_limit_is_that_of_the_largest_picture_at_4x(side: int) -> None:
    """Unset, it allows what the input limit allows."""
    assert load(max_image_dimension_px=side).limits.output_limit_px == 16 * side * side


def test_usual_output_limit_is_67_megapixels() -> None:
    """The number in the contract."""
    assert load().limits.output_limit_px == 67_108_864


def test_output_limit_of_the_operator_is_kept() -> None:
    """Whatever the input limit says."""
    assert load(max_output_px=1000, max_image_dimension_px=4096).limits.output_limit_px == 1000


@pytest.mark.parametrize(
    ("file_bytes", "body_bytes"),
    [(7_340_032, 10_835_288), (1, 1_048_580), (3, 1_048_580), (4, 1_048_584)],
)
def test_body_holds_the_largest_file_in_base64_and_a_mebibyte(
    file_bytes: int, body_bytes: int
) -> None:
    """``4 * ceil(MAX_FILE_SIZE / 3) + 1048576``; the first number is the one in the contract's example."""
    assert load(max_file_size_bytes=file_bytes).limits.body_limit_bytes == body_bytes
