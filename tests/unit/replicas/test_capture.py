"""What a process says is copied, whoever says it, and still goes where it went."""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from ray.serve._private.logging_utils import StreamToLogger, redirected_print

from orchestrator.telemetry.logs import LogContext, LogRing, current
from replicas.capture import CHILD_LOGGER, LogCapture, Tee

if TYPE_CHECKING:
    from collections.abc import Iterator


class Process:
    """Streams of this process as a test sees them: what came through, and what was copied."""

    def __init__(self) -> None:
        self.ring = LogRing()
        self.capture = LogCapture(self.ring)
        self.out = io.StringIO()
        self.err = io.StringIO()

    def begin(self) -> None:
        """Within a test: pytest has streams of its own between its phases."""
        sys.stdout, sys.stderr = self.out, self.err
        self.capture.install()

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(line.stream, line.text) for line in self.ring.select()]


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.capture.remove()


@pytest.fixture
def logger() -> logging.Logger:
    """A logger like that of a library that brings its own set-up: no other handler hears it."""
    return logging.Logger("tests.capture", logging.INFO)  # noqa: LOG001 - not below the root


def test_what_is_printed_is_copied_line_by_line_and_still_printed(process: Process):
    process.begin()
    print("one", "two")
    print("half", end="")
    print(" whole\nnext")
    sys.stderr.writelines(["bad\n", "worse\n"])
    assert process.said == [
        ("stdout", "one two"),
        ("stdout", "half whole"),
        ("stdout", "next"),
        ("stderr", "bad"),
        ("stderr", "worse"),
    ]
    assert process.out.getvalue() == "one two\nhalf whole\nnext\n"
    assert process.err.getvalue() == "bad\nworse\n"


def test_a_progress_bar_is_a_line_each_time(process: Process):
    process.begin()
    sys.stderr.write("\r10%\r20%")
    sys.stderr.write("\n\n  \n")
    assert process.said == [("stderr", "10%"), ("stderr", "20%")]


def test_threads_do_not_mix_their_lines_and_say_for_whom(process: Process):
    process.begin()
    done = threading.Barrier(2)

    def talk(name: str) -> None:
        current.set(LogContext(name, "", ""))
        for _ in range(50):
            print(name, end="")
            print("!")
        done.wait()

    threads = [threading.Thread(target=talk, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = process.ring.select()
    assert sorted(line.text for line in lines) == ["a!"] * 50 + ["b!"] * 50
    assert all(line.request_id == line.text[0] for line in lines)


def test_records_are_copied_once_whatever_their_handlers_do(process: Process, logger):
    process.begin()
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logger.info("loaded %d layers", 32)
    logger.debug("not enabled")
    assert process.said == [("log", "loaded 32 layers")]
    assert process.ring.select()[0].level == "INFO"
    assert process.err.getvalue() == "loaded 32 layers\n"
    assert process.out.getvalue() == "loaded 32 layers\n"


def test_a_logger_without_handlers_is_copied_and_its_warnings_still_go_to_stderr(process: Process):
    process.begin()
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        logging.getLogger("tests.bare").warning("low on memory")
    finally:
        root.handlers = handlers
    assert process.said == [("log", "low on memory")]
    assert process.err.getvalue() == "low on memory\n"


def test_a_traceback_is_told_line_by_line(process: Process, logger):
    process.begin()
    logger.addHandler(logging.NullHandler())
    try:
        raise RuntimeError("out of memory")  # noqa: TRY301 - to have a traceback
    except RuntimeError:
        logger.exception("the model raised")
    texts = [text for _, text in process.said]
    assert texts[0] == "the model raised"
    assert texts[-1] == "RuntimeError: out of memory"


def test_a_traceback_is_whole_where_ray_has_replaced_print(
    process: Process, logger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(builtins, "print", redirected_print)
    test_a_traceback_is_told_line_by_line(process, logger)


def test_a_record_that_cannot_be_formatted_is_its_authors_problem(process: Process, logger):
    process.begin()
    logger.addHandler(logging.NullHandler())
    logger.info("%d", "no number")
    logger.info("fine")
    assert process.said == [("log", "fine")]


def test_an_extra_may_be_called_as_it_likes(process: Process, logger):
    process.begin()
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(request_id)s"))
    logger.addHandler(handler)
    logger.info("x", extra={"request_id": "mine"})
    assert written.getvalue() == "mine\n"


def test_lines_of_a_child_are_left_to_who_reads_them(process: Process):
    process.begin()
    logging.getLogger(CHILD_LOGGER).error("by hand")
    assert process.said == []


def test_rays_own_redirection_goes_on_and_nothing_is_there_twice(
    monkeypatch: pytest.MonkeyPatch,
):
    serve = logging.getLogger("ray.serve")
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(serve, "handlers", [handler])
    monkeypatch.setattr(serve, "propagate", False)
    monkeypatch.setattr(serve, "level", logging.INFO)
    serve.manager._clear_cache()  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", StreamToLogger(serve, logging.INFO, io.StringIO()))
    monkeypatch.setattr(builtins, "print", redirected_print)
    ring = LogRing()
    capture = LogCapture(ring)
    capture.install()
    try:
        print("by print", 1)
        sys.stdout.write("by write\n")
        serve.info("by logger")
        # Serve sets its logging up anew: handlers gone, and stdout wrapped again.
        serve.handlers = [handler]
        sys.stdout = StreamToLogger(serve, logging.INFO, sys.stdout)
        sys.stdout.write("after that\n")
    finally:
        capture.remove()
        serve.manager._clear_cache()  # type: ignore[attr-defined]
    assert [(line.stream, line.text) for line in ring.select()] == [
        ("stdout", "by print 1"),
        ("stdout", "by write"),
        ("log", "by logger"),
        ("log", "after that"),
    ]
    assert records == ["by print 1\n", "by write", "by logger", "after that"]


def test_what_ray_serve_has_to_say_is_left_out_unless_it_warns(process: Process):
    process.begin()
    make = logging.getLogRecordFactory()
    for level, text in ((logging.INFO, "Initialized a handle."), (logging.WARNING, "Slow.")):
        make("ray.serve", level, "/lib/ray/serve/handle.py", 1, text, (), None)
    make("ray.serve", logging.INFO, "/models/mine.py", 1, "loaded", (), None)
    assert process.said == [("log", "Slow."), ("log", "loaded")]


def test_a_flood_is_bounded(process: Process):
    process.begin()
    for _ in range(3):
        sys.stdout.write("x" * (1 << 20) + "\n")
    sys.stdout.write("\n".join("y" * 2000 for _ in range(20_000)))
    assert sum(len(text) for _, text in process.said) <= 4 << 20
    assert max(len(text) for _, text in process.said) <= 4096
    assert len(process.out.getvalue()) > 40_000_000


def test_a_line_that_never_ends_is_cut(process: Process):
    process.begin()
    for _ in range(100):
        sys.stdout.write("z" * 1000)
    assert {len(text) for _, text in process.said} == {4096}


def test_what_a_stream_raises_is_raised(process: Process):
    process.begin()
    process.out.close()
    with pytest.raises(ValueError, match="closed file"):
        sys.stdout.write("x\n")
    assert process.said == [("stdout", "x")]


def test_it_is_the_stream_in_all_else(process: Process):
    process.begin()
    assert isinstance(sys.stdout, Tee)
    assert sys.stdout.encoding == process.out.encoding
    assert not sys.stdout.isatty()
    with contextlib.redirect_stdout(io.StringIO()) as other:
        print("elsewhere")
    assert other.getvalue() == "elsewhere\n"
    assert process.said == []


def test_after_its_end_everything_is_as_before(process: Process):
    process.begin()
    factory = process.capture._make_record
    process.capture.remove()
    assert sys.stdout is process.out
    assert logging.getLogRecordFactory() is factory


def test_what_was_put_on_top_of_it_goes_on_after_its_end(process: Process, logger):
    process.begin()
    below = logging.getLogRecordFactory()
    sys.stdout = on_top = io.TextIOWrapper(io.BytesIO())
    on_top.close()
    tee = Tee(process.out, "stdout", process.capture)
    logging.setLogRecordFactory(functools.partial(below))
    process.capture.remove()
    try:
        assert sys.stdout is on_top
        logger.addHandler(logging.NullHandler())
        logger.info("x")
        tee.write("y\n")
    finally:
        logging.setLogRecordFactory(process.capture._make_record)
    assert process.said == []
    assert process.out.getvalue() == "y\n"


def test_a_destructor_that_logs_while_the_ring_is_read_blocks_nothing(process: Process):
    process.begin()
    with process.ring._lock:
        print("from a destructor")
    assert process.said == [("stdout", "from a destructor")]


def test_a_forked_child_is_not_blocked_by_a_lock_that_another_thread_held(process: Process):
    process.begin()
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with process.ring._lock:
            held.set()
            let_go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    pid = os.fork()
    if pid == 0:
        print("in the child")
        os._exit(7)
    let_go.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
