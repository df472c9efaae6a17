"""The list of all metrics. Exposition, dashboard, alerts and docs are made from it.

Labels are bounded: names of models and environments (as configured), and closed
sets. Nothing that a caller chooses is a label.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a metric is; the words are Prometheus'."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


SECONDS: Final = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1200.0),
)
"""Bounds of buckets, in seconds: 1-2-5 steps from what the router adds to the longest wait."""

START_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1800.0)

SHORT_SECONDS: Final = (
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.5,
    2.0,
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus has it, counters with `_total`.
        kind: what it is.
        help: one sentence.
        labels: their names.
        buckets: of a histogram.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_ENV: Final = ("model", "environment")

# Requests, as routers see them.
REQUESTS: Final = Metric(
    "orchestrator_requests_total",
    Kind.COUNTER,
    "Requests that have ended, by outcome.",
    (*_ENV, "outcome"),
)
REJECTED: Final = Metric(
    "orchestrator_rejected_total",
    Kind.COUNTER,
    "Requests that ended before their environment was found, by outcome.",
    ("outcome",),
)
SHED: Final = Metric(
    "orchestrator_shed_total",
    Kind.COUNTER,
    "Requests turned away for lack of room, by reason.",
    (*_ENV, "reason"),
)
RETRIES: Final = Metric(
    "orchestrator_retries_total",
    Kind.COUNTER,
    "Attempts that were followed by another, by what was wrong with them.",
    (*_ENV, "reason"),
)
COLD_STARTS: Final = Metric(
    "orchestrator_cold_requests_total",
    Kind.COUNTER,
    "Requests that waited for a replica to start.",
    _ENV,
)
REQUEST_SECONDS: Final = Metric(
    "orchestrator_request_seconds",
    Kind.HISTOGRAM,
    "From the head of a request to the end of its answer.",
    _ENV,
    SECONDS,
)
QUEUE_WAIT_SECONDS: Final = Metric(
    "orchestrator_queue_wait_seconds",
    Kind.HISTOGRAM,
    "In line for a slot, of requests that got one or gave up; 0 where one was at hand.",
    (*_ENV, "class"),
    SECONDS,
)
ATTEMPT_SECONDS: Final = Metric(
    "orchestrator_attempt_seconds",
    Kind.HISTOGRAM,
    "From the choice of a replica to its last byte.",
    (*_ENV, "class"),
    SECONDS,
)
FIRST_BYTE_SECONDS: Final = Metric(
    "orchestrator_time_to_first_byte_seconds",
    Kind.HISTOGRAM,
    "From the head of a request to the first byte of its answer, of streams.",
    _ENV,
    SECONDS,
)
CHUNK_GAP_SECONDS: Final = Metric(
    "orchestrator_chunk_gap_seconds",
    Kind.HISTOGRAM,
    "Between two pieces of a stream.",
    _ENV,
    SECONDS,
)

# Environments, as their queues see them.
WAITING: Final = Metric("orchestrator_waiting", Kind.GAUGE, "Requests in line.", (*_ENV, "class"))
OLDEST_WAIT: Final = Metric(
    "orchestrator_oldest_wait_seconds", Kind.GAUGE, "How long the first in line has waited.", _ENV
)
IN_FLIGHT: Final = Metric(
    "orchestrator_in_flight", Kind.GAUGE, "Requests that run on a replica.", (*_ENV, "class")
)
PERMITS: Final = Metric(
    "orchestrator_permits",
    Kind.GAUGE,
    "Permits that are out, by whether a request runs on them or one holder keeps them at hand.",
    (*_ENV, "state"),
)
SLOTS: Final = Metric(
    "orchestrator_slots", Kind.GAUGE, "Requests that the ready replicas can run at a time.", _ENV
)
REPLICAS: Final = Metric(
    "orchestrator_replicas", Kind.GAUGE, "Replicas, by stage.", (*_ENV, "stage")
)
DESIRED: Final = Metric(
    "orchestrator_desired_replicas", Kind.GAUGE, "Replicas that the autoscaler wants.", _ENV
)
UNHEALTHY: Final = Metric(
    "orchestrator_unhealthy", Kind.GAUGE, "1 while no replica can be started, else 0.", _ENV
)
STARTS: Final = Metric(
    "orchestrator_replica_starts_total",
    Kind.COUNTER,
    "Starts of replicas that have ended, by result.",
    (*_ENV, "result"),
)
START_STAGE_SECONDS: Final = Metric(
    "orchestrator_replica_start_seconds",
    Kind.HISTOGRAM,
    "Stages of starts that succeeded.",
    (*_ENV, "stage"),
    START_SECONDS,
)
DECISIONS: Final = Metric(
    "orchestrator_scale_decisions_total",
    Kind.COUNTER,
    "Changes of the number of replicas that are wanted, by direction.",
    (*_ENV, "direction"),
)

# Asynchronous requests, as routers and dispatchers see them.
ASYNC_SUBMITTED: Final = Metric(
    "orchestrator_async_submitted_total", Kind.COUNTER, "Asynchronous requests accepted.", _ENV
)
ASYNC_RUNS: Final = Metric(
    "orchestrator_async_runs_total",
    Kind.COUNTER,
    "Attempts at asynchronous requests, by their error code or `ok`.",
    (*_ENV, "code"),
)
WEBHOOKS: Final = Metric(
    "orchestrator_webhooks_total",
    Kind.COUNTER,
    "Tries to deliver webhooks, by what came of them.",
    (*_ENV, "outcome"),
)
WEBHOOK_SECONDS: Final = Metric(
    "orchestrator_webhook_seconds",
    Kind.HISTOGRAM,
    "Tries to deliver webhooks.",
    _ENV,
    SECONDS,
)

# The system itself.
STORE_SECONDS: Final = Metric(
    "orchestrator_store_seconds",
    Kind.HISTOGRAM,
    "Calls to the store, the wait for their turn included.",
    ("part", "operation"),
    SHORT_SECONDS,
)
STORE_ERRORS: Final = Metric(
    "orchestrator_store_errors_total",
    Kind.COUNTER,
    "Calls to the store that were not answered.",
    ("part",),
)
LOOP_LAG_SECONDS: Final = Metric(
    "orchestrator_event_loop_lag_seconds",
    Kind.HISTOGRAM,
    "How late a timer of the process's event loop came.",
    ("part",),
    SHORT_SECONDS,
)
SPANS: Final = Metric(
    "orchestrator_spans_total",
    Kind.COUNTER,
    "Spans, by whether they were exported, dropped (no room), or failed (refused or no answer).",
    ("part", "result"),
)
TIMELINES_LOST: Final = Metric(
    "orchestrator_timelines_lost_total",
    Kind.COUNTER,
    "Timelines that were to be kept in the store and could not be.",
    ("part",),
)
PROCESSES: Final = Metric(
    "orchestrator_processes", Kind.GAUGE, "Processes that report, by part.", ("part",)
)
BUILD_INFO: Final = Metric(
    "orchestrator_build_info", Kind.GAUGE, "1, with the version as a label.", ("version",)
)

ALL: Final[tuple[Metric, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
"""In the order of this file."""

BY_NAME: Final = {metric.name: metric for metric in ALL}

PARTS: Final = ("router", "queue", "dispatcher", "replica", "observatory")
"""What processes there are: values of the label `part`."""
