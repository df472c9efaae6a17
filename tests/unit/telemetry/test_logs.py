"""Log records that know their request, and the ring of a process's last lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from ray._common.formatters import JSONFormatter
from ray.serve import context as serve_context
from ray.serve._private.logging_utils import configure_component_logger
from ray.serve.schema import LoggingConfig

from orchestrator.lifecycle.errors import NoStore, ParkTimeout
from orchestrator.lifecycle.request import Outcome, RequestLife
from orchestrator.router import access_log
from orchestrator.telemetry import logs
from orchestrator.telemetry.logs import (
    LONGEST_TEXT,
    ContextFilter,
    LogContext,
    LogRing,
    current,
    join_serve,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import ContextVar
    from pathlib import Path

ABOUT = LogContext("req-1", "4b" * 16, "1a" * 8)


@contextlib.contextmanager
def about(context: LogContext) -> Iterator[None]:
    token = current.set(context)
    try:
        yield
    finally:
        current.reset(token)


def texts(ring: LogRing, **asked: Any) -> list[str]:
    return [line.text for line in ring.select(**asked)]


def test_a_ring_holds_the_last_lines() -> None:
    ring = LogRing(most_lines=3)
    for number in range(5):
        ring.add("stdout", f"line {number}")
    assert texts(ring) == ["line 2", "line 3", "line 4"]
    assert texts(ring, limit=2) == ["line 3", "line 4"]
    assert texts(ring, after=4) == ["line 4"]
    assert texts(ring, after=5) == []
    assert ring.seq == 5
    assert [line.seq for line in ring.select()] == [3, 4, 5]


def test_a_ring_is_bounded_in_bytes_and_its_lines_in_length() -> None:
    ring = LogRing(most_bytes=10_000)
    for _ in range(10):
        ring.add("stdout", "x" * 5000)
    kept = texts(ring)
    assert len(kept) == 2
    assert {len(text) for text in kept} == {LONGEST_TEXT}


def test_lines_know_what_they_are_about() -> None:
    ring = LogRing()
    with about(ABOUT):
        ring.add("stdout", "hers")
    ring.add("stdout", "nobody's")
    ring.add("stderr", "his", context=LogContext("req-2", "5c" * 16, ""), level="ERROR", at=7.0)
    assert texts(ring, request_id="req-1") == ["hers"]
    (line,) = ring.select(request_id="req-2")
    assert (line.trace_id, line.stream, line.level, line.at) == ("5c" * 16, "stderr", "ERROR", 7.0)
    assert ring.select()[1].request_id == ""


def test_a_line_of_which_nothing_is_known_is_about_the_request_that_it_names() -> None:
    ring = LogRing()
    ring.add("stdout", "POST /predict req-1 200")
    with about(ABOUT):
        ring.add("stdout", "after req-2")
    assert texts(ring, request_id="req-1") == ["POST /predict req-1 200", "after req-2"]
    assert texts(ring, request_id="req-2") == []


async def test_whoever_waits_for_a_line_gets_it_from_any_thread() -> None:
    ring = LogRing()
    waiting = [asyncio.create_task(ring.wait(0)) for _ in range(2)]
    await asyncio.sleep(0)
    thread = threading.Thread(target=ring.add, args=("stdout", "here"))
    thread.start()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    thread.join()
    # It is there already, so nobody waits.
    await ring.wait(0)


async def test_who_gave_up_waiting_is_forgotten() -> None:
    ring = LogRing()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await ring.wait(0)
    assert not ring._waiting
    ring.add("stdout", "nobody waits")


def test_many_threads_lose_no_line() -> None:
    ring = LogRing()

    def talk() -> None:
        for _ in range(500):
            ring.add("stdout", "x")

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line.seq for line in ring.select()] == list(range(1, 2001))


@pytest.fixture
def loud() -> Iterator[logging.Logger]:
    logger = logging.Logger("loud")  # noqa: LOG001 - one that no other test has
    yield logger
    for handler in logger.handlers:
        handler.close()


def test_records_carry_ids_only_on_behalf_of_a_request(loud: logging.Logger) -> None:
    got: list[dict[str, Any]] = []

    class Json(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            got.append(json.loads(JSONFormatter().format(record)))

    handler = Json()
    handler.addFilter(ContextFilter())
    loud.addHandler(handler)
    loud.info("before")
    with about(ABOUT):
        loud.info("during")
    assert "request_id" not in got[0]
    assert got[1]["message"] == "during"
    assert (got[1]["request_id"], got[1]["trace_id"], got[1]["span_id"]) == ABOUT


class Log:
    """Serve's log file of a process, as it is with our logging config."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def configure(self) -> None:
        configure_component_logger(
            component_name="Router",
            component_id="abc",
            logging_config=LoggingConfig(
                encoding="JSON", enable_access_log=False, logs_dir=str(self._folder)
            ),
            max_bytes=1_000_000,
            backup_count=1,
            # What Serve does where it is told to be fast.
            buffer_size=1000,
        )

    def lines(self) -> list[dict[str, Any]]:
        (file,) = self._folder.glob("*.log")
        return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def serve_log(tmp_path: Path) -> Iterator[Log]:
    """Serve's logging, set up by Serve itself, and all as it was afterwards."""
    loggers = [logging.getLogger(name) for name in ("ray.serve", *logs.OWN)]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    log = Log(tmp_path)
    log.configure()
    yield log
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                target = getattr(handler, "target", None)
                handler.close()
                if target is not None:
                    target.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def test_our_records_are_json_in_serve_s_file_at_once(serve_log: Log) -> None:
    join_serve()
    join_serve()
    with about(ABOUT):
        logging.getLogger("orchestrator.router.anything").info("once", extra={"why": "a test"})
        logging.getLogger("replicas.x").debug("too little to tell")
    (line,) = serve_log.lines()
    assert line["message"] == "once"
    assert line["why"] == "a test"
    assert line["levelname"] == "INFO"
    assert line["request_id"] == "req-1"
    assert line["trace_id"] == "4b" * 16
    assert line["component_name"] == "Router"


def test_warnings_of_serve_s_own_logger_are_not_kept_back(serve_log: Log) -> None:
    join_serve()
    logging.getLogger("ray.serve").info("later")
    assert serve_log.lines() == []
    logging.getLogger("ray.serve").warning("now")
    assert [line["message"] for line in serve_log.lines()] == ["later", "now"]


def test_outside_of_serve_logging_stays_as_it_is() -> None:
    own = logging.getLogger("orchestrator")
    before = (own.handlers[:], own.propagate, own.level)
    join_serve()
    assert (own.handlers, own.propagate, own.level) == before


def test_serve_s_own_request_id_does_not_hide_ours(serve_log: Log) -> None:
    join_serve()
    of_serve: ContextVar[Any] = serve_context._serve_request_context
    token = of_serve.set(serve_context._RequestContext(request_id="serve's", app_name="router"))
    try:
        with about(ABOUT):
            logging.getLogger("ray.serve").error("ours")
        logging.getLogger("ray.serve").error("serve's own")
    finally:
        of_serve.reset(token)
    assert [line["request_id"] for line in serve_log.lines()] == ["req-1", "serve's"]


def test_a_new_configuration_of_serve_s_changes_nothing(serve_log: Log) -> None:
    join_serve()
    serve_log.configure()
    with about(ABOUT):
        logging.getLogger("orchestrator").warning("still here")
    (line,) = serve_log.lines()
    assert line["request_id"] == "req-1"


def test_a_failed_request_is_one_line_with_its_facts(serve_log: Log) -> None:
    join_serve()
    life = RequestLife()
    life.admit()
    life.end(Outcome.EVICTED_PARK_TIMEOUT)
    access_log.write(
        method="POST",
        path="/models/echo/production/predict",
        status=503,
        seconds=1.23456,
        request_id=b"req-9",
        life=life,
        endpoint=None,
        error=ParkTimeout(1.0),
        trace_id=b"5c" * 16,
        span_id=b"6d" * 8,
    )
    (line,) = serve_log.lines()
    assert line["message"] == (
        "POST /models/echo/production/predict: 503, evicted_park_timeout after 1.235 s"
    )
    assert line["levelname"] == "WARNING"
    assert line["request_id"] == "req-9"
    assert line["trace_id"] == "5c" * 16
    assert line["span_id"] == "6d" * 8
    assert line["status"] == 503
    assert line["seconds"] == 1.2346
    assert line["outcome"] == "evicted_park_timeout"
    assert line["attempts"] == 0
    assert line["error"].startswith("ParkTimeout: ")
    assert current.get() is None


def test_the_cause_of_a_store_that_is_away_is_told(serve_log: Log) -> None:
    join_serve()
    access_log.write(
        method="POST",
        path="/",
        status=503,
        seconds=0.0,
        request_id=b"req-9",
        life=RequestLife(),
        endpoint=None,
        error=NoStore("no store is configured"),
    )
    (line,) = serve_log.lines()
    assert "cause" in line
    assert line["outcome"] is None
