"""Timelines as a router holds them: encoded, for most are never looked at.

Thousands of objects of a request each would cost memory, and time whenever the
garbage collector looks through them; encoded it is one string of bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.errors import RequestError
from orchestrator.router import openai
from orchestrator.telemetry.timeline import LONGEST_PATH, LONGEST_SENTENCE, Timeline

if TYPE_CHECKING:
    from orchestrator.router.exchange import Exchange
    from orchestrator.telemetry.timeline import RequestFilter

encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(Timeline).decode

_NOT_CALLED: Final[tuple[Any, ...]] = (None, 0, 0.0, False, (), ())
_NO_TOKENS: Final[tuple[int | None, int | None]] = (None, None)

OTHERS_SHARE: Final = 10
"""Of what is neither a call nor a submission, one in so many places is kept."""

_AT_ONCE: Final = 200
"""Timelines that are decoded before others have their turn: a fifth of a millisecond."""


def fields_of(  # noqa: PLR0917 - keywords would cost a tenth more
    request: Exchange,
    source: str,
    seconds: float,
    outcome: str,
    status: int,
    error: BaseException | None,
) -> tuple[Any, ...]:
    """The values of a request's `Timeline`, in the order of its fields.

    A tuple takes half as long to make as a `Timeline`, and is as good to encode.

    Args:
        request: that ended, or is under way.
        source: name of the router.
        seconds: that it took so far.
        outcome: how it ended, or its state.
        status: as answered.
        error: what ended it; None: an answer.
    """
    head = request.head
    parent, endpoint, trail = head.trace, request.endpoint, request.trail
    parent_id = tracestate = model = environment = deployment = ""
    if parent is not None:
        parent_id = parent.parent_id.decode("ascii")
        tracestate = parent.tracestate.decode("latin-1")
    if endpoint is not None:
        model, environment = endpoint.model, endpoint.name
        deployment = endpoint.settings.deployment
    bytes_out = request.bytes_out
    called, tokens = _NOT_CALLED, _NO_TOKENS
    if trail is not None:
        bytes_out = trail.bytes_out or bytes_out
        called = (
            trail.first_byte_s,
            trail.chunks,
            trail.longest_gap_s,
            request.life.cold_start,
            trail.waits_until(seconds),
            trail.attempts_until(seconds),
        )
        if trail.answer:
            tokens = openai.tokens_of(trail.answer)
    async_id = request.async_id
    return (
        head.request_id.decode("ascii"),
        request.kind,
        source,
        request.trace_id.decode("ascii"),
        request.span_id.decode("ascii"),
        parent_id,
        tracestate,
        request.sampled,
        request.began,
        seconds,
        request.method,
        request.path[:LONGEST_PATH].decode("latin-1"),
        status,
        outcome,
        "" if error is None else _sentence(error),
        model,
        environment,
        deployment,
        request.key,
        request.bytes_in,
        bytes_out,
        *called,
        "",
        async_id,
        request.operation,
        *tokens,
        request.submit_id.decode("ascii") if async_id else "",
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
