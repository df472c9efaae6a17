"""Between what scripts take and give, and records."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from orchestrator.lifecycle.async_request import (
    AsyncState,
    AttemptRules,
    ErrorCode,
    WebhookStatus,
)
from orchestrator.store.records import (
    Claim,
    DeadLetter,
    Delivery,
    Error,
    Record,
    RemainingRules,
    Result,
    Try,
)
from orchestrator.telemetry.timeline import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.store.records import Submission

SECOND: Final = 1_000_000
"""Microseconds, the unit of the scripts' moments and spans."""


class About(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a request and never changes, and what no script looks at."""

    model: str
    environment: str
    deployment: str
    max_attempts: int
    initial_delay_s: float
    max_delay_s: float
    webhook: str | None
    traceparent: str
    tracestate: str


_encode_about = msgspec.msgpack.Encoder().encode
_decode_about = msgspec.msgpack.Decoder(About).decode
_encode_try = msgspec.json.Encoder().encode
_decode_try = msgspec.json.Decoder(Try).decode
_encode_run = msgspec.msgpack.Encoder().encode
_decode_run = msgspec.msgpack.Decoder(Run).decode


def microseconds(seconds: float) -> int:
    """A span as the scripts have it."""
    return round(seconds * SECOND)


def milliseconds(seconds: float) -> int:
    """A span as expiries have it."""
    return max(1, round(seconds * 1000))


def about(submission: Submission) -> bytes:
    """What is stored of a submission in one piece."""
    rules = submission.rules
    return _encode_about(
        About(
            submission.model,
            submission.environment,
            submission.deployment,
            rules.max_attempts,
            rules.initial_delay_s,
            rules.max_delay_s,
            submission.webhook,
            submission.traceparent,
            submission.tracestate,
        )
    )


def host_of(webhook: str | None) -> str:
    """The host of a receiver, as `Deliveries.claim` leaves it out; empty: there is none."""
    return (urlsplit(webhook).hostname or "") if webhook else ""


def claim(row: Sequence[Any]) -> Claim:
    """One row of claim.lua."""
    request_id, attempt, not_run, age, waited, packed, body = row
    known = _decode_about(packed)
    return Claim(
        request_id=request_id.decode(),
        attempt=attempt,
        input=body,
        rules=RemainingRules(known.max_attempts, known.initial_delay_s, known.max_delay_s, not_run)
        if not_run
        else AttemptRules(known.max_attempts, known.initial_delay_s, known.max_delay_s),
        model=known.model,
        environment=known.environment,
        deployment=known.deployment,
        age_s=age / SECOND,
        waited_s=waited / SECOND,
        traceparent=known.traceparent,
        tracestate=known.tracestate,
    )


def record(row: Sequence[Any], runs: Sequence[bytes | None] = ()) -> Record:
    """A record as record.lua gives it, and its runs' where they were asked for."""
    (state, hook, created, status_at, attempt, not_run, priority, packed) = row[:8]
    (code, message, content_type, length, reference, _rank, data, place, request_id) = row[8:]
    known = _decode_about(packed)
    return Record(
        request_id=request_id.decode(),
        model=known.model,
        environment=known.environment,
        deployment=known.deployment,
        state=AsyncState(state.decode()),
        webhook_status=WebhookStatus(hook.decode()),
        created_at=int(created) / SECOND,
        status_at=int(status_at) / SECOND,
        priority=int(priority),
        attempts=int(attempt) - int(not_run),
        error=None if code is None else Error(ErrorCode(code.decode()), message.decode()),
        result=None if length is None else _result(content_type, length, reference, data),
        webhook=known.webhook,
        queue_position=None if place < 0 else place,
        traceparent=known.traceparent,
        tracestate=known.tracestate,
        runs=tuple(_runs(runs)),
    )


def _runs(texts: Sequence[bytes | None]) -> Iterator[Run]:
    """Those that can be read: another version may have written what this one cannot."""
    for text in texts:
        if text is not None:
            with contextlib.suppress(msgspec.DecodeError):
                yield _decode_run(text)


def run_record(run: Run | None) -> bytes:
    """A run, as it is stored; empty: there is none."""
    return b"" if run is None else _encode_run(run)


def _result(content_type: bytes, length: bytes, reference: bytes, data: bytes | None) -> Result:
    place = reference.decode() or None
    return Result(
        content_type=content_type.decode(),
        size=int(length),
        data=None if place is not None else data,
        reference=place,
    )


def delivery(row: Sequence[Any]) -> Delivery:
    """One row of delivery_claim.lua."""
    attempt, fields, run = row
    ended = record(fields, (run,))
    return Delivery(
        request_id=ended.request_id, attempt=attempt, url=ended.webhook or "", record=ended
    )


def dead_letter(row: Sequence[Any]) -> DeadLetter:
    """A dead letter as letter.lua gives it."""
    request_id, packed, moment, reason, lines = row
    known = _decode_about(packed)
    return DeadLetter(
        request_id=request_id.decode(),
        model=known.model,
        environment=known.environment,
        url=known.webhook or "",
        given_up_at=float(moment) / SECOND,
        reason=reason.decode(),
        tries=[_decode_try(line) for line in lines],
    )


def log_line(line: Try) -> bytes:
    """A line of a delivery log, as it is stored."""
    return _encode_try(line)


def log(lines: Sequence[bytes]) -> list[Try]:
    """A delivery log."""
    return [_decode_try(line) for line in lines]


def moment_before(cursor: str | None) -> str:
    """Where a list goes on, as its script has it; from the beginning where that is no cursor."""
    return f"({cursor}" if cursor and cursor.isascii() and cursor.isdecimal() else "+inf"


def cursor(moment: bytes) -> str | None:
    """What a list's script says of where it goes on, as callers hand it back."""
    return moment.decode().removeprefix("(") or None
