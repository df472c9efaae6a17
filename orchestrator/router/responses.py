"""What the router itself answers. The one place that turns errors into HTTP."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[Any], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")
CALLER_GONE_STATUS: Final = 499
"""For the log only: there is nobody to send it to."""

_PARK_RETRY_AFTER_S: Final = 5.0
"""After a park timeout: the next one may be luckier, and asking sooner would not help."""


class ErrorCode(StrEnum):
    """The `error_code` of an error body; closed."""

    TIMEOUT = "timeout"
    CLIENT_ERROR = "client_error"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_NOT_READY = "model_not_ready"
    MODEL_DOES_NOT_EXIST = "model_does_not_exist"
    RATE_LIMITED = "rate_limited"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNAUTHORIZED = "unauthorized"
    APPLICATION_ERROR = "application_error"
    INTERNAL_ERROR = "internal_error"


class Shape(StrEnum):
    """Which body an error gets."""

    OURS = "ours"
    OPENAI = "openai"


_STATUSES: Final[tuple[tuple[type[errors.RequestError], int, ErrorCode], ...]] = (
    (errors.BadRequest, 400, ErrorCode.CLIENT_ERROR),
    (errors.Unauthorized, 401, ErrorCode.UNAUTHORIZED),
    (errors.Forbidden, 403, ErrorCode.UNAUTHORIZED),
    (errors.UnknownAddress, 404, ErrorCode.CLIENT_ERROR),
    (errors.UnknownRequest, 404, ErrorCode.CLIENT_ERROR),
    (errors.NotFound, 404, ErrorCode.MODEL_DOES_NOT_EXIST),
    (errors.MethodNotAllowed, 405, ErrorCode.CLIENT_ERROR),
    (errors.PayloadTooLarge, 413, ErrorCode.PAYLOAD_TOO_LARGE),
    (errors.QueueFull, 429, ErrorCode.RATE_LIMITED),
    (errors.NoFreeSlot, 529, ErrorCode.MODEL_UNAVAILABLE),
    (errors.Draining, 503, ErrorCode.MODEL_UNAVAILABLE),
    (errors.QueueUnreachable, 503, ErrorCode.MODEL_UNAVAILABLE),
    (errors.ObservatoryUnreachable, 503, ErrorCode.INTERNAL_ERROR),
    (errors.TooManyWatchers, 429, ErrorCode.RATE_LIMITED),
    (errors.AsyncQueueFull, 429, ErrorCode.RATE_LIMITED),
    (errors.IdempotencyConflict, 409, ErrorCode.CLIENT_ERROR),
    (errors.StoreUnreachable, 503, ErrorCode.INTERNAL_ERROR),
    (errors.ParkTimeout, 503, ErrorCode.MODEL_NOT_READY),
    (errors.EnvironmentUnhealthy, 503, ErrorCode.MODEL_UNAVAILABLE),
    (errors.ReplicaLost, 502, ErrorCode.MODEL_UNAVAILABLE),
    (errors.PredictTimeout, 504, ErrorCode.TIMEOUT),
    (errors.DeadlineExceeded, 504, ErrorCode.TIMEOUT),
    (errors.CallerGone, CALLER_GONE_STATUS, ErrorCode.CLIENT_ERROR),
)

_OPENAI_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the router's own.

    Attributes:
        status: HTTP status.
        body: bytes of it.
        headers: besides the length.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def status_of(error: BaseException) -> tuple[int, ErrorCode]:
    """The HTTP status and error code of an error; 500 for one that nobody foresaw."""
    for kind, status, code in _STATUSES:
        if isinstance(error, kind):
            return status, code
    return 500, ErrorCode.INTERNAL_ERROR


def error_body(error: BaseException, request_id: bytes, shape: Shape = Shape.OURS) -> bytes:
    """The body of an error: a sentence, a code, the facts, the request's id."""
    status, code = status_of(error)
    known = isinstance(error, errors.RequestError)
    sentence = str(error) if known else "Something went wrong in the router itself."
    detail = _detail(error)
    identity = request_id.decode("ascii")
    if shape is Shape.OPENAI:
        return msgspec.json.encode(
            {
                "error": {
                    "message": sentence,
                    "type": _OPENAI_TYPES.get(status, "server_error"),
                    "param": error.field if isinstance(error, errors.BadRequest) else None,
                    "code": code.value,
                    "detail": detail,
                    "request_id": identity,
                }
            }
        )
    return msgspec.json.encode(
        {"error": sentence, "error_code": code.value, "detail": detail, "request_id": identity}
    )


def error_answer(error: BaseException, request_id: bytes, shape: Shape = Shape.OURS) -> Answer:
    """The whole response to an error."""
    status, _ = status_of(error)
    headers = [JSON]
    if isinstance(error, errors.Unauthorized):
        headers.append((b"www-authenticate", b'Bearer, Api-Key realm="models"'))
    elif isinstance(error, errors.MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode("ascii")))
    elif (seconds := _retry_after_s(error)) is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(seconds))))
    return Answer(status, error_body(error, request_id, shape), headers)


def json_answer(content: Any, status: int = 200) -> Answer:
    """A response with a JSON body."""
    return Answer(status, msgspec.json.encode(content), [JSON])


async def send_answer(
    send: Send, answer: Answer, more_headers: list[tuple[bytes, bytes]], *, head: bool = False
) -> None:
    """Sends a whole response. `head`: to a HEAD request, which gets no body."""
    length = (b"content-length", b"%d" % len(answer.body))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [*answer.headers, length, *more_headers],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else answer.body})


def _retry_after_s(error: BaseException) -> float | None:
    if isinstance(
        error,
        errors.QueueFull
        | errors.NoFreeSlot
        | errors.Draining
        | errors.QueueUnreachable
        | errors.ObservatoryUnreachable
        | errors.TooManyWatchers
        | errors.AsyncQueueFull
        | errors.StoreUnreachable
        | errors.EnvironmentUnhealthy,
    ):
        return error.retry_after_s
    return _PARK_RETRY_AFTER_S if isinstance(error, errors.ParkTimeout) else None


def _detail(error: BaseException) -> dict[str, Any]:  # noqa: C901, PLR0911 - one case a line
    match error:
        case errors.BadRequest():
            return {"field": error.field}
        case errors.UnknownModel() | errors.UnknownEnvironment() | errors.UnknownDeployment():
            return {"name": error.name, "known": list(error.known)}
        case errors.UnknownRequest():
            return {"id": error.name}
        case errors.AsyncQueueFull():
            return {"bound": error.bound}
        case errors.MethodNotAllowed():
            return {"allowed": list(error.allowed)}
        case errors.PayloadTooLarge():
            return {"limit_bytes": error.limit, "size_bytes": error.size}
        case errors.ParkTimeout():
            return {"waited_seconds": round(error.waited_s, 3)}
        case errors.EnvironmentUnhealthy():
            return {"reason": error.reason, "log_tail": list(error.log_tail)}
        case errors.ReplicaLost():
            return {"attempts": error.attempts, "cause": error.cause}
        case errors.PredictTimeout():
            return {"limit_seconds": error.limit_s}
        case errors.DeadlineExceeded():
            return {"field": error.field, "attempts": error.attempts}
        case _:
            return {}
