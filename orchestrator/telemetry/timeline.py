"""The compact record of a request: where it was, for how long, and what became of it.

Every request leaves one, sampled or not. Moments within a record are seconds since
`began`, measured on one process's monotonic clock; `began` is Unix time. What is
not known is 0, an empty text, or None where 0 would be a value.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class WaitReason(StrEnum):
    """Why a request stood in line."""

    NO_REPLICA = "no_replica"
    """No replica was there: it waited for a start."""

    NO_SLOT = "no_slot"
    """Every slot was taken."""

    RECALLED = "recalled"
    """It had had a permit: a replica turned it away, or an attempt failed."""


class KeepReason(StrEnum):
    """Why a timeline is kept longer than others, and its trace exported whatever the ratio."""

    ERROR = "error"
    RETRY = "retry"
    COLD_START = "cold_start"
    SLOW = "slow"


class Wait(msgspec.Struct, array_like=True):
    """One stay in the line.

    Attributes:
        reason: a `WaitReason`.
        at_s: when it began.
        seconds: how long it was.
        span_id: of its span, 16 hexadecimal digits.
        replica: the one whose permit ended it; empty: none did.
        cold: whether that one started meanwhile.
    """

    reason: str
    at_s: float
    seconds: float
    span_id: str
    replica: str = ""
    cold: bool = False


class Attempt(msgspec.Struct, array_like=True):
    """One time that a replica was given the request.

    Attributes:
        number: 1 is the first.
        replica: its id.
        address: its `http://host:port`.
        at_s: when it began.
        span_id: of its span, 16 hexadecimal digits: the parent of the replica's.
        sampled: whether the replica was told that the trace is exported.
        head_s: when the head of its answer was in; None: it never was.
        seconds: how long the attempt was, to the last byte from the replica.
        status: the answer's; 0: none came.
        failure: why it was not the last, or what ended it: `connection`, `status`,
            `capacity`, `stale` (an idle connection had been closed), `cut`, `timeout` (one
            of the environment's limits), `deadline` (the caller's), `gone` (the caller
            is), `drained`; empty: nothing.
        detail: a sentence on that.
    """

    number: int
    replica: str
    address: str
    at_s: float
    span_id: str
    sampled: bool = False
    head_s: float | None = None
    seconds: float = 0.0
    status: int = 0
    failure: str = ""
    detail: str = ""


class Timeline(msgspec.Struct, array_like=True, kw_only=True):
    """One HTTP request at a router, over its whole life.

    Attributes:
        request_id: as in `x-request-id`.
        kind: `call` (a model is to answer it), `submit` (it hands over an asynchronous
            request), or `other`.
        source: name of the router.
        trace_id: 32 hexadecimal digits.
        span_id: of the span `request`, 16 hexadecimal digits.
        parent_id: of the caller's span; empty: the trace began here.
        tracestate: as it is passed on.
        sampled: whether the trace was to be exported from the beginning.
        began: Unix time.
        seconds: from the head of the request to the end of the answer.
        method, path: of HTTP; a path of at most `LONGEST_PATH` characters, no query.
        status: as answered; 499: the caller had gone.
        outcome: a `lifecycle.request.Outcome`; of one that is under way its `State`.
        error: sentence, at most `LONGEST_SENTENCE` characters; empty: none.
        model, environment, deployment: what was asked for, where that was found.
        key: prefix of the API key.
        bytes_in, bytes_out: of the bodies.
        first_byte_s: when the first byte went to the caller; None: none did.
        chunks: pieces of the body that came from the replica one by one; 0: it came whole.
        longest_gap_s: between two of them.
        cold_start: whether it waited for a replica to start.
        waits, attempts: in order.
        kept: a `KeepReason`; empty: it is not.
        async_id: of the asynchronous request that it handed over.
        operation: GenAI's name of what was asked for (`chat`, ...); empty: unknown.
        input_tokens, output_tokens: as the answer's `usage` says; None: not read.
        submit_span_id: of the span `submit`, of the kind `submit`.
    """

    request_id: str
    kind: str = "other"
    source: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    tracestate: str = ""
    sampled: bool = False
    began: float = 0.0
    seconds: float = 0.0
    method: str = ""
    path: str = ""
    status: int = 0
    outcome: str = ""
    error: str = ""
    model: str = ""
    environment: str = ""
    deployment: str = ""
    key: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    first_byte_s: float | None = None
    chunks: int = 0
    longest_gap_s: float = 0.0
    cold_start: bool = False
    waits: list[Wait] = []
    attempts: list[Attempt] = []
    kept: str = ""
    async_id: str = ""
    operation: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    submit_span_id: str = ""


class Run(msgspec.Struct, array_like=True, kw_only=True):
    """One run of an asynchronous request: from its claim to the report of its end.

    The store keeps the runs of a request with it, by their attempt.

    Attributes:
        attempt: 1 is the first.
        source: name of the dispatcher.
        span_id: of the span `run`.
        began: Unix time of the claim.
        seconds: from the claim to the end of the attempt.
        waited_s: in the queue before it, since it was accepted or put back.
        cold: whether the slot was of a replica that had started meanwhile.
        wait_span_id: of the span `queue.wait`.
        tried: the attempt.
        code: an `ErrorCode`; empty: it succeeded.
        message: sentence on that.
    """

    attempt: int
    source: str
    span_id: str
    began: float
    seconds: float
    waited_s: float
    cold: bool
    wait_span_id: str
    tried: Attempt
    code: str = ""
    message: str = ""


OTHER = "other"
"""Kind of a request that neither a model is to answer nor hands one over."""

LONGEST_PATH = 256
LONGEST_SENTENCE = 300


class RequestFilter(msgspec.Struct, frozen=True):
    """Which timelines are wanted; they must fit all that is given.

    `errors`, `slow`, `cold` and `retried` name kinds: where some are given, a timeline
    must be of one of them. What operators ask themselves is left out, unless it was
    refused or asked for by its id.

    Attributes:
        request_id: that one; empty: any.
        model, environment: empty: any.
        since: Unix time; those that ended after it.
        errors: those that `failed`.
        slow_s: only those that took at least so long; None: any.
        slow: those that were kept for being slow.
        cold: those that waited for a start.
        retried: those that took more than one attempt.
        outcome: only those; empty: any.
        limit: the newest so many.
    """

    request_id: str = ""
    model: str = ""
    environment: str = ""
    since: float = 0.0
    errors: bool = False
    slow_s: float | None = None
    slow: bool = False
    cold: bool = False
    retried: bool = False
    outcome: str = ""
    limit: int = 50

    def fits(self, timeline: Timeline) -> bool:
        """Whether a timeline is wanted, the limit aside."""
        return (
            (not self.request_id or self.request_id in (timeline.request_id, timeline.async_id))
            and (not self.model or timeline.model == self.model)
            and (not self.environment or timeline.environment == self.environment)
            and timeline.began + timeline.seconds >= self.since
            and (timeline.kind != OTHER or timeline.status >= 400 or bool(self.request_id))
            and (self.slow_s is None or timeline.seconds >= self.slow_s)
            and (not self.outcome or timeline.outcome == self.outcome)
            and self._of_a_kind(timeline)
        )

    def _of_a_kind(self, timeline: Timeline) -> bool:
        if not (self.errors or self.slow or self.cold or self.retried):
            return True
        return (
            (self.errors and failed(timeline))
            or (self.slow and timeline.kept == KeepReason.SLOW)
            or (self.cold and timeline.cold_start)
            or (self.retried and len(timeline.attempts) > 1)
        )


def failed(timeline: Timeline) -> bool:
    """Whether an operator would call that request failed: not by the caller's own fault."""
    # An answer that broke off had a good status.
    return timeline.status >= 499 or timeline.outcome.startswith(("evicted", "failed"))
