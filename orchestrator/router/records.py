"""Timelines as a router holds them: encoded, for most are never looked at.

Thousands of objects of a request each would cost memory, and time whenever the
garbage collector looks through them; encoded it is one string of bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from orchestrator.lifecycle.errors import RequestError
from orchestrator.router import openai
from orchestrator.telemetry.timeline import LONGEST_PATH, LONGEST_SENTENCE, Timeline

if TYPE_CHECKING:
    from orchestrator.lifecycle.request import RequestLife
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.exchange import Exchange
    from orchestrator.router.trail import Trail
    from orchestrator.telemetry.timeline import RequestFilter
    from orchestrator.telemetry.trace_context import TraceContext

encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(Timeline).decode

_make: Final = tuple.__new__
"""As a named tuple's own constructor does it, without its call in Python."""

_NOTHING: Final[tuple[Any, ...]] = (None, 0, 0.0, False, (), ())
_NO_TOKENS: Final = (None, None)

OTHERS_SHARE: Final = 10
"""Of what is neither a call nor a submission, one in so many places is kept."""

_AT_ONCE: Final = 200
"""Timelines that are decoded before others have their turn: a fifth of a millisecond."""


class Ended(NamedTuple):
    """What is left of a request that has ended, as little as its record is made of.

    Attributes:
        request_id, trace_id, span_id, method, path: raw, as the exchange has them.
        parent: where the caller was in the trace.
        kind, key, operation, async_id, submit_id, sampled, began: as the exchange has them.
        bytes_in, bytes_out: the same.
        seconds: that it took.
        status: as answered.
        error: what ended it; None: an answer.
        endpoint: the environment, where it was found.
        life: its outcome, attempts and waits; one that is under way has no outcome.
        trail: of a call.
        answer: of a call, if its tokens are to be read from it.
    """

    request_id: bytes
    trace_id: bytes
    span_id: bytes
    parent: TraceContext | None
    kind: str
    key: str
    operation: str
    async_id: str
    submit_id: bytes
    sampled: bool
    began: float
    bytes_in: int
    bytes_out: int
    method: str
    path: bytes
    seconds: float
    status: int
    error: BaseException | None
    endpoint: Endpoint | None
    life: RequestLife
    trail: Trail | None
    answer: bytes


def ended(request: Exchange, seconds: float, status: int, error: BaseException | None) -> Ended:
    """What is left of a request now."""
    head = request.head
    call = request.call
    return _make(
        Ended,
        (
            head.request_id,
            request.trace_id,
            request.span_id,
            head.trace,
            request.kind,
            request.key,
            request.operation,
            request.async_id,
            request.submit_id,
            request.sampled,
            request.began,
            request.bytes_in,
            request.bytes_out,
            request.method,
            request.path,
            seconds,
            status,
            error,
            request.endpoint,
            request.life,
            None if call is None else call.trail,
            b"" if call is None else call.answer,
        ),
    )


def fields_of(it: Ended, source: str, outcome: str) -> tuple[Any, ...]:
    """The values of a request's `Timeline`, in the order of its fields.

    A tuple takes half as long to make as a `Timeline`, and is as good to encode.

    Args:
        it: that ended, or is under way.
        source: name of the router.
        outcome: how it ended, or its state.
    """
    (
        request_id,
        trace_id,
        span_id,
        parent,
        kind,
        key,
        operation,
        async_id,
        submit_id,
        sampled,
        began,
        bytes_in,
        bytes_out,
        method,
        path,
        seconds,
        status,
        error,
        endpoint,
        life,
        trail,
        answer,
    ) = it
    parent_id = tracestate = model = environment = deployment = ""
    if parent is not None:
        parent_id = parent.parent_id.decode("ascii")
        tracestate = parent.tracestate.decode("latin-1")
    if endpoint is not None:
        model, environment = endpoint.model, endpoint.name
        deployment = endpoint.settings.deployment
    streamed = _NOTHING
    if trail is not None:
        streamed = (
            trail.first_byte_s,
            trail.chunks,
            trail.longest_gap_s,
            life.cold_start,
            trail.waits_until(seconds),
            trail.attempts_until(seconds),
        )
        bytes_out = trail.bytes_out or bytes_out
    return (
        request_id.decode("ascii"),
        kind,
        source,
        trace_id.decode("ascii"),
        span_id.decode("ascii"),
        parent_id,
        tracestate,
        sampled,
        began,
        seconds,
        method,
        path[:LONGEST_PATH].decode("latin-1"),
        status,
        outcome,
        "" if error is None else _sentence(error),
        model,
        environment,
        deployment,
        key,
        bytes_in,
        bytes_out,
        *streamed,
        "",
        async_id,
        operation,
        *(openai.tokens_of(answer) if answer else _NO_TOKENS),
        submit_id.decode("ascii") if async_id else "",
    )


class Records:
    """The last timelines of a router's requests; calls and submissions apart from all else."""

    def __init__(self, most: int) -> None:
        """Room for `most` of them, and for some others."""
        self._requests: deque[bytes] = deque(maxlen=most)
        self._others: deque[bytes] = deque(maxlen=most // OTHERS_SHARE)

    def resize(self, most: int) -> None:
        """Room for so many from now on; where there are more, the newest stay."""
        if most != self._requests.maxlen:
            self._requests = deque(self._requests, most)
            self._others = deque(self._others, most // OTHERS_SHARE)

    def add(self, record: bytes, *, other: bool) -> None:
        """Takes in one that has just ended."""
        (self._others if other else self._requests).append(record)

    async def select(self, wanted: RequestFilter) -> list[Timeline]:
        """Those that fit, newest first."""
        found: list[Timeline] = []
        for ring in (self._requests, self._others):
            fitting = 0
            for number, record in enumerate(reversed(list(ring))):
                timeline = decode(record)
                if fitting >= wanted.limit or timeline.began + timeline.seconds < wanted.since:
                    break
                if wanted.fits(timeline):
                    found.append(timeline)
                    fitting += 1
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
        found.sort(key=lambda timeline: timeline.began + timeline.seconds, reverse=True)
        return found[: max(wanted.limit, 0)]


def _sentence(error: BaseException) -> str:
    text = str(error)
    known = text if isinstance(error, RequestError) else f"{type(error).__name__}: {text}"
    return known[:LONGEST_SENTENCE]
