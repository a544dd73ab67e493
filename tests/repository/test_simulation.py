"""The simulator of a day: seeded, and right where arithmetic knows the answer."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from simulate import picture
from simulation import Nodes, Traffic, arrivals, simulate, wanted_nodes

from enlarger.picture.values import FORMATS

CALM = Traffic(pictures_per_s=1.0, wave=0, bursts_per_day=0, duration_s=20_000)
"""A Poisson process."""

STEADY = Nodes(
    least=4, most=4, mpx_per_s=1.0, failures_per_node_day=0, reclaims_per_node_day=0, spot_share=0
)
"""Four nodes that neither fail nor change."""


def test_equal_seeds_make_equal_days() -> None:
    """And others do not."""
    first, again, other = (simulate(CALM, STEADY, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.waits_s != other.waits_s


def test_traffic_has_its_mean_and_its_sizes() -> None:
    """Over a day, with wave and bursts; no picture is larger than the limit."""
    traffic = Traffic(pictures_per_s=2.0, bursts_per_day=0)
    times, sizes = arrivals(traffic, seed=3)
    assert times.size == pytest.approx(2 * 86_400, rel=0.02)
    assert np.median(sizes) == pytest.approx(traffic.median_mpx, rel=0.02)
    assert sizes.max() == traffic.most_mpx
    quarter = 86_400 / 4
    night = np.sum((times < quarter / 2) | (times > 3.5 * quarter))
    noon = np.sum((times > 1.5 * quarter) & (times < 2.5 * quarter))
    mean = 2 / np.pi * np.sqrt(2) * traffic.wave  # of the wave over a quarter around its top
    assert noon / night == pytest.approx((1 + mean) / (1 - mean), rel=0.05)


def test_bursts_add_pictures() -> None:
    """As many times more, for as long as they last."""
    calm = Traffic(pictures_per_s=5.0, bursts_per_day=0)
    bursts = replace(calm, bursts_per_day=48, burst_s=300, burst_factor=3)
    counts = [arrivals(traffic, seed=5)[0].size for traffic in (calm, bursts)]
    most = 1 + 48 * 300 / 86_400 * 2
    assert 1.15 < counts[1] / counts[0] < most + 0.1


def test_waiting_is_that_of_theory() -> None:
    """One node, Poisson arrivals, exponential service would wait rho / (mu - lambda); equal sizes wait half as long."""
    rate, service_s = 0.5, 1.0
    traffic = replace(CALM, pictures_per_s=rate, spread=0.0, median_mpx=1.0, duration_s=400_000)
    one = replace(STEADY, least=1, most=1, overhead_s=0.0)
    outcome = simulate(traffic, one, seed=7, max_wait_s=1e9)
    rho = rate * service_s
    assert np.mean(outcome.waits_s) == pytest.approx(rho * service_s / (2 * (1 - rho)), rel=0.03)
    assert np.median(outcome.totals_s) >= service_s


@given(seed=st.integers(0, 100), wait_s=st.sampled_from([1.0, 30.0, 1e9]))
@settings(max_examples=20)
def test_every_picture_is_finished_or_refused(seed: int, wait_s: float) -> None:
    """Whatever fails: failures cost time, and no picture."""
    traffic = Traffic(pictures_per_s=1.5, duration_s=3_000, bursts_per_day=200)
    nodes = Nodes(
        least=1, most=5, mpx_per_s=0.6, failures_per_node_day=200, reclaims_per_node_day=200
    )
    outcome = simulate(traffic, nodes, seed=seed, max_wait_s=wait_s)
    assert len(outcome.waits_s) + outcome.refused == outcome.arrived
    assert min(outcome.waits_s, default=0) >= 0
    assert outcome.most_nodes <= 5


def test_overload_is_refused_and_waiting_stays_bounded() -> None:
    """Nobody waits for much longer than the limit."""
    outcome = simulate(replace(CALM, pictures_per_s=20), STEADY, seed=1, max_wait_s=60)
    assert 0.5 < outcome.refused / outcome.arrived < 1
    assert max(outcome.waits_s) < 75


def test_failures_cost_a_lease_and_nodes_are_replaced() -> None:
    """The picture of a node that failed waits until its lease is over; that of one that is reclaimed is finished."""
    fragile = replace(STEADY, most=8, failures_per_node_day=100)
    outcome = simulate(CALM, fragile, seed=2)
    assert outcome.repeated > 0
    assert outcome.lost_nodes >= outcome.repeated
    assert max(outcome.waits_s) >= fragile.lease_s
    spot = replace(STEADY, most=8, reclaims_per_node_day=100, spot_share=1.0)
    reclaimed = simulate(CALM, spot, seed=2)
    assert (reclaimed.repeated, reclaimed.lost_nodes) == (0, 0)
    assert reclaimed.reclaimed_nodes > 0


def test_cost_is_that_of_the_nodes() -> None:
    """Their hours times their price; spot nodes are cheaper."""
    outcome = simulate(CALM, STEADY, seed=1)
    hours = 4 * CALM.duration_s / 3600
    assert outcome.node_s / 3600 == pytest.approx(hours, rel=0.01)
    assert outcome.cost == pytest.approx(hours * STEADY.price_per_h, rel=0.01)
    cheap = simulate(CALM, replace(STEADY, spot_share=1.0), seed=1)
    assert cheap.cost == pytest.approx(hours * STEADY.spot_price_per_h, rel=0.01)


def test_autoscaler_follows_the_load() -> None:
    """Within its bounds, to the target."""
    nodes = replace(STEADY, least=2, most=10)
    assert [wanted_nodes(busy, 0, nodes) for busy in (0, 1, 3, 7, 100)] == [2, 2, 5, 10, 10]
    assert wanted_nodes(1, 3, nodes) == 6
    wave = Traffic(pictures_per_s=3, bursts_per_day=0)
    outcome = simulate(wave, Nodes(least=1, most=40, mpx_per_s=0.5), seed=4)
    mean = outcome.node_s / 86_400
    assert mean < 0.9 * outcome.most_nodes
    assert outcome.refused == 0


def test_pictures_for_the_real_service_are_read_by_it() -> None:
    """They have the size that was drawn, in a format that the service reads, and no two are equal."""
    first, second = (picture(0.01, seed) for seed in (1, 2))
    assert first != second
    with Image.open(BytesIO(first)) as image:
        assert image.size == (100, 100)
        assert str(image.format).lower() in FORMATS
