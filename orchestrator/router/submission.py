"""What a caller submits to be run later: its body and headers, read and checked.

The HTTP request's own id (`x-request-id`) is that of the call that submits; the
asynchronous request gets an id of its own, which the answer's body carries.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from orchestrator.lifecycle.async_request import AttemptRules
from orchestrator.lifecycle.errors import BadRequest
from orchestrator.router.json_body import JsonBody, clipped
from orchestrator.store.keys import new_id
from orchestrator.store.records import Submission

if TYPE_CHECKING:
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.headers import RawHeaders

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
LONGEST_IDEMPOTENCY_KEY: Final = 255

_VISIBLE: Final = re.compile(rb"[!-~]{1,255}").fullmatch


class InferenceRetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How failed attempts are repeated; from one pause to the next they double."""

    max_attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    initial_delay_ms: Annotated[int, Meta(ge=0, le=10_000)] = 1000
    max_delay_ms: Annotated[int, Meta(ge=0, le=60_000)] = 5000


class AsyncPredictRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a submission."""

    model_input: msgspec.Raw
    webhook_endpoint: str | None = None
    priority: Annotated[int, Meta(ge=0, le=2)] = 0
    max_time_in_queue_seconds: Annotated[int, Meta(ge=10, le=259_200)] = 600
    inference_retry_config: InferenceRetryConfig | None = None


_body: Final = JsonBody(
    AsyncPredictRequest,
    {
        "model_input": "a JSON object is needed",
        "webhook_endpoint": "an https URL or null is needed",
        "priority": "a whole number from 0 to 2 is needed",
        "max_time_in_queue_seconds": "a whole number from 10 to 259200 is needed",
        "inference_retry_config": "a JSON object or null is needed",
        "inference_retry_config.max_attempts": "a whole number from 1 to 10 is needed",
        "inference_retry_config.initial_delay_ms": "a whole number from 0 to 10000 is needed",
        "inference_retry_config.max_delay_ms": "a whole number from 0 to 60000 is needed",
    },
)
_DEFAULT_RULES: Final = AttemptRules()


def read_body(body: bytes) -> AsyncPredictRequest:
    """Reads the body of a submission; its `model_input` is checked and not parsed.

    Raises:
        BadRequest: names the field, the rule, and what was given.
    """
    read = _body.read(body)
    if bytes(memoryview(read.model_input)[:1]) != b"{":
        raise _body.wrong("model_input", body)
    return read


def submission(  # noqa: PLR0917 - each is another part of the same request
    endpoint: Endpoint,
    read: AsyncPredictRequest,
    body: bytes,
    headers: RawHeaders,
    key: str,
    trace: tuple[str, str] = ("", ""),
) -> Submission:
    """What the store is given to accept.

    Args:
        endpoint: the environment that is to run it.
        read: the body.
        body: the same, as it came.
        headers: of the HTTP request.
        key: prefix of the caller's API key; empty: it has none.
        trace: `traceparent` and `tracestate` for whatever is done about the request.

    Raises:
        BadRequest: a header has no sensible value.
    """
    settings = endpoint.settings
    retry = read.inference_retry_config
    idempotency = _idempotency_key(headers)
    return Submission(
        request_id=new_id(endpoint.tag),
        model=endpoint.model,
        environment=endpoint.name,
        deployment=settings.deployment,
        input=bytes(read.model_input),
        key=key,
        priority=read.priority,
        aging_s=settings.asynchronous.aging_s,
        max_queue_s=float(read.max_time_in_queue_seconds),
        rules=_DEFAULT_RULES
        if retry is None
        else AttemptRules(
            retry.max_attempts, retry.initial_delay_ms / 1000, retry.max_delay_ms / 1000
        ),
        webhook=read.webhook_endpoint,
        traceparent=trace[0],
        tracestate=trace[1],
        idempotency=None if idempotency is None else _fingerprint(idempotency, key, body),
        bounds=endpoint.bounds,
    )


def _idempotency_key(headers: RawHeaders) -> bytes | None:
    given = [value for name, value in headers if name == b"idempotency-key"]
    return b", ".join(given) if given else None


def _fingerprint(idempotency_key: bytes, key: str, body: bytes) -> tuple[str, str]:
    # One that is given twice has a blank in it by now, and is refused like any other.
    if not _VISIBLE(idempotency_key):
        rule = f"1 to {LONGEST_IDEMPOTENCY_KEY} visible ASCII characters are needed, once, not "
        raise BadRequest(IDEMPOTENCY_KEY, rule + repr(clipped(idempotency_key.decode("latin-1"))))
    owned = b"%b\0%b" % (key.encode("utf-8"), idempotency_key)
    return hashlib.sha256(owned).hexdigest(), hashlib.sha256(body).hexdigest()
