"""The life of an asynchronous request, as a table, and what its attempts may end in.

               ┌────────── PUT_BACK (an attempt failed or its lease was lost) ──┐
               ▼                                                                │
    SUBMIT ─▶ QUEUED ── CLAIM ─▶ IN_PROGRESS ──────────────────────────────────┘
               │  │                 │   │   │
        EXPIRE │  │ CANCEL   CANCEL │   │   │ SUCCEED, FAIL
               ▼  ▼                 ▼   ▼   ▼
          EXPIRED CANCELED   CANCELED  FAILED  SUCCEEDED          (all final)

The store carries these steps out, each as one script; nothing else changes a
request's state. A final state stays: what is reported of a request is reported
once. Whether its webhook was delivered is told beside it, as `WebhookStatus`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST_RUN_S: Final = 3600.0
"""No attempt takes longer than an hour."""


class AsyncState(StrEnum):
    """Where an asynchronous request is in its life."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"

    @property
    def final(self) -> bool:
        """Whether nothing can change it any more."""
        return not ASYNC_TRANSITIONS[self]


class AsyncEvent(StrEnum):
    """What can happen to an accepted request."""

    CLAIM = "claim"
    PUT_BACK = "put back"
    SUCCEED = "succeed"
    FAIL = "fail"
    EXPIRE = "expire"
    CANCEL = "cancel"


ASYNC_TRANSITIONS: Final[dict[AsyncState, dict[AsyncEvent, AsyncState]]] = {
    AsyncState.QUEUED: {
        AsyncEvent.CLAIM: AsyncState.IN_PROGRESS,
        AsyncEvent.EXPIRE: AsyncState.EXPIRED,
        AsyncEvent.CANCEL: AsyncState.CANCELED,
    },
    AsyncState.IN_PROGRESS: {
        AsyncEvent.PUT_BACK: AsyncState.QUEUED,
        AsyncEvent.SUCCEED: AsyncState.SUCCEEDED,
        AsyncEvent.FAIL: AsyncState.FAILED,
        AsyncEvent.CANCEL: AsyncState.CANCELED,
    },
    AsyncState.SUCCEEDED: {},
    AsyncState.FAILED: {},
    AsyncState.EXPIRED: {},
    AsyncState.CANCELED: {},
}


class WebhookStatus(StrEnum):
    """What became of a request's webhook."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    NOT_PROVIDED = "NO_WEBHOOK_PROVIDED"


WEBHOOK_FAILED: Final = "WEBHOOK_FAILED"
"""What a request that succeeded is said to be once its webhook was given up."""


def shown_status(state: AsyncState, webhook: WebhookStatus) -> str:
    """The status that callers see."""
    if state is AsyncState.SUCCEEDED and webhook is WebhookStatus.FAILED:
        return WEBHOOK_FAILED
    return state.value


class ErrorCode(StrEnum):
    """Why an attempt failed, in the contract's words."""

    MODEL_NOT_READY = "MODEL_NOT_READY"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    MODEL_PREDICT_ERROR = "MODEL_PREDICT_ERROR"
    MODEL_PREDICT_TIMEOUT = "MODEL_PREDICT_TIMEOUT"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
    MODEL_INVALID_INPUT = "MODEL_INVALID_INPUT"
    MODEL_DOES_NOT_EXIST = "MODEL_DOES_NOT_EXIST"

    @property
    def retried(self) -> bool:
        """Whether another attempt may help."""
        return self not in (ErrorCode.MODEL_INVALID_INPUT, ErrorCode.MODEL_DOES_NOT_EXIST)


def error_of_status(status: int) -> ErrorCode | None:
    """What a replica's answer of this HTTP status means; None: it is a result."""
    if status < 400:
        return None
    if status in (408, 504):
        return ErrorCode.MODEL_PREDICT_TIMEOUT
    if status in (425, 429, 502, 503):
        return ErrorCode.MODEL_UNAVAILABLE
    if status < 500:
        return ErrorCode.MODEL_INVALID_INPUT
    return ErrorCode.MODEL_PREDICT_ERROR


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """A request's `inference_retry_config`.

    Attributes:
        max_attempts: runs at most, 1 to 10; a lost lease counts as one.
        initial_delay_s: pause before the second attempt.
        max_delay_s: longest pause; from one to the next they double.
    """

    max_attempts: int = 3
    initial_delay_s: float = 1.0
    max_delay_s: float = 5.0

    def pause_s(self, attempt: int) -> float:
        """Seconds between failed attempt number `attempt` (1 is the first) and the next."""
        return float(min(self.max_delay_s, self.initial_delay_s * 2 ** min(attempt - 1, 32)))

    def again(self, attempt: int, code: ErrorCode) -> bool:
        """Whether an attempt follows number `attempt`, which failed so."""
        return code.retried and attempt < self.max_attempts
