"""Draw the panels of the dashboard, from a real Prometheus that scrapes a real service under load.

The service has a short queue and more callers than it can serve, so it refuses some of them. One of its two model servers is killed in the
middle, and is replaced.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter
from running import RunningService
from support.monitoring import RATE_S, Prometheus, Query, prometheus, queries
from support.pictures import encoded, skimage_photo

FOLDER = Path(__file__).parent.parent / "docs" / "images"

SETTINGS = {"NUM_SERVERS": "2", "ENLARGER_QUEUE_LIMIT": "4"}

COLUMNS = 3


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    """Return the name of a series, in which ``{{label}}`` stands for the label's value."""
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), pattern)


def main() -> None:
    """Run everything and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=240, help="how long the service is observed")
    parser.add_argument("--side", type=int, default=160, help="of the pictures, in pixels")
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()

    matplotlib.use("agg")
    # Text stays text, and equal results produce equal bytes.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "enlarger", "font.size": 7}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with RunningService(folder, SETTINGS, start_timeout_s=600) as service:
            port = int(service.url.rpartition(":")[2])
            with prometheus(folder, gateway=port) as one:
                began = time.time()
                with callers(service, arguments.model, arguments.side):
                    time.sleep(arguments.seconds / 2)
                    kill_a_server(service.log)
                    time.sleep(arguments.seconds / 2)
                panels = [
                    (title, list(group))
                    for title, group in groupby(queries(), lambda one: one.panel)
                ]
                figure = draw(one, panels, began=began, ended=time.time())
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "monitoring.svg"
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    print(f"{path}: {path.stat().st_size} bytes, {len(panels)} panels")


@contextmanager
def callers(service: RunningService, model: str, side: int) -> Iterator[None]:
    """Callers who ask again and again until the end of the block: first one, and one more every quarter of a minute."""
    picture = encoded(skimage_photo("chelsea.png")[:side, 100 : 100 + side], "JPEG")
    over = threading.Event()

    def call(delay_s: float) -> None:
        over.wait(delay_s)
        while not over.is_set():
            status, _ = service.upscale(picture, model=model, scale=4)
            over.wait(1 if status == 200 else 3)

    threads = [threading.Thread(target=call, args=(15 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def kill_a_server(log: Path) -> None:
    """End the process of the first model server at once."""
    found = re.search(r'"server_started".*?"pid": (\d+)', log.read_text())
    assert found is not None
    os.kill(int(found[1]), signal.SIGKILL)


def draw(
    one: Prometheus, panels: Sequence[tuple[str, list[Query]]], *, began: float, ended: float
) -> Any:
    """Draw a panel for each of the dashboard; a number that has no course is a line as well."""
    rows = -(-len(panels) // COLUMNS)
    figure, places = pyplot.subplots(
        rows, COLUMNS, figsize=(3.3 * COLUMNS, 1.9 * rows), squeeze=False, layout="constrained"
    )
    for place, (title, asked) in zip(places.flat, panels, strict=False):
        place.set_title(title, fontsize=8, loc="left")
        for query in asked:
            data = one.get("query_range", query=query.expression, start=began, end=ended, step=2)
            for series in data["result"]:
                times, values = np.array(series["values"], dtype=float).T
                label = _legend(query.legend, series["metric"])
                label = re.sub(r"localhost:\d+", "", label).strip()
                place.plot(times - began, values, linewidth=1, label=label or title)
        place.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _, unit=asked[0].unit: shown(value, unit))
        )
        if asked[0].unit not in ("s", "bytes", "percentunit", "reqps", "ops"):
            place.yaxis.get_major_locator().set_params(integer=True)
        place.set_xlim(0, ended - began)
        place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
        place.grid(alpha=0.3)
        if place.get_legend_handles_labels()[0]:
            place.legend(
                fontsize=5, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=4, frameon=False
            )
    figure.text(0, -0.02, f"Rates over {RATE_S} s.", fontsize=6)
    return figure


def shown(value: float, unit: str) -> str:
    """A number with its unit, as Grafana shows it."""
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB" if value < 2**30 else f"{value / 2**30:.1f} GiB"
    if unit == "percentunit":
        return f"{100 * value:,.0f} %"
    return f"{value:.3g}{ {'s': ' s', 'reqps': '/s', 'ops': '/s'}.get(unit, '') }"


if __name__ == "__main__":
    main()
