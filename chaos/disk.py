"""What happens when the disk, or the clock, changes?

The disk is full; the folder of results is read-only, removed, or replaced by a file; the clock is a day ahead or
behind. If a result cannot be stored, the error must be ``storage_full`` with a text that contains no path. No partial
file may remain, and the service must recover afterwards. A fault that needs rights that this user lacks is reported
as such.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from promises import Findings
from running import RunningService
from scene import (
    Answer,
    Clients,
    Picture,
    ask,
    begun,
    check_answers,
    options,
    pictures,
    service,
    until,
)

SIZES = ((160, 140),)
DISK_MIB = 16
SMALL_BYTES = 128 << 10
"""Less than a result, and more than anything else that the gateway writes."""

LEFT_OVER = f".enlarger_{'0' * 32}"
"""A name like that of a file which an earlier run was writing when it was killed."""

FAKETIME = ("libfaketimeMT.so.1", "libfaketime.so.1")
JUMPS = ("+1d", "-1d", "+0d")


def main() -> None:
    """Run one fault after the other."""
    parser = options(__doc__)
    parser.add_argument(
        "--jump", type=float, default=5, help="seconds for which a clock stays wrong"
    )
    arguments = parser.parse_args()
    with begun("disk", arguments) as (folder, findings), contextlib.ExitStack() as stack:
        asked = pictures(folder, arguments.seed, SIZES)
        disk = folder / "disk"
        disk.mkdir()
        refused = stack.enter_context(small_disk(disk))
        uploads = disk / "uploads"
        uploads.mkdir()
        (uploads / LEFT_OVER).write_bytes(b"half a picture")
        # An open database prevents a read-only remount, but a hardware error does not.
        elsewhere = {
            "ENLARGER_DATABASE": str(folder / "jobs.sqlite3"),
            "ENLARGER_BLOBS": str(folder / "jobs"),
        }
        with service(folder, UPLOAD_FOLDER=str(uploads), **elsewhere) as running:
            gone_s = until(lambda: not (uploads / LEFT_OVER).exists(), give_up_s=10)
            findings.check(
                "a start removes what was left half-written",
                gone_s is not None,
                "it does" if gone_s is not None else "it stays",
            )
            (uploads / LEFT_OVER).unlink(missing_ok=True)
            trial = Trial(findings, running, asked[0], uploads)
            trial.check_usual()
            trial.check("files may not grow", small_files_only(running.process.pid))
            if refused is None:
                trial.check("the disk is full", full(disk))
                trial.check("the disk is read-only", read_only_disk(disk))
            else:
                findings.check("the disk is full", None, refused)
                findings.check("the disk is read-only", None, refused)
            if os.geteuid():
                trial.check("the folder is read-only", read_only_folder(uploads))
            else:
                findings.check("the folder is read-only", None, "root may write everywhere")
            trial.check("a file is where the folder was", file_instead(uploads))
            trial.check_removed()
        check_clock(findings, folder, asked, arguments.seed, arguments.jump)


class Trial:
    """A running service whose folder is tampered with.

    Args:
        findings: receives the results.
        running: the service.
        picture: the picture to request, whose result is larger than ``SMALL_BYTES``.
        uploads: the folder.
    """

    def __init__(
        self, findings: Findings, running: RunningService, picture: Picture, uploads: Path
    ) -> None:
        self._findings = findings
        self._running = running
        self._picture = picture
        self._uploads = uploads

    def check_usual(self) -> None:
        """Check that undisturbed requests succeed, and that their results are large enough for the trials."""
        check_answers(self._findings, [self._ask()])
        size = max(path.stat().st_size for path in self._uploads.iterdir())
        log_size = self._running.log.stat().st_size
        if not log_size < SMALL_BYTES < size:
            raise SystemExit(f"a result has {size} bytes, the log {log_size}: not fit for this")

    def check(self, name: str, fault: AbstractContextManager[None]) -> None:
        """Check that there is a clear error during the fault, and that everything works as before afterwards."""
        with fault:
            answer = self._ask()
            status = self._running.get("/status")[0]
        text = str(answer.fields.get("error", ""))
        clear = (
            (answer.status, answer.fields.get("code")) == (500, "storage_full")
            and bool(text)
            and str(self._uploads.parent) not in text
        )
        left = self._left_over()
        after = self._ask()
        said = (
            f"{answer.status} {answer.fields.get('code', '')}: {text}" if answer.failed else "200"
        )
        found = [said, f"/status {status}", f"{left} left half-written", f"then {after.status}"]
        self._findings.check(
            f"{name}: storage_full, nothing left, then service",
            clear and status == 200 and not left and after.right,
            ", ".join(found),
        )

    def check_removed(self) -> None:
        """Check that a removed folder is created again."""
        shutil.rmtree(self._uploads)
        answer = self._ask()
        self._findings.check(
            "the folder is removed: it is made again",
            answer.right and self._uploads.is_dir(),
            f"{answer.status} {answer.fields.get('error', '')}",
        )

    def _ask(self) -> Answer:
        return ask(self._running.url, self._picture)

    def _left_over(self) -> int:
        return sum(path.name.startswith(".") for path in self._uploads.iterdir())


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[str | None]:
    """Mount a small disk for a folder; yield the reason if that is not possible."""
    refused = mount("-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder))
    try:
        yield refused
    finally:
        if refused is None:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - the system's


def mount(*arguments: str) -> str | None:
    """Mount something; return the reason if that is not possible."""
    if os.geteuid():
        return "only root may mount"
    try:
        done = subprocess.run(
            ["mount", *arguments],  # noqa: S607 - the system's
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        return f"mount: {error.strerror}"
    return done.stderr.strip().replace("\n", " ") if done.returncode else None


@contextlib.contextmanager
def small_files_only(pid: int) -> Iterator[None]:
    """Forbid a running process to write files larger than ``SMALL_BYTES``."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (SMALL_BYTES, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a disk until only the beginning of a result fits."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - SMALL_BYTES))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def read_only_disk(disk: Path) -> Iterator[None]:
    """Make a disk read-only, as after a hardware error."""
    if (reason := mount("-o", "remount,ro", str(disk))) is not None:
        raise OSError(reason)
    try:
        yield
    finally:
        mount("-o", "remount,rw", str(disk))


@contextlib.contextmanager
def read_only_folder(folder: Path) -> Iterator[None]:
    """Take away the write permission of a folder."""
    mode = folder.stat().st_mode
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(mode)


@contextlib.contextmanager
def file_instead(folder: Path) -> Iterator[None]:
    """Replace a folder by a file, and move the folder away."""
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        elsewhere.rename(folder)


def check_clock(
    findings: Findings, folder: Path, asked: list[Picture], seed: int, jump_s: float
) -> None:
    """Let the clock of gateway and model server jump under load, there and back. Pictures must still succeed.

    Times of files are the kernel's, whose clock does not jump, so the lifetime of results is not tested here.
    """
    promise = "the clock jumps a day: pictures go on"
    found = [path for name in FAKETIME for path in Path("/usr").glob(f"lib/*/faketime/{name}")]
    if not found:
        findings.check(promise, None, "there is no libfaketime (Debian: apt install libfaketime)")
        return
    below = folder / "clock"
    below.mkdir()
    clock = below / "offset"
    clock.write_text("+0d")
    environment = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NUM_SERVERS": "1",
    }
    with (
        service(below, **environment) as running,
        Clients(running.url, asked, 2, seed) as clients,
    ):
        for offset in JUMPS:
            clock.write_text(offset)
            time.sleep(jump_s)
    wrong = sum(not answer.right for answer in clients.answers)
    findings.check(
        promise, not wrong and bool(clients.answers), f"{wrong} of {len(clients.answers)} failed"
    )


if __name__ == "__main__":
    main()
