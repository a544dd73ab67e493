"""Draw the newest results of ``results.jsonl`` as SVG into ``docs/images``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from record import RESULTS

FOLDER = Path(__file__).parent.parent / "docs" / "images"

OURS, PEERS = "#2a6f97", "#b8c4cc"

LEAST_DB, MOST_WORK = {"median_db": 54, "worst_db": 46}, 1.25
"""The requirements for a plan, for a picture of 1024 x 1024."""

Line = dict[str, Any]


def main() -> None:
    """Draw everything that has results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder

    matplotlib.use("agg")
    # Text stays text, and equal results produce equal bytes.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "enlarger", "font.size": 9}
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, question, draw in (
        ("engines", "engines", draw_engines),
        ("seams", "halos", draw_seams),
    ):
        found = [line for line in lines if line["question"] == question]
        if not found:
            print(f"no results of {question}.py")
            continue
        figure = draw(found)
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
        print(f"{path}: {path.stat().st_size} bytes")


def draw_engines(lines: list[Line]) -> Any:
    """Draw the throughput of each engine, a panel per model and CPU, from the newest line of each without ``--streams``."""
    newest = {
        (line["model"], line["machine"]["processor"]): line
        for line in lines
        if "at once" not in line.get("peers_take", "")
    }
    figure, panels = pyplot.subplots(
        1, len(newest), figsize=(3.4 * len(newest), 2.4), squeeze=False, layout="constrained"
    )
    for panel, ((model, processor), line) in zip(panels[0], newest.items(), strict=True):
        speeds = sorted(line["lr_px_per_s"].items(), key=lambda item: item[1])
        names = [name for name, _ in speeds]
        bars = panel.barh(
            names,
            [speed / 1000 for _, speed in speeds],
            color=[OURS if name.startswith("enlarger") else PEERS for name in names],
        )
        panel.bar_label(bars, fmt="%.3g", padding=2)
        panel.margins(x=0.15)
        panel.set_title(f"{model}\n{processor}", fontsize=9)
        panel.set_xlabel("thousand input pixels per second")
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def draw_seams(lines: list[Line]) -> Any:
    """Draw how far tiles are from the whole picture, against the computation that halos cost.

    It shows the median photograph and the worst.
    """
    newest = {line["model"]: line for line in lines}
    figure, panels = pyplot.subplots(
        1, len(newest), figsize=(3.8 * len(newest), 3), squeeze=False, layout="constrained"
    )
    for panel, (model, line) in zip(panels[0], newest.items(), strict=True):
        points = line["borders"]
        works = [one["work_factor_with_tail"] for one in points]
        for figure_name, colour in (("median_db", OURS), ("worst_db", "#c8553d")):
            values = [one[figure_name] for one in points]
            name = figure_name.removesuffix("_db")
            panel.plot(works, values, "o-", color=colour, markersize=3, label=f"{name} photograph")
            panel.axhline(LEAST_DB[figure_name], color=colour, linewidth=0.7, linestyle=":")
        for one in (point for point in points if point["halo_px"] % 8 == 4):
            place = (one["work_factor_with_tail"], one["worst_db"])
            panel.annotate(f"{one['halo_px']} px", place, (4, -10), textcoords="offset points")
        panel.axvline(MOST_WORK, color=PEERS, linewidth=1, zorder=0)
        panel.set_title(f"{model}, {len(line['photographs'])} photographs", fontsize=9)
        panel.set_xlabel("computing of 1024 x 1024, times the picture")
        panel.set_ylabel("PSNR of tiles against whole, dB")
        panel.margins(x=0.12, y=0.2)
        panel.legend(frameon=False, loc="upper left")
        panel.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
