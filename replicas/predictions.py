"""The span `predict`: a request in a replica, exported if its trace is, if it failed or was slow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.telemetry.keeping import SlowestShare
from orchestrator.telemetry.logs import current
from orchestrator.telemetry.spans import predict_span
from orchestrator.telemetry.trace_context import (
    SAMPLED,
    Ids,
    TraceContext,
    read,
    traceparent,
)
from replicas import context

if TYPE_CHECKING:
    from collections.abc import Awaitable, MutableMapping

    from orchestrator.telemetry.tracing import Tracing
    from replicas.streams import Send

CALLER_GONE = "the caller hung up before the answer was complete"


class Identity(NamedTuple):
    """Whose spans they are."""

    model: str
    environment: str
    deployment: str
    replica: str


class Prediction:
    """One request, and the way of its answer: what goes out is noted on its way to `send`.

    Attributes:
        scope: the request's; of one that is sampled, with this span as the parent of
            what the model does.
        error: sentence on what went wrong in the model; empty: nothing did.
        gone: whether the caller hung up.
    """

    __slots__ = (
        "_send",
        "began",
        "chunks",
        "error",
        "first_byte",
        "gone",
        "scope",
        "span_id",
        "started",
        "status",
        "trace",
    )

    def __init__(self, scope: MutableMapping[str, Any], send: Send) -> None:
        self.scope = scope
        self._send = send
        self.error = ""
        self.gone = False
        self.status = 0
        self.chunks = 0
        self.first_byte = 0.0
        self.trace: TraceContext | None = None
        self.span_id = b""
        self.began = 0.0
        self.started = time.perf_counter()

    def __call__(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """The ASGI `send`."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message.get("more_body") and message.get("body"):
            if not self.chunks:
                self.first_byte = time.perf_counter()
            self.chunks += 1
        elif self.chunks and message.get("body"):
            self.chunks += 1
        return self._send(message)


class Predictions:
    """Begins and ends them, all on one event loop.

    Args:
        tracing: where spans go; it is on.
        identity: whose they are.
        slowest_share: of the requests that are not sampled, 0..1, is exported for being slow.
    """

    def __init__(self, tracing: Tracing, identity: Identity, slowest_share: float) -> None:
        self._tracing = tracing
        self._who = identity._asdict()
        self._slowest = SlowestShare(slowest_share)
        self._ids = Ids()

    def begin(self, scope: MutableMapping[str, Any], send: Send) -> Prediction:
        """A request has come in; the running task serves it."""
        headers = scope["headers"]
        prediction = Prediction(scope, send)
        for name, value in headers:
            if name == b"traceparent":
                # The last of its digits holds the flag, in every version that there is.
                if value[-1:] in b"13579bdf" and (trace := _trace_of(headers)) is not None:
                    self._sample(prediction, trace)
                break
        context.enter(prediction.scope["headers"])
        return prediction

    def end(self, prediction: Prediction) -> None:
        """It has been answered, or never will be."""
        seconds = time.perf_counter() - prediction.started
        failed = prediction.status >= 500 or bool(prediction.error)
        slow = not (failed or prediction.gone) and self._slowest.slow(seconds)
        if prediction.trace is None:
            if not (failed or slow):
                return
            headers = prediction.scope["headers"]
            prediction.trace = _trace_of(headers) or TraceContext(self._ids.trace_id(), b"", 0)
            prediction.span_id = self._ids.span_id()
            prediction.began = time.time() - seconds
        self._tracing.emit([self._span(prediction, prediction.trace, seconds)])

    def _sample(self, prediction: Prediction, trace: TraceContext) -> None:
        prediction.trace = trace
        prediction.span_id = self._ids.span_id()
        prediction.began = time.time()
        own = traceparent(trace.trace_id, prediction.span_id, trace.flags | SAMPLED)
        scope = prediction.scope
        headers = [
            (name, own) if name == b"traceparent" else (name, value)
            for name, value in scope["headers"]
        ]
        prediction.scope = {**scope, "headers": headers}

    def _span(self, prediction: Prediction, trace: TraceContext, seconds: float) -> Any:
        about = current.get()
        error = prediction.error or (CALLER_GONE if prediction.gone else "")
        chunks = prediction.chunks
        return predict_span(
            trace=trace,
            span_id=prediction.span_id.decode("ascii"),
            request_id="" if about is None else about.request_id,
            **self._who,
            method=prediction.scope["method"],
            path=prediction.scope["path"],
            began=prediction.began,
            seconds=seconds,
            status=prediction.status,
            chunks=chunks,
            first_byte_s=prediction.first_byte - prediction.started if chunks else None,
            error=error,
        )


def note_error(send: Send, sentence: str) -> None:
    """What went wrong in the model, where that is traced."""
    if isinstance(send, Prediction):
        send.error = sentence


def note_gone(send: Send) -> None:
    """The caller hung up, where that is traced."""
    if isinstance(send, Prediction):
        send.gone = True


def _trace_of(headers: context.Headers) -> TraceContext | None:
    parents = [value for name, value in headers if name == b"traceparent"]
    states = [value for name, value in headers if name == b"tracestate"]
    return read(b",".join(parents) or None, b",".join(states) or None)
