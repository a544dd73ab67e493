"""``make demo``: one real photo through a real service."""

from __future__ import annotations

import base64
import shutil
import time
from pathlib import Path

from running import RunningService

import enlarger.cli

FOLDER = Path(__file__).parents[1] / "demo"


def main() -> None:
    """Start the service, upscale, save, report the result, stop."""
    FOLDER.mkdir(exist_ok=True)
    photo = FOLDER / "photo.png"
    shutil.copy(enlarger.cli.SAMPLE, photo)
    started = time.monotonic()
    with RunningService(FOLDER) as service:
        print(f"ready after {time.monotonic() - started:.1f} s on {service.url}")  # noqa: T201
        status, answer = service.upscale(photo.read_bytes(), scale=4)
        if status != 200:
            raise SystemExit(f"{status}: {answer}")
        result = FOLDER / "photo_4x.png"
        result.write_bytes(base64.b64decode(answer["base64"]))
    before, after = answer["original_size"], answer["upscaled_size"]
    print(  # noqa: T201
        f"{photo}: {before['width']}x{before['height']}\n"
        f"{result}: {after['width']}x{after['height']}, {answer['model']} in {answer['precision']}, "
        f"{answer['tiles']['total']} tiles on {answer['tiles']['servers']} servers, {answer['processing_time']} s"
    )


if __name__ == "__main__":
    main()
