"""The access log: one JSON line for each request that failed or was slow.

Successes are counted, not logged: at thousands a second a line each would cost
more than the routing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.errors import StoreUnreachable

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
) -> None:
    """Writes a line: a warning for a failure, information for one that was slow."""
    level = logging.WARNING if status >= _LOGGED_FROM else logging.INFO
    if not logger.isEnabledFor(level):
        return
    line: dict[str, Any] = {
        "request_id": request_id.decode("ascii"),
        "method": method,
        "path": path,
        "status": status,
        "seconds": round(seconds, 4),
        "queue_wait_seconds": round(life.waited_s, 4),
        "attempts": life.attempts,
        "outcome": None if life.outcome is None else life.outcome.value,
    }
    if endpoint is not None:
        line["model"] = endpoint.model
        line["environment"] = endpoint.name
    if error is not None:
        line["error"] = f"{type(error).__name__}: {error}"
    if isinstance(error, StoreUnreachable):
        line["cause"] = error.cause
    logger.log(level, "%s", msgspec.json.encode(line).decode("utf-8"))
