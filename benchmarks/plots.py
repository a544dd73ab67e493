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

LEAST_DB, MOST_WORK = 57, 1.2
"""What a plan is to keep to, for a picture of 1024 x 1024."""

Line = dict[str, Any]


def main() -> None:
    """Draw what there are results for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder

    matplotlib.use("agg")
    # Text stays text, and the same results give the same bytes.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "enlarger", "font.size": 9}
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (("engines", draw_engines), ("seams", draw_seams)):
        found = [line for line in lines if line["question"] == name]
        if not found:
            print(f"no results of {name}.py")
            continue
        figure = draw(found)
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
        print(f"{path}: {path.stat().st_size} bytes")


def draw_engines(lines: list[Line]) -> Any:
    """Throughput of each engine, a panel per model and processor; the newest line of each without ``--streams``."""
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
    """How far tiles are from the whole picture against what their halos make the network compute."""
    newest = {(line["model"], line["side_px"], line["halo_px"]): line for line in lines}
    figure, panel = pyplot.subplots(figsize=(4.6, 3), layout="constrained")
    for model, side_px in sorted({key[:2] for key in newest}):
        points = sorted(
            (
                line["halo_px"],
                line.get("work_factor_with_tail", line["work_factor"]),
                line["psnr_db"],
            )
            for key, line in newest.items()
            if key[:2] == (model, side_px) and line["psnr_db"] is not None
        )
        if not points:
            continue  # exact
        panel.plot(
            [work for _, work, _ in points],
            [psnr for _, _, psnr in points],
            "o-",
            label=f"{model}, {side_px} x {side_px}",
        )
        for halo_px, work, psnr in points:
            panel.annotate(
                f"{halo_px} px", (work, psnr), xytext=(4, -10), textcoords="offset points"
            )
    panel.axhline(LEAST_DB, color=PEERS, linewidth=1, zorder=0)
    panel.axvline(MOST_WORK, color=PEERS, linewidth=1, zorder=0)
    panel.set_xlabel("computing, times the picture")
    panel.set_ylabel("PSNR of tiles against whole, dB")
    panel.margins(x=0.12, y=0.12)
    panel.legend(frameon=False, loc="lower right")
    panel.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
