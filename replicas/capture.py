"""Copies what a process says into a ring of lines, and changes nothing about where it goes.

What comes by:

* each record that `logging` makes, at its factory: unlike a handler, that sees the
  loggers that do not propagate, outlives `dictConfig` and Serve's own set-up, and
  neither keeps `basicConfig` from working nor takes warnings off stderr;
* what is written to `sys.stdout` and `sys.stderr`, that is what `print` writes;
  Ray's redirection, which turns that into records, stays where it is.

What a library writes to the file descriptors past Python is not seen.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import traceback
import weakref
from typing import TYPE_CHECKING, Any, Final

from orchestrator.telemetry.logs import LONGEST_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.telemetry.logs import LogRing

CHILD_LOGGER: Final = "ray.serve.child"
"""Logger of what a child process writes; that is in the ring already."""

_SERVE_LOGGER: Final = "ray.serve"
_LINE_END: Final = re.compile(r"\r\n|\n|\r")

_MOST_TEXT: Final = 1 << 18
"""Characters of one record, or of one call of `write`, that are looked at."""

_SERVE_FOLDER: Final = "/ray/serve/"
"""In the path of whatever Ray Serve itself says; its logger is also ours."""

_REDIRECTION: Final = "logging_utils.py"
"""From where Serve says what a model printed."""

_EMIT: Final = logging.StreamHandler.emit.__code__
"""Whoever writes from here writes a record, which was copied when it was made."""


class LogCapture:
    """Copies into one ring, from `install` to `remove`; what fails here fails silently."""

    def __init__(self, ring: LogRing) -> None:
        self._ring = ring
        self._active = False
        self._tees: dict[str, Tee] = {}
        self._make_record: Callable[..., logging.LogRecord] = logging.getLogRecordFactory()
        # One object, so that it can be recognised when it is taken out again.
        self._factory = self._copy_record
        self._thread = threading.local()

    def install(self) -> None:
        """Begins to copy."""
        self._active = True
        self._make_record = logging.getLogRecordFactory()
        logging.setLogRecordFactory(self._factory)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None:
                self._tees[name] = tee = Tee(stream, name, self)
                setattr(sys, name, tee)
        _installed.add(self)

    def remove(self) -> None:
        """Ends to copy; what was put on top of this meanwhile stays, and passes through it."""
        self._active = False
        if logging.getLogRecordFactory() is self._factory:
            logging.setLogRecordFactory(self._make_record)
        for name, tee in self._tees.items():
            if getattr(sys, name) is tee:
                setattr(sys, name, tee.stream)
        _installed.discard(self)

    def forget(self) -> None:
        """In a child that was forked: a lock of the ring may be held there for ever."""
        self._active = False

    def _copy_record(self, *arguments: Any, **more: Any) -> logging.LogRecord:
        record = self._make_record(*arguments, **more)
        if self._active and record.name != CHILD_LOGGER and not self._busy:
            with contextlib.suppress(Exception):
                self._add_record(record)
        return record

    def _add_record(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # How `print` arrives where Ray has replaced it.
        printed = record.name == _SERVE_LOGGER and text.endswith("\n")
        if not printed and record.levelno < logging.WARNING and _is_serve_s(record):
            return  # its handles and health checks would bury what the model says
        if record.exc_info:
            # Not by a `logging.Formatter`: that prints, and Ray's `print` is another one.
            told = traceback.format_exception(*record.exc_info)
            text = "\n".join((text, "".join(told)))
        if record.stack_info:
            text = f"{text}\n{record.stack_info}"
        stream, level = ("stdout", "") if printed else ("log", record.levelname)
        self._add(stream, _lines(text), level)

    def written(self, stream: str, text: str, *, by_handler: bool) -> None:
        """Somebody wrote to a stream: what makes a line goes to the ring."""
        if not self._active or by_handler or self._busy:
            return
        with contextlib.suppress(Exception):
            rest = self._thread.__dict__.setdefault(stream, "")
            *lines, rest = _LINE_END.split(rest + text[:_MOST_TEXT])
            if len(rest) > LONGEST_TEXT:
                lines.append(rest)
                rest = ""
            self._thread.__dict__[stream] = rest
            self._add(stream, lines, "")

    def _add(self, stream: str, lines: Iterable[str], level: str) -> None:
        # What the ring itself, or a destructor that runs meanwhile, has to say is not copied.
        self._thread.busy = True
        try:
            for line in lines:
                if line and not line.isspace():
                    self._ring.add(stream, line, level=level)
        finally:
            self._thread.busy = False

    @property
    def _busy(self) -> bool:
        return getattr(self._thread, "busy", False)

    @contextlib.contextmanager
    def passing(self) -> Any:
        """What the stream below makes of a text, as Ray's makes records, is the same text."""
        was = self._busy
        self._thread.busy = True
        try:
            yield
        finally:
            self._thread.busy = was


class Tee:
    """A text stream whose text is copied; all else is the stream's own."""

    def __init__(self, stream: Any, name: str, capture: LogCapture) -> None:
        self.stream = stream
        self._name = name
        self._capture = capture

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __iter__(self) -> Any:
        return iter(self.stream)

    def write(self, text: str) -> int:
        """As the stream does it, and raises what that raises."""
        by_handler = sys._getframe(1).f_code is _EMIT  # noqa: SLF001 - the documented way
        self._capture.written(self._name, text, by_handler=by_handler)
        with self._capture.passing():
            count: int = self.stream.write(text)
        return count

    def writelines(self, lines: Iterable[str]) -> None:
        """As the stream does it."""
        for line in lines:
            self.write(line)


def _is_serve_s(record: logging.LogRecord) -> bool:
    return _SERVE_FOLDER in record.pathname and record.filename != _REDIRECTION


def _lines(text: str) -> list[str]:
    return _LINE_END.split(text[:_MOST_TEXT].rstrip())


_installed: Final[weakref.WeakSet[LogCapture]] = weakref.WeakSet()


def _forget_all() -> None:
    for capture in list(_installed):
        capture.forget()


os.register_at_fork(after_in_child=_forget_all)
