"""``make smoke``: tests the built wheel in a clean environment, away from the source tree, on a real photo.

The command line and the service must produce the same bytes, and SIGTERM must end everything with status 0.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from running import RunningService

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Build, install and run. Any failure ends the script with a status other than 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
        (wheel,) = folder.glob("*.whl")
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        command = str(folder / "venv" / "bin" / "enlarger")
        _run(str(python), "-m", "pip", "install", "-q", str(wheel))
        _run(command, "--help", cwd=folder)
        _run(command, "models", cwd=folder)
        photo = Path(
            subprocess.check_output(  # noqa: S603 - the interpreter that was just made
                [python, "-c", "import enlarger.cli; print(enlarger.cli.SAMPLE)"],
                cwd=folder,
                text=True,
            ).strip()
        )
        result = folder / "result.png"
        _run(command, "upscale", str(photo), str(result), cwd=folder)
        with RunningService(folder, {"NUM_SERVERS": "2"}, command=[command]) as service:
            status, answer = service.upscale(photo.read_bytes(), scale=4)
            _must(status == 200, f"POST /upscale answered {status}: {answer}")
            _must(answer["tiles"]["servers"] == 2, "both model servers take part")
            _must(
                base64.b64decode(answer["base64"]) == result.read_bytes(),
                "service and command line give the same bytes",
            )
            started = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            _must(service.process.wait(20) == 0, "SIGTERM ends the service with status 0")
            _must(time.monotonic() - started < 10, "an idle service ends soon")
    print("smoke: all well")  # noqa: T201


def _run(*arguments: str, cwd: Path | None = None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(arguments, check=True, cwd=cwd, env=environment)  # noqa: S603 - commands written above


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"smoke: failed: {what}")


if __name__ == "__main__":
    main()
