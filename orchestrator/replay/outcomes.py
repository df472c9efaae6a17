"""How a request ended, out of what its caller was answered.

The inverse of `orchestrator.router.responses`, as far as an answer tells: that the
router is going and that the environment's queue does not answer look alike, and
both count as `rejected_draining`.
"""

from __future__ import annotations

from typing import Any, Final

from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.lifecycle.request import Outcome

FROM_A_ROUTER: Final = "x-baseten-request-id"
"""Header of every answer of a router; one without comes from something before it."""

COMES_BACK: Final = frozenset({429, 503, 529})
"""Statuses after which a caller may try again: nothing was run."""

_BY_ERROR: Final[dict[tuple[int, str], Outcome]] = {
    (400, "client_error"): Outcome.REJECTED_INVALID,
    (401, "unauthorized"): Outcome.REJECTED_UNAUTHORIZED,
    (403, "unauthorized"): Outcome.REJECTED_UNAUTHORIZED,
    (404, "client_error"): Outcome.REJECTED_NOT_FOUND,
    (404, "model_does_not_exist"): Outcome.REJECTED_NOT_FOUND,
    (405, "client_error"): Outcome.REJECTED_INVALID,
    (409, "client_error"): Outcome.REJECTED_INVALID,
    (413, "payload_too_large"): Outcome.REJECTED_TOO_LARGE,
    (429, "rate_limited"): Outcome.REJECTED_QUEUE_FULL,
    (500, "internal_error"): Outcome.FAILED_INTERNAL,
    (502, "model_unavailable"): Outcome.FAILED_REPLICA_LOST,
    (503, "internal_error"): Outcome.REJECTED_STORE_UNREACHABLE,
    (503, "model_not_ready"): Outcome.EVICTED_PARK_TIMEOUT,
    (529, "model_unavailable"): Outcome.REJECTED_NO_FREE_SLOT,
}

_BY_ASYNC_ERROR: Final[dict[str, Outcome]] = {
    # The model answered, with an error: to the caller that is an answer.
    ErrorCode.MODEL_PREDICT_ERROR: Outcome.ANSWERED,
    ErrorCode.MODEL_INVALID_INPUT: Outcome.ANSWERED,
    ErrorCode.MODEL_PREDICT_TIMEOUT: Outcome.FAILED_TIMEOUT,
    ErrorCode.MODEL_NOT_READY: Outcome.EVICTED_UNHEALTHY,
    ErrorCode.MODEL_UNAVAILABLE: Outcome.FAILED_REPLICA_LOST,
    ErrorCode.MODEL_DOES_NOT_EXIST: Outcome.REJECTED_NOT_FOUND,
}


def outcome_of(status: int, body: Any, *, from_a_router: bool) -> Outcome:
    """The outcome of a synchronous request that got a whole answer.

    Args:
        status: of HTTP.
        body: as JSON; None where it is not needed (below 400) or is no JSON.
        from_a_router: whether the answer has the header `FROM_A_ROUTER`.
    """
    if not from_a_router:
        return Outcome.FAILED_INTERNAL
    error = _error_of(body) if status >= 400 else None
    if error is None:
        return Outcome.ANSWERED  # well, or with the model's own error, passed on whole
    code, detail = error
    if (status, code) == (503, "model_unavailable"):
        return Outcome.EVICTED_UNHEALTHY if "reason" in detail else Outcome.REJECTED_DRAINING
    if (status, code) == (504, "timeout"):
        return _timeout_of(detail)
    return _BY_ERROR.get((status, code), Outcome.ANSWERED)


def async_outcome_of(status: str, error_code: str, *, runs: int) -> Outcome:
    """The outcome of an asynchronous request that has ended.

    Args:
        status: its state, in the API's words.
        error_code: of its last error; empty: none.
        runs: how often a replica was given it.
    """
    match status:
        case "SUCCEEDED" | "WEBHOOK_FAILED":
            return Outcome.ANSWERED
        case "EXPIRED":
            return Outcome.EVICTED_PARK_TIMEOUT
        case "CANCELED":
            # Only a replay's own callers cancel, at their deadlines.
            return Outcome.FAILED_DEADLINE if runs else Outcome.EVICTED_DEADLINE
        case _:
            return _BY_ASYNC_ERROR.get(error_code, Outcome.FAILED_INTERNAL)


def _timeout_of(detail: dict[str, Any]) -> Outcome:
    """Whose time was over: the caller's has a field and attempts, the environment's neither."""
    if "field" not in detail:
        return Outcome.FAILED_TIMEOUT
    return Outcome.FAILED_DEADLINE if detail.get("attempts") else Outcome.EVICTED_DEADLINE


def _error_of(body: Any) -> tuple[str, dict[str, Any]] | None:
    """Code and detail of a router's error, in either of its shapes; None: it is none."""
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("error"), dict):  # OpenAI's shape
        body = body["error"]
        code = body.get("code")
    else:
        code = body.get("error_code")
    if not isinstance(code, str) or "request_id" not in body:
        return None
    detail = body.get("detail")
    return code, detail if isinstance(detail, dict) else {}
