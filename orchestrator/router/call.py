"""One inference request from its permit to the last byte of its answer.

The permit is released exactly once on every path: `_permit` holds it while the
call has it, and `_release` empties that. The same goes for the connection.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.errors import (
    CallerGone,
    DeadlineExceeded,
    NoFreeSlot,
    ParkTimeout,
    ReplicaLost,
    RequestError,
)
from orchestrator.lifecycle.request import Outcome
from orchestrator.lifecycle.retry import RETRIED_STATUSES, Failure, Verdict
from orchestrator.router.clock import CallClock
from orchestrator.router.connection import BodyCut, ConnectionFailed
from orchestrator.router.headers import REJECT, is_event_stream, own_headers, to_caller
from orchestrator.router.responses import error_body
from orchestrator.router.trail import CAPACITY, CONNECTION, CUT, STALE, STATUS
from orchestrator.telemetry.timeline import WaitReason

if TYPE_CHECKING:
    from orchestrator.router.body import Body
    from orchestrator.router.connection import Connection
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.exchange import Exchange
    from orchestrator.router.headers import RawHeaders
    from orchestrator.router.permits import Permit
    from orchestrator.router.responses import Shape
    from orchestrator.router.trail import Trail
    from orchestrator.router.upstream import UpstreamPool

CONNECT_S: Final = 5.0
"""How long a connection to a replica may take to be made."""

REJECTION_PAUSE_S: Final = 0.01
"""Pause after a replica turned a request away for being full; doubles up to the longest."""
LONGEST_REJECTION_PAUSE_S: Final = 0.25

_NOBODY: Final[frozenset[str]] = frozenset()


class _AttemptFailed(Exception):  # noqa: N818 - private, and never an error to a caller
    """An attempt that may be followed by another.

    Attributes:
        failure: how it failed; None: the replica had no room, so it was none.
        stale: the connection had been kept from an earlier request.
    """

    def __init__(self, failure: Failure | None, *, stale: bool = False) -> None:
        self.failure = failure
        self.stale = stale


class Call:
    """A call to one environment.

    Attributes:
        life: its state, attempts and outcome.
        trail: what it went through.
        status: of the answer that was sent, 0 before.
        first_byte_s: seconds from its start to the first byte to the caller.
    """

    __slots__ = (
        "_avoid",
        "_body",
        "_clock",
        "_connection",
        "_connection_failures",
        "_endpoint",
        "_fresh",
        "_head",
        "_method",
        "_path",
        "_permit",
        "_pool",
        "_rejections",
        "_says_id",
        "_send",
        "_sse",
        "_started",
        "_tail",
        "first_byte_s",
        "life",
        "status",
        "trail",
    )

    def __init__(
        self,
        request: Exchange,
        *,
        pool: UpstreamPool,
        endpoint: Endpoint,
        path: bytes,
        body: Body,
        deadline: tuple[float, str] | None,
        says_id: bool,
        trail: Trail,
    ) -> None:
        """An admitted call; nothing happens before `run`.

        Args:
            request: what the caller asked; its body has been read.
            pool: connections to replicas.
            endpoint: the environment.
            path: on the replica, raw, with its query.
            body: the caller's body.
            deadline: the caller's, on `time.monotonic()`, and the header that set it.
            says_id: whether `x-request-id` is ours to send.
            trail: of this call, empty.
        """
        self.life = life = request.life
        self.trail = trail
        self.status = 0
        self.first_byte_s = 0.0
        self._pool = pool
        self._endpoint = endpoint
        self._method = request.method
        self._path = path
        self._head = request.head
        self._body = body
        self._send = request.send
        self._says_id = says_id
        self._started = request.started
        self._clock = CallClock(request.receive, endpoint.settings.timeouts, deadline, life)
        self._permit: Permit | None = None
        self._connection: Connection | None = None
        self._connection_failures = 0
        self._rejections = 0
        self._avoid = _NOBODY
        self._fresh = False
        self._sse = False
        self._tail = b""

    async def run(self) -> None:
        """Runs it to its end.

        Raises:
            RequestError: it ended without a whole answer. If `life.committed`, a part
                of one is out, and `cut` is to follow; otherwise an error may be sent.
            asyncio.CancelledError: the server gave it up.
        """
        endpoint = self._endpoint
        endpoint.in_flight += 1
        self._clock.start(endpoint.first_look_s, self._started)
        error: BaseException | None = None
        try:
            await self._serve()
            self.life.end(Outcome.ANSWERED)
        except asyncio.CancelledError:
            error = reason = self._clock.absorb()
            if reason is None:
                raise
            raise reason from None
        except Exception as known:
            error = known
            raise
        finally:
            self._clock.stop()
            trail = self.trail
            if trail.running or trail.waiting is not None:
                trail.close(error, has_replicas=endpoint.permits.has_replicas)
            self._drop_connection()
            self._release()
            endpoint.leave()

    def interrupt(self, error: RequestError) -> None:
        """Ends it from outside with an error, wherever it is."""
        self._clock.strike(error)

    async def cut(self, error: RequestError, shape: Shape) -> None:
        """Breaks off an answer that has begun, so that nobody takes it for complete.

        A stream of server-sent events gets a last one with the error, in the shape
        that errors have at the address that was asked. The end without
        a last chunk is the server's doing when the application returns.
        """
        if self._sse and not isinstance(error, CallerGone):
            # Ends a line that was cut. An event that was cut becomes this one: to
            # end it here would hand half an event to the caller as a whole one.
            boundary = b"" if self._tail.endswith((b"\n", b"\r")) or not self._tail else b"\n"
            event = error_body(error, self._head.request_id, shape)
            last = b"%bevent: error\ndata: %b\n\n" % (boundary, event)
            await self._send({"type": "http.response.body", "body": last, "more_body": True})

    async def _serve(self) -> None:
        endpoint = self._endpoint
        life = self.life
        endpoint.budget.request(self._started)
        permit = endpoint.permits.try_acquire(self._body.size)
        if permit is None:
            life.park()
            there = endpoint.permits.has_replicas
            self.trail.park(WaitReason.NO_SLOT if there else WaitReason.NO_REPLICA)
            permit = await self._acquire()
        while True:
            self._hold(permit)
            life.run()
            try:
                await self._attempt(permit)
            except _AttemptFailed as failed:
                self._clock.end_attempt()
                self._drop_connection()
                permit = await self._again(permit, failed)
            else:
                return

    async def _attempt(self, permit: Permit) -> None:
        now = time.monotonic()
        left_s = self._clock.begin_attempt(now)
        traced = self.trail.tries(permit, now)
        connection = None if self._fresh else self._pool.take(permit.address)
        try:
            if connection is None:
                # Half of what is left: the other half is for another replica.
                limit_s = min(CONNECT_S, left_s / 2)
                connection = await self._pool.connect(permit.address, limit_s)
            self._connection = connection
            connection.send(
                self._request(connection, left_s, traced),
                self._body.pieces,
                self._body.size,
                head_only=self._method == "HEAD",
            )
            await connection.head_received()
        except ConnectionFailed as error:
            self.trail.ends(STALE if error.reused else CONNECTION, str(error))
            self._connection_failures += 1
            self._demand_retry(error)
            raise _AttemptFailed(Failure.CONNECTION, stale=error.reused) from None
        if connection.status in RETRIED_STATUSES:
            self._consider(connection)
        await self._deliver(connection)

    def _consider(self, connection: Connection) -> None:
        """Raises `_AttemptFailed` for an answer that calls for another attempt."""
        if connection.status == 503 and any(name == REJECT for name, _ in connection.headers):
            self.trail.ends(CAPACITY, status=connection.status)
            raise _AttemptFailed(None)
        if self._verdict(Failure.STATUS) is Verdict.RETRY:
            self.trail.ends(STATUS, status=connection.status)
            raise _AttemptFailed(Failure.STATUS)

    def _verdict(self, failure: Failure) -> Verdict:
        now = time.monotonic()
        rules = self._endpoint.rules
        verdict = rules.judge(
            failure,
            connection_failures=self._connection_failures,
            # After a status there is an answer to pass on instead of waiting in vain.
            pause_s=rules.pause_s(self.life.attempts) if failure is Failure.STATUS else 0.0,
            elapsed_s=now - self._started,
            left_s=self._clock.deadline - now,
        )
        if verdict is Verdict.RETRY and not self._endpoint.budget.spend(now):
            return Verdict.BUDGET_USED_UP
        return verdict

    def _demand_retry(self, error: ConnectionFailed) -> None:
        """Raises `ReplicaLost` if there may be no other attempt."""
        verdict = self._verdict(Failure.CONNECTION)
        if verdict is not Verdict.RETRY:
            # For this request it is over; the others are to hear of the replica all the same.
            self._release(failed=not error.reused)
            raise ReplicaLost(self.life.attempts, f"{error}; not tried again: {verdict}")

    async def _again(self, permit: Permit, failed: _AttemptFailed) -> Permit:
        """The permit for the next attempt, after the pause that is due."""
        if failed.stale:
            # The replica may only have closed a connection that idled; a new one shows.
            self._fresh = True
            return permit
        self._fresh = False
        life = self.life
        if failed.failure is None:
            life.not_run()
            pause_s = min(REJECTION_PAUSE_S * 2**self._rejections, LONGEST_REJECTION_PAUSE_S)
            self._rejections = min(self._rejections + 1, 10)
            avoid = self._avoid | {permit.replica_id}
        else:
            pause_s = self._endpoint.rules.pause_s(life.attempts)
            avoid = self._avoid = self._avoid | {permit.replica_id}
        self._release(failed=failed.failure is Failure.CONNECTION)
        life.park()
        self.trail.park(WaitReason.RECALLED)
        return await self._acquire_elsewhere(permit, avoid, pause_s)

    async def _acquire_elsewhere(
        self, last: Permit, avoid: frozenset[str], pause_s: float
    ) -> Permit:
        """A permit of another replica at once, or of any after the pause."""
        until = time.monotonic() + pause_s
        try:
            return await self._acquire(last, avoid, until)
        except (ParkTimeout, NoFreeSlot):
            # None elsewhere, so far.
            await asyncio.sleep(max(0.0, until - time.monotonic()))
        return await self._acquire(last)

    async def _acquire(
        self,
        last: Permit | None = None,
        avoid: frozenset[str] = _NOBODY,
        until: float | None = None,
    ) -> Permit:
        """Waits in line, at the place that the last permit had, or at the end."""
        endpoint = self._endpoint
        caller = self._clock.deadline
        began = time.monotonic()
        limit = began + endpoint.settings.timeouts.park_s if until is None else until
        endpoint.parked.add(self)
        try:
            return await endpoint.permits.acquire(
                deadline=min(limit, caller),
                size=self._body.size,
                avoid=avoid,
                ticket=None if last is None else last.ticket,
                owner=self,
            )
        except ParkTimeout:
            if caller <= limit:
                raise DeadlineExceeded(self._clock.deadline_field, self.life.attempts) from None
            raise
        finally:
            self.life.waited_s += time.monotonic() - began
            endpoint.parked.discard(self)

    async def _deliver(self, connection: Connection) -> None:
        trail = self.trail
        self.status = status = connection.status
        headers = to_caller(connection.headers, bodiless=status in (204, 304))
        headers += self.own_headers()
        start = {"type": "http.response.start", "status": status, "headers": headers}
        self.life.answer()
        self.first_byte_s = after_s = time.monotonic() - self._started
        trail.answers(after_s, status)
        if connection.complete:
            # All of it is here: the slot is free for the next one before this caller reads.
            body = connection.take()
            trail.whole(body)
            self._drop_connection()
            self._release()
            await self._send(start)
            await self._send({"type": "http.response.body", "body": body})
            return
        self._sse = is_event_stream(headers)
        trail.streams = all(name != b"content-length" for name, _ in headers)
        await self._send(start)
        await self._stream(connection)

    async def _stream(self, connection: Connection) -> None:
        clock = self._clock
        send = self._send
        trail = self.trail
        while True:
            clock.await_chunk()
            try:
                chunk = await connection.read()
            except BodyCut as error:
                trail.ends(CUT, str(error))
                raise ReplicaLost(self.life.attempts, str(error)) from None
            clock.chunk_came()
            trail.chunk(chunk)
            if connection.complete:
                trail.ends()
                self._drop_connection()
                self._release()
                await send({"type": "http.response.body", "body": chunk})
                return
            self._tail = chunk[-1:]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    def own_headers(self) -> RawHeaders:
        """What the router says of a call in its answer's headers."""
        return own_headers(self.life, self._head.request_id, says_id=self._says_id)

    def _request(self, connection: Connection, left_s: float, traced: bytes) -> bytes:
        """The request's head for a replica that has `left_s` seconds.

        Args:
            connection: on which it goes.
            left_s: for its `request-timeout-ms`.
            traced: headers that say where it is in a trace, as on the wire.
        """
        size = self._body.size
        has_length = size or self._method in ("POST", "PUT", "PATCH")
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b%brequest-timeout-ms: %d\r\n%b\r\n" % (
            self._method.encode("ascii"),
            self._path,
            connection.host,
            connection.proof,
            self._head.passed,
            traced,
            max(1, int(left_s * 1000)),
            b"content-length: %d\r\n" % size if has_length else b"",
        )

    def _hold(self, permit: Permit) -> None:
        if permit is not self._permit:
            self._permit = permit
            self.trail.granted(permit)
            self.life.cold_start = self.life.cold_start or permit.cold_start

    def _release(self, *, failed: bool = False) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._endpoint.permits.release(permit, failed=failed)

    def _drop_connection(self) -> None:
        """Gives the connection back if its answer is complete, else closes it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)
