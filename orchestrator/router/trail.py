"""What a call goes through, noted while it happens: its waits, its attempts, its chunks.

Moments are passed in where the caller has read the clock anyway. Nothing here
decides anything about the call.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from orchestrator.lifecycle.errors import (
    CallerGone,
    DeadlineExceeded,
    Draining,
    PredictTimeout,
    Rejected,
)
from orchestrator.telemetry.timeline import LONGEST_SENTENCE, Attempt, Wait, WaitReason
from orchestrator.telemetry.trace_context import RANDOM, SAMPLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.router.exchange import Exchange
    from orchestrator.router.measures import Measures
    from orchestrator.router.permits import Permit
    from orchestrator.telemetry.trace_context import Ids

CONNECTION: Final = "connection"
STATUS: Final = "status"
CAPACITY: Final = "capacity"
STALE: Final = "stale"
CUT: Final = "cut"
"""Values of `Attempt.failure`, where the replica is the reason."""

_FLAGS: Final = tuple(b"-%02x\r\n" % flags for flags in range(SAMPLED + RANDOM + 1))

NOT_RUN: Final = frozenset({CAPACITY, STALE})
"""Those with which no model saw the request."""

_MOST_KEPT: Final = 100
"""Attempts and waits of one request; a replica may turn it away for as long as it waits."""

_ENDED_BY: Final = (
    (PredictTimeout, "timeout"),
    (DeadlineExceeded, "deadline"),
    (CallerGone, "gone"),
    (Draining, "drained"),
)


class Trail:
    """One call's.

    The attempt that goes on, or was the last, lies in attributes: most calls have one.

    Attributes:
        waits: in order.
        waiting: the wait that goes on now.
        number: of the attempt, 1 is the first; 0: there was none.
        running: whether it goes on now.
        permit: what it runs by.
        at_s, head_s, seconds, status, failure: as `Attempt` has them.
        bytes_out: of the answer's body, as they came from the replica.
        chunks: pieces of it that came one by one.
        longest_gap_s: between two of them.
        first_byte_s: seconds from the request's head to the first byte of the answer's
            body, or to its head where there was nothing else; None: not yet.
        streams: whether the answer's length is not said beforehand.
        keeps_answer: whether somebody wants to read the answer afterwards.
        answer: body of one that came whole, where `keeps_answer`.
    """

    __slots__ = (
        "_chunk_at",
        "_detail",
        "_earlier",
        "_flags",
        "_ids",
        "_keeps",
        "_lines",
        "_measures",
        "_sent",
        "_span_id",
        "_started",
        "_trace_id",
        "answer",
        "at_s",
        "bytes_out",
        "chunks",
        "failure",
        "first_byte_s",
        "head_s",
        "keeps_answer",
        "longest_gap_s",
        "number",
        "permit",
        "running",
        "seconds",
        "status",
        "streams",
        "waiting",
        "waits",
    )

    _sent: int
    permit: Permit

    def __init__(
        self, request: Exchange, lines: bytes, ids: Ids, measures: Measures, *, keeps: bool
    ) -> None:
        """A trail without a step.

        Args:
            request: that the call is for.
            lines: the other headers of its trace for replicas, as on the wire.
            ids: for the spans.
            measures: of the environment.
            keeps: whether traces with retries and cold starts are exported in any case.
        """
        self._started = request.started
        self._trace_id = request.trace_id
        self._flags = request.flags
        self._keeps = keeps
        self._lines = lines
        self._ids = ids
        self._measures = measures
        self._span_id = request.attempt_id
        self._earlier: list[Attempt] | None = None
        self._detail = ""
        self._chunk_at = 0.0
        self.waits: list[Wait] | None = None
        self.waiting: Wait | None = None
        self.number = 0
        self.running = False
        self.at_s = 0.0
        self.head_s: float | None = None
        self.seconds = 0.0
        self.status = 0
        self.failure = ""
        self.bytes_out = 0
        self.chunks = 0
        self.longest_gap_s = 0.0
        self.first_byte_s: float | None = None
        self.streams = False
        self.keeps_answer = bool(request.sampled and request.operation)
        self.answer = b""

    # Waits

    def park(self, reason: WaitReason) -> None:
        """It gets in line."""
        span = self._ids.span_id().decode("ascii")
        self.waiting = wait = Wait(reason.value, time.monotonic() - self._started, 0.0, span)
        if self.waits is None:
            self.waits = []
        if len(self.waits) < _MOST_KEPT:
            self.waits.append(wait)

    def granted(self, permit: Permit) -> None:
        """It has a permit; nothing to note where it was at hand."""
        wait = self.waiting
        if wait is None:
            return
        self.waiting = None
        wait.seconds = time.monotonic() - self._started - wait.at_s
        wait.replica = permit.replica_id
        wait.cold = permit.cold_start
        if wait.reason != WaitReason.RECALLED:
            wait.reason = (WaitReason.NO_REPLICA if wait.cold else WaitReason.NO_SLOT).value
        if wait.cold:
            # What follows a start is looked at whatever the ratio says.
            self._sample_the_rest()

    # Attempts

    def tries(self, permit: Permit, now: float) -> bytes:
        """A replica is given the request; what to tell it of the trace, as on the wire."""
        if self.number:
            self._turn_over()
            self._span_id = self._ids.span_id()
        self.number += 1
        self.running = True
        self.permit = permit
        self.at_s = now - self._started
        self._sent = flags = self._flags
        return b"".join(
            (b"traceparent: 00-", self._trace_id, b"-", self._span_id, _FLAGS[flags], self._lines)
        )

    def answers(self, after_s: float, status: int) -> None:
        """The head of an answer that is passed on is here.

        Args:
            after_s: seconds since the request began.
            status: of the answer.
        """
        self.first_byte_s = after_s
        self.status = status
        self.head_s = self.seconds = after_s - self.at_s

    def whole(self, body: bytes) -> None:
        """All of the answer came with its head."""
        self.bytes_out = len(body)
        self.running = False
        if self.keeps_answer:
            self.answer = body

    def chunk(self, piece: bytes) -> None:
        """A piece of the answer came."""
        size = len(piece)
        if self.keeps_answer:
            self.answer = b"" if self.bytes_out else piece
        self.bytes_out += size
        if not self.streams or not size:
            return
        now = time.monotonic()
        if self.chunks:
            gap = now - self._chunk_at
            self._measures.gap.observe(gap)
            self.longest_gap_s = max(self.longest_gap_s, gap)
        else:
            self.first_byte_s = now - self._started
        self._chunk_at = now
        self.chunks += 1

    def ends(self, failure: str = "", detail: str = "", status: int = 0) -> None:
        """The attempt is over: its last byte came, or it has failed.

        Args:
            failure: as `Attempt` has it; empty: none.
            detail: a sentence on that.
            status: of an answer that is not passed on.
        """
        self.running = False
        self.seconds = time.monotonic() - self._started - self.at_s
        self.failure = failure
        self._detail = detail[:LONGEST_SENTENCE]
        self.status = self.status or status

    def close(self, error: BaseException | None, *, has_replicas: bool) -> None:
        """It is over: what still goes on ends now.

        Args:
            error: what ended it; None where that was the server, for the caller had gone.
            has_replicas: whether any replica is known to be there.
        """
        wait = self.waiting
        if wait is not None:
            self.waiting = None
            wait.seconds = time.monotonic() - self._started - wait.at_s
            if isinstance(error, Rejected) and not isinstance(error, Draining):
                # Turned away: it was never in line.
                if self.waits and self.waits[-1] is wait:
                    self.waits.pop()
            elif wait.reason != WaitReason.RECALLED:
                reason = WaitReason.NO_SLOT if has_replicas else WaitReason.NO_REPLICA
                wait.reason = reason.value
        if self.running:
            ended = (word for kind, word in _ENDED_BY if isinstance(error, kind))
            word = "gone" if error is None else next(ended, "")
            self.ends(word, "" if error is None else str(error))

    # What a timeline says

    def waits_until(self, now_s: float) -> Sequence[Wait]:
        """Its waits; one that goes on lasts until `now_s`, in seconds since the request began."""
        if self.waits is None:
            return ()
        if self.waiting is None or self.waits[-1] is not self.waiting:
            return self.waits
        return [*self.waits[:-1], replace(self.waiting, seconds=now_s - self.waiting.at_s)]

    def attempts_until(self, now_s: float) -> Sequence[Attempt | tuple[Any, ...]]:
        """Its attempts, the last one as a tuple of its fields; else as `waits_until`."""
        if not self.number:
            return ()
        last = self._fields(now_s)
        return (last,) if self._earlier is None else (*self._earlier, last)

    def outcomes(self) -> list[tuple[str, float]]:
        """Failure (empty: none) and seconds of each attempt."""
        if not self.number:
            return []
        earlier = [(each.failure, each.seconds) for each in self._earlier or ()]
        return [*earlier, (self.failure, self.seconds)]

    def _fields(self, now_s: float) -> tuple[Any, ...]:
        """Values of the last `Attempt`, in the order of its fields."""
        permit = self.permit
        return (
            self.number,
            permit.replica_id,
            permit.address,
            self.at_s,
            self._span_id.decode("ascii"),
            self._sent & SAMPLED == SAMPLED,
            self.head_s,
            now_s - self.at_s if self.running else self.seconds,
            self.status,
            self.failure,
            self._detail,
        )

    def _turn_over(self) -> None:
        """There is another attempt: the last one becomes one of the earlier ones."""
        if self._earlier is None:
            self._earlier = []
        if len(self._earlier) == _MOST_KEPT:
            del self._earlier[_MOST_KEPT // 2]
        self._earlier.append(Attempt(*self._fields(0.0)))
        if self.failure not in NOT_RUN:
            self._sample_the_rest()
        self.head_s = None
        self.status = 0
        self.failure = self._detail = ""

    def _sample_the_rest(self) -> None:
        if self._keeps:
            self._flags |= SAMPLED
