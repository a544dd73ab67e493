"""Logs on stderr: one event a line, as text for people on a terminal and as JSON elsewhere.

Lines of libraries, Python's warnings and exceptions that nobody caught have the same form, so that a program can read
every line of a JSON log.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from types import TracebackType
from typing import TextIO, cast

import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, LogLevelColumnFormatter
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from enlarger.config import LogFormat, LogLevel, may_be_coloured
from enlarger.streams import Unfailing

log = structlog.get_logger()

_FIRST = ("timestamp", "level", "process", "event")
"""What every line begins with."""


def configure(process: str, *, level: LogLevel = "info", form: LogFormat = "auto") -> None:
    """Set up logging for a server process.

    Args:
        process: its name, which stands in every line.
        level: less than this is not logged.
        form: of the lines; ``auto`` is text if stderr is a terminal, and JSON if not.
    """
    stream = cast(TextIO, Unfailing(sys.stderr))
    is_terminal = sys.stderr.isatty()
    is_text = form == "text" or (form == "auto" and is_terminal)
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        _named(process),
        structlog.processors.format_exc_info,
        *([_indented] if is_text else []),
        _for_people(coloured=is_terminal and may_be_coloured())
        if is_text
        else structlog.processors.JSONRenderer(),
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # One write a line: gateway and model servers share this stream.
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*first, _of_library],
            processors=[ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    # Libraries speak through the standard library; only what went wrong is of interest.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = lambda raised: _log_uncaught(
        raised.exc_type, raised.exc_value, raised.exc_traceback
    )
    threading.excepthook = lambda raised: _log_uncaught(
        raised.exc_type, raised.exc_value, raised.exc_traceback
    )


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """An exception ended this process or one of its threads, or could not be raised where it happened."""
    if not issubclass(kind, SystemExit):
        log.critical("uncaught", exc_info=(kind, error or kind(), trace))


def _named(process: str) -> Processor:
    """Puts the process's name into a line, and what every line has before the rest."""

    def named(_: object, __: str, line: EventDict) -> EventDict:
        rest = {**line, "process": process}
        return {name: rest.pop(name) for name in _FIRST} | rest

    return named


def _of_library(_: object, __: str, line: EventDict) -> EventDict:
    """The line of a library as an event of ours."""
    message, logger = str(line["event"]).strip(), line["_record"].name
    return {**line, "event": "library", "logger": logger, "message": message}


def _indented(_: object, __: str, line: EventDict) -> EventDict:
    """No line of a traceback looks like a line of the log, whatever the text of the exception is."""
    if "exception" in line:
        lines = line["exception"].splitlines()
        line["exception"] = "\n".join(f"    {_escaped(part)}" for part in lines)
    return line


def _for_people(*, coloured: bool) -> ConsoleRenderer:
    """Lines of text: time, level, process, event, and then the fields."""
    styles = ConsoleRenderer.get_default_column_styles(colors=coloured)
    levels = ConsoleRenderer.get_default_level_styles(colors=coloured)

    def column(name: str, style: str, *, key_style: str | None = None, width: int = 0) -> Column:
        formatter = KeyValueColumnFormatter(
            key_style=key_style,
            value_style=style,
            reset_style=styles.reset,
            value_repr=_shown,
            width=width,
        )
        return Column(name, formatter)

    level = LogLevelColumnFormatter(levels, reset_style=styles.reset)
    return ConsoleRenderer(
        columns=[
            column("", styles.kv_value, key_style=styles.kv_key),
            column("timestamp", styles.timestamp),
            Column("level", level),
            column("process", styles.logger_name, width=8),
            column("event", styles.bright, width=16),
        ],
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )


def _shown(value: object) -> str:
    """A value on a terminal, which must not be steered by it, nor see two lines in it."""
    if not isinstance(value, str):
        return _escaped(json.dumps(value, default=str))
    if value and value.isprintable() and not set(value) & set(" \"'=\\"):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _escaped(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]
