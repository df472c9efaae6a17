"""Log records and output of a process: what request they are about, and the last of them.

`current` says on whose behalf the running code runs; `ContextFilter` puts that on
every record of a handler. In a process of Serve's, `join_serve` brings the records
of this software to Serve's log file, whose lines are JSON and have every field that
a record has. `LogRing` holds the last lines of a process for those that ask.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from contextvars import ContextVar
from itertools import islice
from logging.handlers import MemoryHandler
from typing import Final, NamedTuple

import msgspec

LONGEST_TEXT: Final = 4096
"""Characters of a line; longer ones are cut."""

MOST_LINES: Final = 5000
MOST_BYTES: Final = 4 << 20

_SERVE: Final = "ray.serve"

_LINE_BYTES: Final = 200
"""What a line costs beside its text."""


class LogContext(NamedTuple):
    """The request that is worked on; ids as they stand in headers."""

    request_id: str
    trace_id: str
    span_id: str


current: Final[ContextVar[LogContext | None]] = ContextVar("orchestrator_log_context", default=None)


class ContextFilter(logging.Filter):
    """Puts the ids of `current` on records; lets every record pass.

    Serve's own filter writes the id of one of its calls where the request's belongs,
    so this one comes after it, and overwrites.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True."""
        context = current.get()
        if context is not None:
            record.request_id, record.trace_id, record.span_id = context
        return True


class LogLine(msgspec.Struct, array_like=True, frozen=True):
    """One line.

    Attributes:
        seq: counts up from 1 over all lines of the ring.
        at: Unix time.
        stream: `stdout`, `stderr` or `log`.
        level: as `logging` names it; empty: none.
        text: at most `LONGEST_TEXT` characters.
        request_id, trace_id: what it is about; empty: nothing known.
    """

    seq: int
    at: float
    stream: str
    level: str
    text: str
    request_id: str = ""
    trace_id: str = ""


class LogRing:
    """The last lines of a process, bounded in number and bytes; any thread may add to it."""

    def __init__(self, *, most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES) -> None:
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._lines: deque[LogLine] = deque()
        self._bytes = 0
        self._seq = 0
        # Reentrant: the collector may run a destructor that logs while it is held.
        self._lock = threading.RLock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    @property
    def seq(self) -> int:
        """Of the last line; 0: there was none."""
        return self._seq

    def add(
        self,
        stream: str,
        text: str,
        *,
        level: str = "",
        at: float | None = None,
        context: LogContext | None = None,
    ) -> None:
        """Adds a line, without its line break.

        Args:
            stream: `stdout`, `stderr` or `log`.
            text: what it says; cut where it is too long.
            level: as `logging` names it.
            at: Unix time; None: now.
            context: what it is about; None: what `current` says.
        """
        about = context or current.get()
        request_id, trace_id = ("", "") if about is None else about[:2]
        text = text[:LONGEST_TEXT]
        moment = time.time() if at is None else at
        with self._lock:
            self._seq += 1
            self._lines.append(
                LogLine(self._seq, moment, stream, level, text, request_id, trace_id)
            )
            self._bytes += len(text) + _LINE_BYTES
            while len(self._lines) > self._most_lines or self._bytes > self._most_bytes:
                self._bytes -= len(self._lines.popleft().text) + _LINE_BYTES
            waiting, self._waiting = self._waiting, set()
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def select(
        self, request_id: str = "", after: int = 0, limit: int = MOST_LINES
    ) -> list[LogLine]:
        """The newest lines, in order.

        Args:
            request_id: only those about it; of those of which that is not known, as of a
                child process, the ones that name it. Empty: all.
            after: only those with a greater `seq`.
            limit: so many at most.
        """
        with self._lock:
            newest_first = (
                line
                for line in reversed(self._lines)
                if line.seq > after and (not request_id or _concerns(line, request_id))
            )
            found = list(islice(newest_first, limit))
        found.reverse()
        return found

    async def wait(self, after: int) -> None:
        """Returns once there is a line with a greater `seq`; the deadline is the caller's."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            if self._seq > after:
                return
            self._waiting.add(entry)
        try:
            await event.wait()
        finally:
            with self._lock:
                self._waiting.discard(entry)


def _concerns(line: LogLine, request_id: str) -> bool:
    return request_id == line.request_id or (not line.request_id and request_id in line.text)


OWN: Final = ("orchestrator", "replicas", "opentelemetry")
"""Loggers above all of this software's, and of what exports its traces."""

_CONTEXT: Final = ContextFilter()


def join_serve() -> None:
    """Sends this software's records, from INFO on, to where Serve's go; again: nothing new.

    Serve sets up `ray.serve` alone: what other loggers say ends on stderr as bare
    text, or nowhere. Where Serve has set up nothing, all stays as it is.
    """
    if not _files():
        return
    _prepare()
    for name in OWN:
        logger = logging.getLogger(name)
        if any(isinstance(handler, _ToServe) for handler in logger.handlers):
            continue
        logger.addHandler(_ToServe())
        logger.setLevel(logging.INFO)
        logger.propagate = False


class _ToServe(logging.Handler):
    """Hands records to Serve's logger, whatever handlers that has by then."""

    def emit(self, record: logging.LogRecord) -> None:
        # Serve makes new handlers when its logging is configured anew.
        _prepare()
        serve = logging.getLogger(_SERVE)
        # Serve's own level may be another one.
        serve.handle(record)
        # These are few, and worth seeing.
        for handler in serve.handlers:
            handler.flush()


def _files() -> list[MemoryHandler]:
    """What stands before the log file of a process of Serve's; elsewhere there is none."""
    handlers = logging.getLogger(_SERVE).handlers
    return [handler for handler in handlers if isinstance(handler, MemoryHandler)]


def _prepare() -> None:
    for handler in _files():
        # Once, and at the end.
        handler.addFilter(_CONTEXT)
        # Serve, told to be fast, keeps a thousand records back unless one is an error.
        handler.flushLevel = logging.WARNING
