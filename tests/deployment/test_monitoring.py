"""The rules, the dashboard and ``docs/how-to/monitoring.md``: a real Prometheus scrapes a real service."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import RunningService
from support.monitoring import (
    DASHBOARD,
    PAGE,
    RULES,
    Prometheus,
    alerts_of,
    prometheus,
    queries,
    tool,
)
from support.pictures import encoded, noise
from support.places import REFERENCE

from enlarger.errors import (
    CapacityError,
    ClientError,
    EnlargerError,
    RateLimited,
    RequestError,
    TileError,
)

pytestmark = pytest.mark.packaging

GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
RULE_LIST = [rule for group in GROUPS for rule in group["rules"]]

_SOON_S = 60


def codes_below(top: type[EnlargerError], *left_out: type[EnlargerError]) -> set[str]:
    """The codes of a class and of all that are derived from it, except for some with theirs."""
    found = {top.code}
    for one in top.__subclasses__():
        if not issubclass(one, left_out):
            found |= codes_below(one, *left_out)
    return found


REFUSALS = codes_below(CapacityError, RateLimited)
FAILURES = codes_below(EnlargerError, RequestError, ClientError, RateLimited) - {
    "bad_tile",
    "model_not_here",
    "tile_too_large",
}
"""All but errors of senders, of clients, and between gateway and model server."""


@pytest.mark.parametrize(
    "text", [RULES.read_text(), DASHBOARD.read_text()], ids=["rules", "dashboard"]
)
def test_queries_name_all_codes_of_failures_and_refusals(text: str) -> None:
    """A new error appears in them, or is one of the sender's."""
    assert issubclass(TileError, EnlargerError)
    found = {frozenset(codes.split("|")) for codes in re.findall(r'end=~\\?"([a-z_|]+)\\?"', text)}
    assert found == {frozenset(FAILURES), frozenset(REFUSALS)}


def test_page_lists_the_alerts() -> None:
    """In the order of the file, the two of the budget in one row."""
    table = re.findall(r"^\| (`Enlarger.*?) \|", PAGE.read_text(), re.MULTILINE)
    named = [name for row in table for name in re.findall(r"`(\w+)`", row)]
    assert named == alerts_of(RULE_LIST)
    severities = {rule["labels"]["severity"] for rule in RULE_LIST if "alert" in rule}
    assert severities == {"page", "ticket"}


def test_metrics_of_rules_and_dashboard_are_documented() -> None:
    """By their names in the reference, without what Prometheus adds to them."""
    text = (REFERENCE / "metrics.md").read_text()
    used = "".join(query.expression for query in queries()) + RULES.read_text()
    names = set(re.findall(r"\benlarger_\w+", used))
    assert len(names) > 10
    for name in names:
        assert f"`{name.removesuffix('_bucket')}`" in text, name


def test_promtool_accepts_the_rules() -> None:
    """Their syntax, and the templates of their texts."""
    done = subprocess.run(
        [tool("promtool"), "check", "rules", str(RULES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _series(name: str, values: str, **labels: str) -> dict[str, str]:
    shown = ", ".join(f'{key}="{text}"' for key, text in {"job": "enlarger", **labels}.items())
    return {"series": f"{name}{{{shown}}}", "values": values}


FIRING: dict[str, list[dict[str, str]]] = {
    "EnlargerBudgetBurnsFast": [
        _series("enlarger_requests_total", "0+80x600", end="miss"),
        _series("enlarger_requests_total", "0+20x600", end="wrong_output"),
    ],
    "EnlargerBudgetBurnsSlowly": [
        _series("enlarger_requests_total", "0+90x600", end="miss"),
        _series("enlarger_requests_total", "0+10x600", end="queue_full"),
    ],
    "EnlargerDown": [_series("up", "0x600")],
    "EnlargerQueueIsLong": [_series("enlarger_queue_wait_seconds", "301x600")],
    "EnlargerRequestsWait": [
        _series("enlarger_stage_seconds_bucket", "0+1x600", stage="queue", le="50"),
        _series("enlarger_stage_seconds_bucket", "0+10x600", stage="queue", le="100"),
        _series("enlarger_stage_seconds_bucket", "0+10x600", stage="queue", le="+Inf"),
    ],
    "EnlargerRefuses": [
        _series("enlarger_requests_total", "0+90x600", end="miss"),
        _series("enlarger_requests_total", "0+10x600", end="queue_full"),
    ],
    "EnlargerServersOut": [_series("enlarger_servers", "1x600", state="ejected")],
    "EnlargerNoServer": [_series("enlarger_servers", "0x600", state="ready")],
    "EnlargerServersRestart": [_series("enlarger_server_restarts_total", "0+1x600")],
    "EnlargerDiskIsFull": [_series("enlarger_disk_free_bytes", "1e9x600", folder="results")],
    "EnlargerDatabaseAway": [_series("enlarger_jobs", " ".join(["NaN"] * 600), state="queued")],
}

QUIET = [
    _series("up", "1x600"),
    _series("enlarger_requests_total", "0+1000x600", end="miss"),
    _series("enlarger_requests_total", "0+50x600", end="unreadable_image"),
    _series("enlarger_queue_wait_seconds", "20x600"),
    _series("enlarger_stage_seconds_bucket", "0+10x600", stage="queue", le="1"),
    _series("enlarger_stage_seconds_bucket", "0+10x600", stage="queue", le="+Inf"),
    _series("enlarger_servers", "2x600", state="ready"),
    _series("enlarger_servers", "0x600", state="ejected"),
    _series("enlarger_server_restarts_total", "1x600"),
    _series("enlarger_disk_free_bytes", "50e9x600", folder="results"),
    _series("enlarger_jobs", "3x600", state="queued"),
]


@pytest.mark.parametrize("alert", [*FIRING, None])
def test_alert_fires_when_it_should(alert: str | None, tmp_path: Path) -> None:
    """Each fires on its data, and none on those of a service that is well."""
    series = FIRING[alert] if alert else QUIET
    checks = [
        {
            "expr": f'count(ALERTS{{alertstate="firing", alertname="{name}"}}) or vector(0)',
            "eval_time": "8h",
            "exp_samples": [{"labels": "{}", "value": 1 if name == alert else 0}],
        }
        for name in ([alert] if alert else alerts_of(RULE_LIST))
    ]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": checks}],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_its_data() -> None:
    """The table above is complete."""
    assert set(FIRING) == set(alerts_of(RULE_LIST))


@pytest.fixture(scope="module")
def monitored(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Prometheus]:
    """A Prometheus that has seen a service compute, wait, and refuse."""
    folder = tmp_path_factory.mktemp("monitored")
    settings = {**environment, "NUM_SERVERS": "1", "ENLARGER_QUEUE_LIMIT": "2"}
    picture = encoded(noise(96, 96, 3))

    def call(scale: int) -> int:
        status, _ = service.upscale(picture, model="realesr-animevideov3", scale=scale)
        return status

    with ExitStack() as stack:
        service = stack.enter_context(RunningService(folder, settings, start_timeout_s=600))
        callers = stack.enter_context(ThreadPoolExecutor(8))
        port = int(service.url.rpartition(":")[2])
        one = stack.enter_context(prometheus(folder, gateway=port))
        statuses: set[int] = set()
        for _ in range(4):
            statuses |= set(callers.map(call, [2, 4] * 4))
            time.sleep(2)
        assert statuses == {200, 503}
        yield one


def _eventually(query: str, one: Prometheus) -> list[float]:
    give_up = time.monotonic() + _SOON_S
    while not (values := one.values(query)) and time.monotonic() < give_up:
        time.sleep(0.5)
    return values


def test_every_query_of_the_dashboard_returns_data(monitored: Prometheus) -> None:
    """At least one finite number each."""
    empty = [query for query in queries() if not _eventually(query.expression, monitored)]
    assert empty == []


def test_refusals_are_seen(monitored: Prometheus) -> None:
    """The rates are those of real requests, not zeros that a query falls back on."""
    refused = [query for query in queries() if query.legend == "refused"]
    (value,) = monitored.values(re.sub(r"\[\d+s\]", "[5m]", refused[0].expression))
    assert 0 < value < 1


def test_rules_are_evaluated_without_errors(monitored: Prometheus) -> None:
    """By the Prometheus that has the configuration of the page."""
    _eventually("enlarger:failures:ratio_rate5m", monitored)
    rules = [rule for group in monitored.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULE_LIST)
    assert {rule["health"] for rule in rules} == {"ok"}
    (target,) = monitored.get("targets")["activeTargets"]
    assert (target["health"], target["labels"]["job"]) == ("up", "enlarger")


def test_dashboard_has_no_number_twice_and_asks_one_source() -> None:
    """As Grafana requires; and its panels do not overlap."""
    board = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [
        (x, place["y"]) for place in places for x in range(place["x"], place["x"] + place["w"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    sources = {
        target["datasource"]["uid"] for panel in board["panels"] for target in panel["targets"]
    }
    assert sources == {"${datasource}"}
