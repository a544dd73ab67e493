"""A real Prometheus, and the queries of the dashboard."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.doc_blocks import texts_on
from support.places import DOCS, REPOSITORY
from support.proxies import free_port
from support.stores import missing

RULES = REPOSITORY / "deploy" / "prometheus" / "enlarger.rules.yml"
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "enlarger.json"
PAGE = DOCS / "how-to" / "monitoring.md"

SCRAPE_S = 1
RATE_S = 15
"""What stands for Grafana's ``$__rate_interval``: several scrapes."""

_START_S = 60


def tool(name: str) -> str:
    """The path of a program of Prometheus."""
    path = shutil.which(name)
    if path is None:
        missing(name)
    assert path is not None
    return path


@dataclass(frozen=True)
class Query:
    """One query of a panel of the dashboard."""

    panel: str
    unit: str
    legend: str
    expression: str
    """With values for the dashboard's variables."""


def queries() -> list[Query]:
    """All of the dashboard, in order."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        Query(
            panel["title"],
            panel["fieldConfig"]["defaults"]["unit"],
            target["legendFormat"],
            target["expr"].replace("$job", "enlarger").replace("$__rate_interval", f"{RATE_S}s"),
        )
        for panel in panels
        for target in panel["targets"]
    ]


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def get(self, path: str, **parameters: Any) -> Any:
        """The ``data`` of its answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """The finite values that a query has now."""
        result = self.get("query", query=expression)["result"]
        return [value for one in result if math.isfinite(value := float(one["value"][1]))]


@contextmanager
def prometheus(folder: Path, *, gateway: int) -> Iterator[Prometheus]:
    """One with the configuration and the rules of the page, until the end of the block; it scrapes every second.

    Args:
        folder: all its files are there.
        gateway: the port of the service, instead of the page's.
    """
    (text,) = texts_on(PAGE, "yaml")
    assert text.count(": 15s") == 2
    text = text.replace(": 15s", f": {SCRAPE_S}s").replace(":8000", f":{gateway}")
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(RULES, folder)
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + _START_S
        while not _is_ready(url):
            said = (folder / "prometheus.log").read_text()[-2000:]
            assert process.poll() is None, said
            assert time.monotonic() < give_up, said
            time.sleep(0.1)
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(_START_S)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
            return True
    except OSError:
        return False


def alerts_of(rules: Sequence[dict[str, Any]]) -> list[str]:
    """The names of the alerts among some rules."""
    return [rule["alert"] for rule in rules if "alert" in rule]
