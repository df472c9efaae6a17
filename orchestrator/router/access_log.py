"""The access log: one record for each request that failed or was slow.

Successes are counted, not logged: at thousands a second a line each would cost
more than the routing. The facts are fields of the record, and so of the JSON line
that Serve makes of it; the message is for people.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.telemetry.logs import LogContext, current

if TYPE_CHECKING:
    from orchestrator.lifecycle.request import RequestLife
    from orchestrator.router.endpoint import Endpoint

logger: Final = logging.getLogger("orchestrator.router.access")

SLOW_S: Final = 30.0
"""A first byte later than this is worth a line, also if all went well."""

_LOGGED_FROM: Final = 499


def concerns(status: int, first_byte_s: float) -> bool:
    """Whether a request is worth a line: the server's failure, a caller gone, or slow."""
    return status >= _LOGGED_FROM or first_byte_s >= SLOW_S


def write(
    *,
    method: str,
    path: str,
    status: int,
    seconds: float,
    request_id: bytes,
    life: RequestLife,
    endpoint: Endpoint | None,
    error: BaseException | None,
    trace_id: bytes = b"",
    span_id: bytes = b"",
) -> None:
    """Writes a record: a warning for a failure, information for one that was slow."""
    level = logging.WARNING if status >= _LOGGED_FROM else logging.INFO
    if not logger.isEnabledFor(level):
        return
    outcome = None if life.outcome is None else life.outcome.value
    fields: dict[str, Any] = {
        "method": method,
        "path": path,
        "status": status,
        "seconds": round(seconds, 4),
        "queue_wait_seconds": round(life.waited_s, 4),
        "attempts": life.attempts,
        "outcome": outcome,
    }
    if endpoint is not None:
        fields["model"] = endpoint.model
        fields["environment"] = endpoint.name
    if error is not None:
        fields["error"] = f"{type(error).__name__}: {error}"
    if isinstance(error, StoreUnreachable):
        fields["cause"] = error.cause
    ids = LogContext(request_id.decode("ascii"), trace_id.decode("ascii"), span_id.decode("ascii"))
    fields.update(ids._asdict())
    token = current.set(ids)
    try:
        logger.log(
            level,
            "%s %s: %d, %s after %.3f s",
            method,
            path,
            status,
            outcome,
            seconds,
            extra=fields,
        )
    finally:
        current.reset(token)
