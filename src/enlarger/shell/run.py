"""A run of the shell command: finds the pictures, assigns their results, and processes each picture by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Protocol

from rich.console import Console

from enlarger.errors import EnlargerError, InvalidOption, UnreadableImage, UnsupportedFormat
from enlarger.options import Options
from enlarger.picture.formats import format_for, suffix_of
from enlarger.shell import estimates, names, targets
from enlarger.shell.arguments import Asked, File, Folder
from enlarger.shell.estimates import Estimated
from enlarger.shell.progress import Follower, Shown, say
from enlarger.shell.sources import Failure, Source, reasons
from enlarger.shell.targets import Work
from enlarger.shell.writing import AlreadyThereError

THERE_ALREADY = "there already"
EARLIER_RESULT = "a result of an earlier run"

_NAMES_OF_A_REASON = 3
"""Number of skipped files that are named for each reason."""


class Worker(Protocol):
    """Upscales pictures: an engine in this process, or a server."""

    async def own_kind(self, source: Source) -> str:
        """Return the format that ``auto`` means for a picture, according to its header.

        Raises:
            EnlargerError: the header cannot be read.
        """

    async def estimate(self, item: Work, options: Options) -> Estimated:
        """Return the estimate for a picture.

        Raises:
            EnlargerError: the picture cannot be upscaled with these options.
        """

    async def enlarge(
        self, item: Work, options: Options, shown: Follower, *, overwrite: bool
    ) -> str:
        """Upscale one picture, write its result, and return the line that reports it.

        Raises:
            EnlargerError: the picture cannot be upscaled, or the result cannot be written.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run."""

    work: tuple[Work, ...]
    failures: tuple[Failure, ...]
    skipped: tuple[tuple[str, str], ...]
    """Names of files that are not upscaled, each with the reason."""

    @property
    def met(self) -> int:
        """Return the number of pictures that the user meant."""
        there = sum(why in (THERE_ALREADY, EARLIER_RESULT) for _, why in self.skipped)
        return len(self.work) + len(self.failures) + there


async def run(
    asked: Asked,
    options: Options,
    worker: Worker,
    console: Console,
    *,
    output: Callable[[str], None],
) -> int:
    """Upscale all pictures and return the exit status. A picture that fails does not stop the next ones.

    Args:
        asked: the pictures, and where their results go.
        options: the options for upscaling.
        worker: upscales the pictures.
        console: where progress, results and failures are shown.
        output: takes the lines of ``--dry-run``.

    Raises:
        InvalidOption: a protected file would be replaced, or names are in conflict; nothing was done.
        UnwritableFile: the place for the results cannot be written to; nothing was done.
    """
    started = time.monotonic()
    plan = await planned(asked, options, worker)
    told = _Told(console, plan, quiet=asked.quiet)
    for failure in plan.failures:
        told.failed(failure.name, failure.error)
    if asked.dry_run:
        await _estimate_all(plan.work, options, worker, told, output)
    else:
        # Failures go to the console all the same: `_Told` has it.
        shown = Shown(
            Console(file=StringIO(), quiet=True) if asked.quiet else console, len(plan.work)
        )
        with shown.running():
            for item in plan.work:
                shown.begin(names.shown(item.source.place.name))
                try:
                    _check_again(item, asked)
                    line = await worker.enlarge(item, options, shown, overwrite=asked.overwrite)
                except AlreadyThereError as error:
                    if asked.skip_existing:
                        told.skipped_late(item.source.name)
                    else:
                        told.failed(item.source.name, error)
                except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                    told.failed(item.source.name, error)
                else:
                    told.done(line)
        told.summary(took_s=time.monotonic() - started)
    if not plan.met:
        raise UnreadableImage("there is no picture to upscale")
    return told.exit_status


def _check_again(item: Work, asked: Asked) -> None:
    """Check that the result can still be written: another run may have created it meanwhile.

    Raises:
        AlreadyThereError: another run has created the file.
        UnwritableFile: the file cannot be written.
    """
    if item.target is None:
        return
    targets.check_target(item.target, may_be_made=not isinstance(asked.out, File))
    if os.path.lexists(item.target) and not asked.overwrite:
        raise AlreadyThereError(item.target)


async def planned(asked: Asked, options: Options, worker: Worker) -> Plan:
    """Return the plan of a run, which is complete before the work begins.

    Raises:
        InvalidOption: see ``run``.
        UnwritableFile: see ``run``.
    """
    found, out = asked.found, asked.out
    pictures: list[tuple[Source, str, str]] = []
    failures = list(found.failures)
    for source in found.sources:
        try:
            kind = await _kind(source, asked, options, worker)
        except EnlargerError as error:
            if isinstance(error, InvalidOption):
                raise
            failures.append(Failure(source.name, error))
        else:
            pictures.append((source, kind, suffix_of(kind)))
    work = targets.assign(pictures, out, suffix=asked.suffix)
    skipped = list(found.skipped)
    originals = list(
        found.sources
    )  # pictures with unreadable headers count, too: they belong to the user all the same
    # With a suffix, results lie beside their pictures. Those of an earlier run are not treated as pictures.
    if asked.suffix and (results := targets.results_among(work, found.sources)):
        skipped += [(source.name, EARLIER_RESULT) for source in found.sources if source in results]
        originals = [source for source in originals if source not in results]
        pictures = [picture for picture in pictures if picture[0] not in results]
        names_of_results = {source.name for source in results}
        failures = [failure for failure in failures if failure.name not in names_of_results]
        work = targets.assign(pictures, out, suffix=asked.suffix)
    checked = targets.check(
        work,
        originals,
        overwrite=asked.overwrite,
        skip_existing=asked.skip_existing,
    )
    if checked.work and isinstance(out, Folder):
        targets.check_folder(out.path)
    there = tuple((item.source.name, THERE_ALREADY) for item in checked.skipped)
    return Plan(work=checked.work, failures=tuple(failures), skipped=(*skipped, *there))


async def _kind(source: Source, asked: Asked, options: Options, worker: Worker) -> str:
    """Return the format of a picture's result."""
    if isinstance(asked.out, File):
        return _named_kind(asked.out.path, options)
    # A result that is named after its picture also has its format, unless the user asks for another one.
    wish = options.format or ("png" if asked.suffix is None else "auto")
    return await worker.own_kind(source) if wish == "auto" else wish


def _named_kind(path: Path, options: Options) -> str:
    """Return the format that the name of a result asks for.

    Raises:
        InvalidOption: the name asks for no format, or contradicts the option.
    """
    kind = format_for(path)
    if options.format not in (None, "auto", kind):
        raise InvalidOption(
            f"Invalid format: {options.format}, but the result is called '{names.shown(path)}'"
        )
    return kind


async def _estimate_all(
    work: Sequence[Work],
    options: Options,
    worker: Worker,
    told: _Told,
    output: Callable[[str], None],
) -> None:
    found: list[Estimated] = []
    for item in work:
        try:
            found.append(await worker.estimate(item, options))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            told.failed(item.source.name, error)
        else:
            output(f"{names.shown(item.source.name)} -> {item.shown_target}: {found[-1].line}")
    told.skipped()
    output(f"in total: {estimates.total(found)}; nothing was done")


class _Told:
    """The messages to the user, and the counts for the summary."""

    def __init__(self, console: Console, plan: Plan, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._plan = plan
        self._done = self._failed = 0
        self._first_status = EnlargerError.exit_status
        self._skipped = list(plan.skipped)

    def done(self, line: str) -> None:
        """Report a result."""
        self._done += 1
        if not self._quiet:
            say(self._console, line)

    def failed(self, name: str, error: Exception) -> None:
        """Report that one picture failed."""
        # The error itself is not stored, because it would keep all of the work's data alive.
        if not self._failed and isinstance(error, EnlargerError):
            self._first_status = error.exit_status
        self._failed += 1
        say(self._console, f"enlarger: {self._about(name, error)}", style="red")

    def skipped_late(self, name: str) -> None:
        """Report that another run has created the result meanwhile."""
        self._skipped.append((name, THERE_ALREADY))

    def _about(self, name: str, error: Exception) -> str:
        """Return the error's text, preceded by the picture's name unless the text contains it."""
        if not isinstance(error, EnlargerError):
            return f"'{names.shown(name)}': {_unexpected(error)}"
        shown = names.shown(name)
        is_about_source = isinstance(error, (UnreadableImage, UnsupportedFormat))
        wants_name = self._plan.met > 1 or is_about_source or names.is_url(name)
        return f"'{shown}': {error}" if wants_name and shown not in str(error) else str(error)

    def skipped(self) -> None:
        """Report the files that are not upscaled, with a line for each reason."""
        if self._quiet:
            return
        by_reason: dict[str, list[str]] = {}
        for name, reason in self._skipped:
            by_reason.setdefault(reason, []).append(names.shown(name))
        for reason, skipped in by_reason.items():
            more = len(skipped) - _NAMES_OF_A_REASON
            rest = f" and {more} more" if more > 0 else ""
            listed = ", ".join(skipped[:_NAMES_OF_A_REASON])
            say(self._console, f"skipped, {reason}: {listed}{rest}")

    def summary(self, *, took_s: float) -> None:
        """Print the counts, if there is more than one thing to count."""
        if self._quiet or (self._plan.met < 2 and not self._skipped):
            return
        self.skipped()
        why = f" ({reasons(self._skipped)})" if self._skipped else ""
        say(
            self._console,
            f"{self._done} upscaled, {len(self._skipped)} skipped{why}, {self._failed} failed, {took_s:.1f} s",
        )

    @property
    def exit_status(self) -> int:
        """Return 0 if all results exist."""
        if not self._failed:
            return 0
        return self._first_status if self._plan.met == 1 else EnlargerError.exit_status


def _unexpected(error: Exception) -> str:
    """Return an unforeseen error as one line."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it; upscale a part of it with --region, or use a smaller --scale"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (
        f"this is a fault of enlarger, please report it: {type(error).__name__}: {error}".replace(
            "\n", " "
        )
    )
