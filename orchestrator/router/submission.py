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
_PRINTABLE: Final = re.compile(rb"[ -~\t]*").fullmatch


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


def submission(
    endpoint: Endpoint, read: AsyncPredictRequest, body: bytes, headers: RawHeaders, key: str
) -> Submission:
    """What the store is given to accept.

    Args:
        endpoint: the environment that is to run it.
        read: the body.
        body: the same, as it came.
        headers: of the HTTP request.
        key: prefix of the caller's API key; empty: it has none.

    Raises:
        BadRequest: a header has no sensible value.
    """
    settings = endpoint.settings
    retry = read.inference_retry_config
    named = _named(headers)
    idempotency = named.get(b"idempotency-key")
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
        traceparent=_context(named.get(b"traceparent")),
        tracestate=_context(named.get(b"tracestate")),
        idempotency=None if idempotency is None else _fingerprint(idempotency, key, body),
        bounds=endpoint.bounds,
    )


def _named(headers: RawHeaders) -> dict[bytes, bytes]:
    named: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in {b"idempotency-key", b"traceparent", b"tracestate"}:
            named[name] = value if name not in named else b"%b, %b" % (named[name], value)
    return named


def _fingerprint(idempotency_key: bytes, key: str, body: bytes) -> tuple[str, str]:
    # One that is given twice has a blank in it by now, and is refused like any other.
    if not _VISIBLE(idempotency_key):
        rule = f"1 to {LONGEST_IDEMPOTENCY_KEY} visible ASCII characters are needed, once, not "
        raise BadRequest(IDEMPOTENCY_KEY, rule + repr(clipped(idempotency_key.decode("latin-1"))))
    owned = b"%b\0%b" % (key.encode("utf-8"), idempotency_key)
    return hashlib.sha256(owned).hexdigest(), hashlib.sha256(body).hexdigest()


def _context(value: bytes | None) -> str:
    """A trace header as it came, unless it could not go into a header again."""
    return value.decode("ascii") if value is not None and _PRINTABLE(value) else ""
