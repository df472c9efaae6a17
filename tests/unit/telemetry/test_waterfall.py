"""What a waterfall says of requests: each kind of end, cold starts, and what is under way."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.telemetry.timeline import Attempt, RequestFilter, Run, Timeline, Wait
from orchestrator.telemetry.waterfall import AsyncFacts, as_object, async_view, call_view

BEGAN = 1_790_000_000.0
NOW = BEGAN + 60.0
START: dict[str, Any] = {
    "replica": "abc",
    "deployment": "v1",
    "at": BEGAN + 3.84,
    "seconds": 3.9,
    "result": "ready",
    "reason": "",
    "stages": {"PROVISIONING": 0.04, "STARTING": 1.34, "LOADING": 2.01, "WARMING": 0.51},
}
FAILED_START = {
    **START,
    "replica": "def",
    "at": BEGAN + 6.0,
    "result": "failed",
    "reason": "CUDA out of memory",
}


def a_timeline(**fields: Any) -> Timeline:
    given: dict[str, Any] = {
        "request_id": "r-1",
        "kind": "call",
        "source": "r1",
        "trace_id": "4b" * 16,
        "began": BEGAN,
        "seconds": 0.055,
        "method": "POST",
        "path": "/models/echo/production/predict",
        "status": 200,
        "outcome": "answered",
        "model": "echo",
        "environment": "production",
        "bytes_in": 12,
        "bytes_out": 3400,
        "first_byte_s": 0.05,
    }
    return Timeline(**given | fields)


def an_attempt(number: int, replica: str, at_s: float, seconds: float, **fields: Any) -> Attempt:
    return Attempt(number, replica, "http://h:1", at_s, "bb" * 8, seconds=seconds, **fields)


def the_bars(view: dict[str, Any]) -> list[tuple[int, str, str]]:
    return [(bar["depth"], bar["name"], bar["level"]) for bar in view["bars"]]


def test_a_warm_request_ran_and_nothing_else() -> None:
    attempts = [an_attempt(1, "abc", 0.001, 0.053, head_s=0.05, status=200)]
    view = call_view(a_timeline(attempts=attempts), now=NOW)
    assert view["summary"] == "answered 200 in 55 ms: ran 53 ms on abc"
    assert the_bars(view) == [(0, "request", "ok"), (1, "attempt", "ok")]
    assert (view["level"], view["state"], view["place"], view["error"]) == ("ok", "ended", None, "")
    assert view["axis"] == [[BEGAN, BEGAN + 0.055]]


def test_a_cold_request_shows_the_start_that_it_waited_for() -> None:
    timeline = a_timeline(
        seconds=4.41,
        cold_start=True,
        waits=[Wait("no_replica", 0.001, 3.845, "", "abc", cold=True)],
        attempts=[an_attempt(1, "abc", 3.846, 0.56, status=200)],
    )
    view = call_view(timeline, starts=[FAILED_START, START], now=NOW)
    assert view["summary"] == (
        "answered 200 in 4.41 s: waited 3.85 s for replica abc to start (LOADING 2.01 s),"
        " ran 560 ms on abc"
    )
    assert the_bars(view) == [
        (0, "request", "warn"),
        (1, "queue.wait", "warn"),
        (2, "replica.start", "muted"),
        # PROVISIONING was over before the request came.
        (3, "STARTING", "muted"),
        (3, "LOADING", "muted"),
        (3, "WARMING", "muted"),
        (1, "attempt", "ok"),
    ]
    stages = [bar for bar in view["bars"] if bar["depth"] == 3]
    assert stages[0]["at"] == pytest.approx(BEGAN - 0.02)
    assert stages[-1]["at"] + stages[-1]["seconds"] == pytest.approx(START["at"])


def test_a_cold_wait_whose_start_is_no_longer_known_is_told_all_the_same() -> None:
    wait = Wait("no_replica", 0.0, 2.0, "", "gone", cold=True)
    view = call_view(
        a_timeline(seconds=2.0, cold_start=True, waits=[wait]), starts=[START], now=NOW
    )
    assert "waited 2.00 s for replica gone to start" in view["summary"]
    assert the_bars(view) == [(0, "request", "warn"), (1, "queue.wait", "warn")]


def test_a_retried_request_tells_its_attempts_in_the_order_of_time() -> None:
    timeline = a_timeline(
        seconds=1.2,
        waits=[Wait("recalled", 0.31, 0.21, "", "def")],
        attempts=[
            an_attempt(1, "abc", 0.001, 0.309, failure="connection", detail="It was reset."),
            an_attempt(2, "def", 0.52, 0.675, status=200),
        ],
    )
    view = call_view(timeline, now=NOW)
    assert view["summary"] == (
        "answered 200 in 1.20 s at attempt 2: abc was lost after 309 ms,"
        " waited 210 ms in line again, ran 675 ms on def"
    )
    assert [bar["name"] for bar in view["bars"]] == ["request", "attempt", "queue.wait", "attempt"]
    assert [bar["level"] for bar in view["bars"]] == ["warn", "warn", "warn", "ok"]
    assert view["bars"][1]["note"] == "It was reset; tried again"


def test_a_request_that_waited_in_vain_shows_the_start_that_failed_meanwhile() -> None:
    timeline = a_timeline(
        seconds=10.0,
        status=503,
        outcome="evicted_park_timeout",
        error="No replica had room within 10 s.",
        first_byte_s=None,
        waits=[Wait("no_replica", 0.001, 9.998, "")],
    )
    later = {**FAILED_START, "at": BEGAN + 30.0}
    ready = {**START, "at": BEGAN + 9.0}  # its slots went to others
    view = call_view(timeline, starts=[later, ready, FAILED_START], now=NOW)
    assert view["summary"] == (
        "gave up after 10.00 s in line, with 503: replica def did not start (CUDA out of memory)"
    )
    assert (view["level"], view["error"]) == ("error", timeline.error)
    assert the_bars(view)[:3] == [
        (0, "request", "error"),
        (1, "queue.wait", "error"),
        (2, "replica.start", "error"),
    ]
    assert [bar["process"] for bar in view["bars"][2:]] == ["replica def"] * 5


@pytest.mark.parametrize("result", ["ready", "starting"])
def test_a_request_that_waited_too_short_says_how_far_the_start_was(result: str) -> None:
    timeline = a_timeline(
        seconds=2.0,
        status=503,
        outcome="evicted_park_timeout",
        first_byte_s=None,
        waits=[Wait("no_replica", 0.0, 2.0, "")],
    )
    stages = {"STARTING": 1.0} if result == "starting" else {"STARTING": 1.0, "LOADING": 4.0}
    stages |= {"WARMING": 1.0} if result == "ready" else {}
    start = {**START, "seconds": 6.0, "at": BEGAN + 6.0, "stages": stages, "result": result}
    view = call_view(timeline, starts=[{**start, "stage": "LOADING"}], now=NOW)
    assert view["summary"].endswith("with 503: replica abc was not ready yet (LOADING)")
    assert [bar["name"] for bar in view["bars"]] == [
        *("request", "queue.wait", "replica.start", "STARTING", "LOADING"),
    ]


def test_a_caller_that_left_is_nobodys_failure() -> None:
    timeline = a_timeline(
        seconds=2.03,
        status=499,
        outcome="failed_caller_gone",
        first_byte_s=None,
        waits=[Wait("no_slot", 0.001, 0.8, "", "abc")],
        attempts=[an_attempt(1, "abc", 0.802, 1.228, failure="gone")],
    )
    view = call_view(timeline, now=NOW)
    assert view["summary"] == (
        "cancelled by the caller after 2.03 s: waited 800 ms for a slot,"
        " ran 1.23 s on abc, until the caller left"
    )
    assert {bar["level"] for bar in view["bars"]} == {"warn"}


def test_a_stream_that_broke_off_is_a_failure_whatever_its_status() -> None:
    timeline = a_timeline(
        seconds=1.31,
        outcome="failed_replica_lost",
        error="The replica failed.",
        first_byte_s=0.2,
        chunks=12,
        longest_gap_s=0.11,
        attempts=[an_attempt(1, "abc", 0.001, 1.308, head_s=0.199, status=200, failure="cut")],
    )
    view = call_view(timeline, now=NOW)
    assert view["summary"] == (
        "broke off after 1.31 s, in the middle of the answer: abc broke off, 12 chunks were out"
    )
    assert the_bars(view) == [
        (0, "request", "error"),
        (1, "attempt", "error"),
        (2, "first byte", "muted"),
        (2, "stream", "muted"),
    ]
    assert view["bars"][3]["note"] == "12 chunks, longest gap 110 ms"
    assert RequestFilter(errors=True).fits(timeline)


def test_what_callers_do_slowly_is_told_apart() -> None:
    attempts = [an_attempt(1, "abc", 2.0, 1.0, status=200)]
    view = call_view(a_timeline(seconds=5.0, attempts=attempts), now=NOW)
    assert view["summary"] == (
        "answered 200 in 5.00 s: its body took 2.00 s to arrive, ran 1.00 s on abc,"
        " the caller took 2.00 s to read the answer"
    )
    assert [bar["name"] for bar in view["bars"]] == ["request", "body", "attempt", "answer"]


def test_an_error_of_the_model_is_said_to_be_its_own() -> None:
    attempts = [an_attempt(1, "abc", 0.0, 0.05, status=500)]
    view = call_view(a_timeline(status=500, attempts=attempts), now=NOW)
    assert view["summary"].startswith("the model answered 500 in 55 ms")
    assert the_bars(view) == [(0, "request", "error"), (1, "attempt", "error")]


@pytest.mark.parametrize(
    ("outcome", "status", "sentence", "level"),
    [
        ("rejected_queue_full", 429, "refused with 429 after 55 ms, nothing was run", "muted"),
        ("rejected_draining", 503, "refused with 503 after 55 ms, nothing was run", "error"),
        ("evicted_unhealthy", 503, "turned away with 503 after 55 ms in line", "error"),
        ("failed_timeout", 504, "failed with 504 after 55 ms", "error"),
    ],
)
def test_other_ends_say_whether_anything_was_run(
    outcome: str, status: int, sentence: str, level: str
) -> None:
    timeline = a_timeline(outcome=outcome, status=status, first_byte_s=None)
    view = call_view(timeline, now=NOW)
    assert (view["summary"], view["level"]) == (sentence, level)


@pytest.mark.parametrize("told", [True, False])
def test_a_parked_request_has_a_place_and_what_it_waits_for(told: bool) -> None:
    waits = [Wait("no_replica", 0.0, 3.2, "")] if told else []
    timeline = a_timeline(outcome="parked", status=0, seconds=0.0, first_byte_s=None, waits=waits)
    live = {"state": "parked", "since": BEGAN, "ahead": 4, "replica": "", "reason": "no_replica"}
    starting = {
        "replica": "abc",
        "at": BEGAN + 3.2,
        "seconds": 3.0,
        "result": "starting",
        "stage": "LOADING",
        "stages": {"STARTING": 1.0},
    }
    view = call_view(timeline, starts=[starting], live=live, now=BEGAN + 3.2)
    assert view["summary"] == (
        "in line for 3.20 s: no replica is there; abc is LOADING; 4 before it"
    )
    assert (view["state"], view["place"], view["outcome"]) == ("parked", {"ahead": 4}, "")
    assert view["seconds"] == pytest.approx(3.2)
    running = [bar["name"] for bar in view["bars"] if bar["seconds"] is None]
    assert running == ["request", "queue.wait", "replica.start", "LOADING"]


@pytest.mark.parametrize("told", [True, False])
def test_a_running_request_says_where_and_for_how_long(told: bool) -> None:
    timeline = a_timeline(
        outcome="running",
        status=0,
        attempts=[
            an_attempt(1, "abc", 0.0, 1.0, failure="status", status=503),
            *([an_attempt(2, "def", 1.1, 1.4)] if told else []),
        ],
    )
    live = {"state": "running", "since": BEGAN + 1.1, "ahead": None, "replica": "def"}
    view = call_view(timeline, live=live, now=BEGAN + 2.5)
    assert view["summary"] == (
        "running on def for 1.40 s; before that, abc answered 503 after 1.00 s"
    )
    assert [bar["seconds"] is None for bar in view["bars"]] == [True, False, True]


def test_other_requests_of_the_same_id_are_counted() -> None:
    assert call_view(a_timeline(), now=NOW, others=3)["others"] == 3


# Asynchronous requests.

FACTS = AsyncFacts(
    request_id="a-1",
    status="SUCCEEDED",
    created_at=BEGAN + 0.003,
    status_at=BEGAN + 6.4,
    model="echo",
    environment="production",
    webhook_status="SUCCEEDED",
    webhook_host="hooks.example.com",
    attempts=2,
    trace_id="4b" * 16,
)


def a_run(attempt: int, began: float, seconds: float, waited_s: float, **fields: Any) -> Run:
    given: dict[str, Any] = {
        "source": "d1",
        "span_id": "ee" * 8,
        "cold": False,
        "wait_span_id": "",
        "tried": an_attempt(attempt, "abc", 0.001, seconds - 0.002, status=200),
    }
    return Run(attempt=attempt, began=began, seconds=seconds, waited_s=waited_s, **given | fields)


FAILED_RUN = a_run(
    1,
    BEGAN + 3.85,
    0.41,
    3.847,
    cold=True,
    tried=an_attempt(1, "abc", 0.001, 0.4, status=500, failure="status"),
    code="MODEL_PREDICT_ERROR",
    message="division by zero",
)
LAST_RUN = a_run(2, BEGAN + 5.3, 1.1, 1.04)
TRIES: list[dict[str, Any]] = [
    {"at": BEGAN + 26.9, "attempt": 2, "status": 200, "seconds": 0.02},
    {"at": BEGAN + 6.42, "attempt": 1, "status": 503, "seconds": 0.03, "answer": "later"},
]


def test_an_asynchronous_request_is_one_waterfall_from_submission_to_webhook() -> None:
    submit = a_timeline(kind="submit", status=202, seconds=0.004, async_id="a-1")
    view = async_view(
        FACTS,
        runs=[LAST_RUN, FAILED_RUN],
        deliveries=TRIES,
        submit=submit,
        starts=[START],
        now=NOW,
    )
    assert view["summary"] == (
        "SUCCEEDED after 6.40 s: waited 4.89 s in all (3.85 s for a replica to start),"
        " attempt 1 failed (MODEL_PREDICT_ERROR), ran 1.10 s on abc, webhook delivered in 2 tries"
    )
    assert the_bars(view) == [
        (0, "request", "warn"),
        (1, "submit", "ok"),
        (1, "queue.wait", "warn"),
        (2, "replica.start", "muted"),
        (3, "STARTING", "muted"),
        (3, "LOADING", "muted"),
        (3, "WARMING", "muted"),
        (1, "run", "warn"),
        (2, "attempt", "warn"),
        (1, "queue.wait", "warn"),
        (1, "run", "ok"),
        (2, "attempt", "ok"),
        (1, "webhook.deliver", "error"),
        (1, "webhook.deliver", "ok"),
    ]
    # The 20 s until the webhook's second try are folded.
    assert view["axis"] == [
        [BEGAN, pytest.approx(BEGAN + 6.45)],
        [pytest.approx(BEGAN + 26.9), pytest.approx(BEGAN + 26.92)],
    ]
    assert [run["attempt"] for run in view["raw"]["runs"]] == [1, 2]


def test_a_failed_one_says_why_and_what_its_webhook_met() -> None:
    facts = AsyncFacts(
        request_id="a-1",
        status="FAILED",
        created_at=BEGAN,
        status_at=BEGAN + 4.3,
        webhook_status="PENDING",
        error_code="MODEL_PREDICT_ERROR",
        error_message="division by zero",
        attempts=1,
    )
    tried = [{"at": BEGAN + 5, "attempt": 1, "seconds": 0.1, "error": "it was not reached"}]
    view = async_view(facts, runs=[FAILED_RUN], deliveries=tried, now=NOW)
    assert view["error"] == "MODEL_PREDICT_ERROR: division by zero"
    assert view["summary"].endswith(
        "webhook not delivered in 1 try (it was not reached); it is to be tried again"
    )
    assert ("run", "error") in {(bar["name"], bar["level"]) for bar in view["bars"]}


def test_a_queued_one_has_a_place_and_waits_since_its_last_run() -> None:
    facts = AsyncFacts(
        request_id="a-1", status="QUEUED", created_at=BEGAN, status_at=BEGAN + 4.3,
        queue_position=12, attempts=1,
    )  # fmt: skip
    view = async_view(facts, runs=[FAILED_RUN], now=BEGAN + 5.26)
    assert view["summary"] == (
        "queued for 1.00 s: 12 before it; before that, attempt 1 failed (MODEL_PREDICT_ERROR)"
    )
    assert (view["state"], view["place"]) == ("queued", {"ahead": 12})
    assert view["bars"][-1]["name"] == "queue.wait"
    assert view["bars"][-1]["seconds"] is None
    # It is not over: no failure yet.
    assert {bar["level"] for bar in view["bars"]} == {"muted", "warn"}


def test_a_running_one_says_on_which_replica() -> None:
    facts = AsyncFacts(
        request_id="a-1", status="IN_PROGRESS", created_at=BEGAN, status_at=BEGAN + 2, attempts=1
    )
    live = {"state": "running", "since": BEGAN + 2.1, "replica": "abc", "attempt": 1}
    view = async_view(facts, live=live, now=BEGAN + 5.5)
    assert view["summary"] == "running on abc for 3.40 s"
    assert [(bar["name"], bar["seconds"]) for bar in view["bars"]] == [
        ("request", None),
        ("queue.wait", 2.0),
        ("run", None),
        ("attempt", None),
    ]


@pytest.mark.parametrize(("status", "level"), [("EXPIRED", "error"), ("CANCELED", "muted")])
def test_one_that_never_ran_shows_how_long_it_waited(status: str, level: str) -> None:
    facts = AsyncFacts(request_id="a-1", status=status, created_at=BEGAN, status_at=BEGAN + 9)
    view = async_view(facts, now=NOW)
    assert the_bars(view)[0] == (0, "request", level)
    assert view["bars"][1]["name"] == "queue.wait"
    assert view["bars"][1]["seconds"] == pytest.approx(9.0)


def test_records_become_objects_by_the_names_of_their_fields() -> None:
    told = as_object(a_timeline(waits=[Wait("no_slot", 0.0, 1.0, "s")]))
    assert told["waits"] == [
        {
            "reason": "no_slot",
            "at_s": 0.0,
            "seconds": 1.0,
            "span_id": "s",
            "replica": "",
            "cold": False,
        }
    ]


def test_kinds_of_requests_are_joined_and_other_filters_are_not() -> None:
    slow = a_timeline(kept="slow")
    failure = a_timeline(status=503, outcome="evicted_park_timeout", kept="error")
    plain = a_timeline()
    both = RequestFilter(slow=True, errors=True, model="echo")
    assert [both.fits(each) for each in (slow, failure, plain)] == [True, True, False]
    assert not RequestFilter(errors=True, model="other").fits(failure)
    assert not RequestFilter(errors=True, slow_s=1.0).fits(failure)
