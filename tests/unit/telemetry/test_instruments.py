"""Counters and histograms of a process, told as differences."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from orchestrator.telemetry import metrics
from orchestrator.telemetry.instruments import Batch, Registry
from orchestrator.telemetry.timeline import Attempt, RequestFilter, Timeline, failed

WAIT = (metrics.QUEUE_WAIT_SECONDS.name, ("echo", "production", "sync"))
ENDED = (metrics.REQUESTS.name, ("echo", "production", "answered"))


def test_what_was_told_is_not_told_again() -> None:
    registry = Registry()
    ended = registry.counter(metrics.REQUESTS, "echo", "production", "answered")
    wait = registry.histogram(metrics.QUEUE_WAIT_SECONDS, "echo", "production", "sync")
    ended.add()
    ended.add(2)
    wait.observe(0.0004)
    wait.observe(5000.0)
    wait.exemplify(5000.0, "4b" * 16, 7.0)
    batch = registry.take()
    assert batch.counters == {ENDED: 3}
    part = batch.histograms[WAIT]
    assert (part.counts[0], part.counts[-1], sum(part.counts)) == (1, 1, 2)
    assert part.total == pytest.approx(5000.0004)
    assert part.exemplars[len(part.counts) - 1].trace_id == "4b" * 16
    assert registry.take() == Batch()


def test_a_bound_belongs_to_its_bucket() -> None:
    wait = Registry().histogram(metrics.QUEUE_WAIT_SECONDS, "echo", "production", "sync")
    wait.observe(metrics.SECONDS[3])
    assert wait.counts[3] == 1


def test_a_batch_that_was_not_taken_is_part_of_the_next() -> None:
    registry = Registry()
    ended = registry.counter(metrics.REQUESTS, "echo", "production", "answered")
    wait = registry.histogram(metrics.QUEUE_WAIT_SECONDS, "echo", "production", "sync")
    ended.add(2)
    wait.observe(0.1)
    lost = registry.take()
    ended.add(1)
    wait.observe(0.1)
    registry.put_back(lost)
    batch = registry.take()
    assert batch.counters == {ENDED: 3}
    assert sum(batch.histograms[WAIT].counts) == 2


def test_the_same_labels_are_the_same_instrument() -> None:
    registry = Registry()
    assert registry.counter(metrics.SPANS, "router", "failed") is registry.counter(
        metrics.SPANS, "router", "failed"
    )
    assert registry.histogram(metrics.STORE_SECONDS, "router", "get") is registry.histogram(
        metrics.STORE_SECONDS, "router", "get"
    )


def test_gauges_are_read_and_others_asked_whenever_a_batch_is_taken() -> None:
    registry = Registry()
    level = [1.0]
    registry.gauge(metrics.SLOTS, lambda: level[0], "echo", "production")
    elsewhere = registry.counter(metrics.SPANS, "router", "exported")
    registry.before_take(lambda: elsewhere.add(5))
    batch = registry.take()
    assert batch.gauges == {(metrics.SLOTS.name, ("echo", "production")): 1.0}
    assert batch.counters == {(metrics.SPANS.name, ("router", "exported")): 5}
    level[0] = 2.0
    assert list(registry.take().gauges.values()) == [2.0]


def test_a_batch_survives_its_journey() -> None:
    registry = Registry()
    registry.counter(metrics.REQUESTS, "echo", "production", "answered").add()
    wait = registry.histogram(metrics.QUEUE_WAIT_SECONDS, "echo", "production", "sync")
    wait.observe(0.1)
    wait.exemplify(0.1, "4b" * 16, 7.0)
    registry.gauge(metrics.SLOTS, lambda: 3.0, "echo", "production")
    batch = registry.take()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=Batch) == batch


def test_names_of_metrics_are_all_different() -> None:
    assert len(metrics.BY_NAME) == len(metrics.ALL) > 20


TIMELINE = Timeline(
    request_id="r",
    model="echo",
    environment="production",
    began=100.0,
    seconds=2.0,
    status=503,
    outcome="evicted_park_timeout",
    async_id="a",
    cold_start=True,
    kept="error",
    attempts=[Attempt(number, "r", "", 0.0, "1" * 16) for number in (1, 2)],
)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"request_id": "r"},
        {"request_id": "a"},
        {"model": "echo", "environment": "production"},
        {"since": 102.0},
        {"errors": True},
        {"slow_s": 2.0},
        {"cold": True},
        {"retried": True},
        {"outcome": "evicted_park_timeout"},
    ],
)
def test_a_timeline_that_is_wanted(asked: dict[str, Any]) -> None:
    assert RequestFilter(**asked).fits(TIMELINE)


@pytest.mark.parametrize(
    "asked",
    [
        {"request_id": "b"},
        {"model": "other"},
        {"environment": "staging"},
        {"since": 102.5},
        {"slow_s": 2.5},
        {"slow": True},
        {"outcome": "answered"},
    ],
)
def test_a_timeline_that_is_not(asked: dict[str, Any]) -> None:
    assert not RequestFilter(**asked).fits(TIMELINE)


def test_a_timeline_survives_its_journey_and_older_ones_are_read() -> None:
    packed = msgspec.msgpack.encode(TIMELINE)
    assert msgspec.msgpack.decode(packed, type=Timeline) == TIMELINE
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(packed)[:-1])
    assert msgspec.msgpack.decode(older, type=Timeline) == TIMELINE


@pytest.mark.parametrize(
    ("status", "outcome", "is_failure"),
    [
        (200, "answered", False),
        (404, "answered", False),
        (429, "rejected_queue_full", False),
        (499, "failed_caller_gone", True),
        (500, "answered", True),
        (0, "failed_internal", True),
        (0, "answered", False),
    ],
)
def test_what_is_called_a_failure(status: int, outcome: str, *, is_failure: bool) -> None:
    assert failed(Timeline(request_id="r", status=status, outcome=outcome)) == is_failure
