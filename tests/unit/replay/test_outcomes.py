"""What a caller can tell is what the router knew."""

from __future__ import annotations

import json

import pytest

from orchestrator.lifecycle import errors
from orchestrator.lifecycle.request import Outcome
from orchestrator.lifecycle.request import outcome_of as known_outcome_of
from orchestrator.replay.outcomes import async_outcome_of, outcome_of
from orchestrator.router.responses import Shape, error_answer

ERRORS = [
    (errors.BadRequest("max_tokens", "too many"), 0),
    (errors.Unauthorized(), 0),
    (errors.Forbidden("the scope `inference`"), 0),
    (errors.UnknownModel("m", ["n"]), 0),
    (errors.UnknownEnvironment("m", "e", []), 0),
    (errors.UnknownAddress("/nowhere"), 0),
    (errors.MethodNotAllowed("GET", ["POST"]), 0),
    (errors.PayloadTooLarge(10, 11), 0),
    (errors.QueueFull(1.0), 0),
    (errors.NoFreeSlot(1.0), 0),
    (errors.AsyncQueueFull("10 open requests", 1.0), 0),
    (errors.IdempotencyConflict(), 0),
    (errors.Draining("the router"), 0),
    (errors.StoreUnreachable("refused"), 0),
    (errors.NoStore("none"), 0),
    (errors.ParkTimeout(2.0), 0),
    (errors.EnvironmentUnhealthy("it does not load", ["line"], 1.0), 0),
    (errors.ReplicaLost(2, "connection refused"), 2),
    (errors.PredictTimeout(1.0), 1),
    (errors.FirstByteTimeout(1.0), 1),
    (errors.DeadlineExceeded("Request-Timeout-Ms", 0), 0),
    (errors.DeadlineExceeded("Request-Timeout-Ms", 1), 1),
    (RuntimeError("nobody foresaw"), 1),
]


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize(("error", "attempts"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_of_the_router_is_recognised(error, attempts, shape):
    answer = error_answer(error, b"some-id", shape)
    found = outcome_of(answer.status, json.loads(answer.body), from_a_router=True)
    assert found is known_outcome_of(error, attempts)


def test_a_queue_that_does_not_answer_looks_like_a_router_that_is_going():
    answer = error_answer(errors.QueueUnreachable("m.production"), b"some-id")
    found = outcome_of(answer.status, json.loads(answer.body), from_a_router=True)
    assert found is Outcome.REJECTED_DRAINING


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, None),
        (302, None),
        (500, {"error": "the model's own"}),
        (503, {"error_code": "model_not_ready"}),  # a model that plays a router
        (422, {"error": "no such voice", "error_code": "application_error", "request_id": "x"}),
        (500, {"error": "oops", "error_code": "application_error", "request_id": "x"}),
        (404, ["no", "object"]),
        (500, None),
    ],
)
def test_what_the_model_says_is_an_answer_whatever_its_status(status, body):
    assert outcome_of(status, body, from_a_router=True) is Outcome.ANSWERED


def test_an_answer_from_before_the_routers_is_none():
    assert outcome_of(503, None, from_a_router=False) is Outcome.FAILED_INTERNAL


@pytest.mark.parametrize(
    ("status", "code", "runs", "outcome"),
    [
        ("SUCCEEDED", "", 1, Outcome.ANSWERED),
        ("WEBHOOK_FAILED", "", 1, Outcome.ANSWERED),
        ("EXPIRED", "", 0, Outcome.EVICTED_PARK_TIMEOUT),
        ("CANCELED", "", 0, Outcome.EVICTED_DEADLINE),
        ("CANCELED", "", 1, Outcome.FAILED_DEADLINE),
        ("FAILED", "MODEL_PREDICT_TIMEOUT", 3, Outcome.FAILED_TIMEOUT),
        ("FAILED", "MODEL_UNAVAILABLE", 3, Outcome.FAILED_REPLICA_LOST),
        ("FAILED", "MODEL_INVALID_INPUT", 1, Outcome.ANSWERED),
        ("FAILED", "INTERNAL_SERVER_ERROR", 3, Outcome.FAILED_INTERNAL),
        ("FAILED", "a code of tomorrow", 3, Outcome.FAILED_INTERNAL),
    ],
)
def test_how_an_asynchronous_request_ended(status, code, runs, outcome):
    assert async_outcome_of(status, code, runs=runs) is outcome
