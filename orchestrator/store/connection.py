"""The one way to the store: calls of a whole process, sent in batches, each with a deadline.

While a batch is on its way, the calls that come are collected, and go together as
the next: under load one write, one read and one fsync serve many callers. A call
that comes alone goes at once.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as Unconnected
from redis.exceptions import TimeoutError as Unanswered

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store.address import CONNECT_S, REPLY_S, client_of, close_client
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.metrics import STORE_ERRORS, STORE_SECONDS

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from orchestrator.store.scripts import Script
    from orchestrator.telemetry.instruments import Histogram

CALL_S: Final = CONNECT_S + REPLY_S
"""Longest that any call takes."""

_BATCH_CALLS: Final = 256
_BATCH_BYTES: Final = 1 << 20
_WAITING_BYTES: Final = 256 << 20
# A server that is there but cannot serve says so at the start of an error or, before
# Redis 7, inside that of a script; some of these errors have a class of their own.
_REFUSALS: Final = re.compile(
    r"(?:^|[ -])(?:BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOAUTH|NOPERM|NOREPLICAS|OOM"
    r"|READONLY|TRYAGAIN|WRONGPASS)\b"
)
_REFUSAL_CLASSES: Final = (
    AskError,  # and MovedError: a cluster of several nodes, to which a proxy is needed
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
    Unconnected,  # the library makes it of LOADING and of NOAUTH
)


class _Call:
    """One command that somebody waits for."""

    def __init__(self, words: list[bytes]) -> None:
        self.words = words
        self.size = sum(map(len, words))
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, answer: Any) -> None:
        """Hands over an answer, or raises it; unless there is one, or nobody waits any more."""
        if self.answer.done():
            return
        if isinstance(answer, BaseException):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Connection:
    """Where scripts are run. Of one event loop.

    Args:
        url: as `Store.open` has it.
        registry: where its calls are measured; None: nowhere that is told.
        part: of the system, as metrics name it.

    Raises:
        ValueError: that is no address of a store.
    """

    def __init__(self, url: str, registry: Registry | None = None, part: str = "") -> None:
        self.redis: Redis = client_of(url)
        self._registry = registry or Registry()
        self._part = part
        self._seconds: dict[str, Histogram] = {}
        self._errors = self._registry.counter(STORE_ERRORS, part)
        self._waiting: deque[_Call] = deque()
        self._waiting_bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self, script: Script, key: str, *arguments: Any) -> Any:
        """Runs a script with one key, and gives its answer.

        Raises:
            StoreUnreachable: no answer, or the server cannot serve now.
        """
        try:
            return await self._call(script.name, "EVALSHA", script.digest, 1, key, *arguments)
        except NoScriptError:  # the server has not seen it since it was started
            return await self._call(script.name, "EVAL", script.source, 1, key, *arguments)

    async def command(self, *words: Any) -> Any:
        """Sends one command, of bytes, text and numbers, and gives its answer.

        Raises:
            StoreUnreachable: as for `run`.
        """
        return await self._call(str(words[0]).lower(), *words)

    async def _call(self, operation: str, *words: Any) -> Any:
        seconds = self._seconds.get(operation)
        if seconds is None:
            seconds = self._registry.histogram(STORE_SECONDS, self._part, operation)
            self._seconds[operation] = seconds
        began = time.monotonic()
        try:
            call = self._entered(words)
            async with asyncio.timeout(CALL_S):
                answer = await call.answer
        except TimeoutError:
            self._errors.value += 1
            raise StoreUnreachable(f"no answer within {CALL_S:g} s") from None
        except StoreUnreachable:
            self._errors.value += 1
            raise
        seconds.observe(time.monotonic() - began)
        return answer

    def _entered(self, words: tuple[Any, ...]) -> _Call:
        """A call that goes with the next batch."""
        if self._closed:
            raise StoreUnreachable("the connection was closed")
        call = _Call([_encoded(word) for word in words])
        if self._waiting_bytes + call.size > _WAITING_BYTES:
            raise StoreUnreachable("too much waits to be sent")
        self._waiting.append(call)
        self._waiting_bytes += call.size
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="store")
        return call

    async def close(self) -> None:
        """Ends; calls that are under way fail."""
        self._closed = True
        if self._sending is not None:
            await end(self._sending)
        for call in self._waiting:
            call.settle(StoreUnreachable("the connection was closed"))
        await close_client(self.redis)

    async def _send(self) -> None:
        """Sends batch after batch until nothing waits."""
        batch: list[_Call] = []
        try:
            while batch := self._take():
                answers = await self._exchange(batch)
                for call, answer in zip(batch, answers, strict=True):
                    call.settle(answer)
        finally:
            self._sending = None
            for call in batch:  # that were not answered
                call.settle(StoreUnreachable("the call was broken off"))

    def _take(self) -> list[_Call]:
        """The calls that go next; those that nobody waits for any more are left out."""
        batch: list[_Call] = []
        size = 0
        while self._waiting and len(batch) < _BATCH_CALLS and size < _BATCH_BYTES:
            call = self._waiting.popleft()
            self._waiting_bytes -= call.size
            if not call.answer.done():
                batch.append(call)
                size += call.size
        return batch

    async def _exchange(self, batch: list[_Call]) -> list[Any]:
        """An answer or an error for each call."""
        pipeline = self.redis.pipeline(transaction=False)
        for call in batch:
            pipeline.execute_command(*call.words)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            return [unreachable(error) for _ in batch]
        answers = [_meant(answer) for answer in answers]
        if any(isinstance(answer, StoreUnreachable) for answer in answers):
            # It may be the wrong server by now: the next batch looks for the right one.
            await self.redis.connection_pool.disconnect(inuse_connections=False)
        return answers


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a task until it has ended, however that ends.

    Once is not enough: of a cancellation that comes in the moment in which it has its
    answer, `asyncio.wait_for` says nothing before Python 3.12, and redis-py sends with it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
    if not task.cancelled():
        task.exception()  # so that nobody is told that nobody asked


def _encoded(word: Any) -> bytes:
    # Text is a caller's or a model's: what is no Unicode in it must not fail a whole batch.
    return word if isinstance(word, bytes) else str(word).encode(errors="replace")


def _meant(answer: Any) -> Any:
    """An answer as it is, but a refusal to serve as what it means to callers."""
    if isinstance(answer, _REFUSAL_CLASSES) or (
        isinstance(answer, ResponseError) and _REFUSALS.search(str(answer))
    ):
        return StoreUnreachable(f"the server said: {answer}")
    return answer


def unreachable(error: Exception) -> StoreUnreachable:
    """What callers are told of a failure; without the address, which may hold a password."""
    match error:
        case StoreUnreachable():
            return error
        case Unanswered() | TimeoutError():
            return StoreUnreachable(f"no answer within {REPLY_S:g} s")
        case Unconnected() | OSError():
            return StoreUnreachable(f"no connection: {_reason(error)}")
        case _:
            return StoreUnreachable(type(error).__name__)


def _reason(error: BaseException) -> str:
    """What the operating system, or TLS, said at the root of an error; never where that was."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        found = found.__cause__ or found.__context__
    return type(error).__name__
