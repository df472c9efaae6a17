"""The store's records as callers and operators see them: JSON to be encoded by msgspec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.async_request import AsyncState, shown_status
from orchestrator.webhooks.payload import embed, timestamp

if TYPE_CHECKING:
    from orchestrator.store.records import DeadLetter, Record, SigningKey, Try

_ENDED_BY_AN_ERROR: Final = (AsyncState.FAILED, AsyncState.EXPIRED)
"""In any other state, the error is that of an attempt that another one follows or followed."""


def request_in_list(record: Record) -> dict[str, Any]:
    """An asynchronous request, without its result."""
    error = record.error if record.state in _ENDED_BY_AN_ERROR else None
    return {
        "request_id": record.request_id,
        "model_id": record.model,
        "deployment_id": record.deployment,
        "environment": record.environment,
        "status": shown_status(record.state, record.webhook_status),
        "webhook_status": record.webhook_status,
        "created_at": timestamp(record.created_at),
        "status_at": timestamp(record.status_at),
        "priority": record.priority,
        "attempts": record.attempts,
        "queue_position": record.queue_position,
        "errors": [] if error is None else [{"code": error.code, "message": error.message}],
    }


def request_in_full(record: Record, data: bytes | None) -> dict[str, Any]:
    """An asynchronous request with its result.

    Args:
        record: the request.
        data: the model's answer, where it succeeded.
    """
    result = None
    if data is not None and record.result is not None:
        result = embed(data, record.result.content_type)
    return {**request_in_list(record), "result": result}


def dead_letter_in_list(letter: DeadLetter) -> dict[str, Any]:
    """A webhook that was given up, without its tries."""
    return {
        "request_id": letter.request_id,
        "model_id": letter.model,
        "environment": letter.environment,
        "webhook_endpoint": letter.url,
        "given_up_at": timestamp(letter.given_up_at),
        "reason": letter.reason,
        "attempts": len(letter.tries),
    }


def dead_letter_in_full(letter: DeadLetter) -> dict[str, Any]:
    """A webhook that was given up, with its tries."""
    return {**dead_letter_in_list(letter), "deliveries": [delivery(each) for each in letter.tries]}


def delivery(line: Try) -> dict[str, Any]:
    """A line of a delivery log."""
    return {
        "at": timestamp(line.at),
        "attempt": line.attempt,
        "status": line.status,
        "seconds": round(line.seconds, 4),
        "answer": line.answer,
        "error": line.error,
    }


def signing_key(key: SigningKey) -> dict[str, Any]:
    """A key that webhooks are signed with, without its secret."""
    return {
        "id": key.key_id,
        "created_at": timestamp(key.created_at),
        "expires_at": None if key.expires_at is None else timestamp(key.expires_at),
    }


def new_signing_key(key: SigningKey) -> dict[str, Any]:
    """A key that was just made: the only time that its secret is told."""
    return {**signing_key(key), "secret": key.secret}
