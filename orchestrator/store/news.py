"""News of environments: who subscribes hears at once of what scripts tell."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from redis.exceptions import RedisError

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store import keys
from orchestrator.store.connection import CALL_S, end, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.store.connection import Connection

log = logging.getLogger("orchestrator.store.news")

Kind = Literal["submitted", "ended", "canceled", "delivery", "reconnected"]

_QUIET_S: Final = 10.0
"""After that much silence the server is asked for a sign of life."""

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0


class Event(msgspec.Struct, frozen=True):
    """One piece of news.

    Attributes:
        kind: "submitted": this one may be run now; "canceled", "ended": this one was, or
            did; "delivery": its webhook is due, now or at a time that a look finds;
            "reconnected": news may have been missed, of anything.
        request_id: empty for "reconnected".
    """

    kind: Kind
    request_id: str = ""


class News:
    """Subscriptions, over one connection that is made and made again as needed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hearers: dict[str, list[Callable[[Event], None]]] = {}
        self._in_force: dict[str, asyncio.Event] = {}
        self._missed: set[str] = set()
        self._asked: set[str] = set()
        self._unconfirmed: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    def subscribe(self, tag: str, hear: Callable[[Event], None]) -> Callable[[], None]:
        """Lets `hear` hear of an environment, in this event loop, until the answer is called."""
        self._hearers.setdefault(tag, []).append(hear)
        self._changed.set()
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="store news")

        def unsubscribe() -> None:
            hearers = self._hearers.get(tag, [])
            if hear in hearers:
                hearers.remove(hear)
            if not hearers:
                self._hearers.pop(tag, None)
                self._changed.set()

        return unsubscribe

    async def ready(self, tag: str) -> None:
        """Waits until nothing told of an environment, which is subscribed to, is missed.

        Raises:
            StoreUnreachable: that took too long.
        """
        try:
            async with asyncio.timeout(CALL_S):
                await self._subscribed(tag).wait()
        except TimeoutError:
            raise StoreUnreachable("no subscription in time") from None

    async def close(self) -> None:
        """Tells nobody anything any more."""
        self._hearers.clear()
        if self._listening is not None:
            await end(self._listening)

    def _subscribed(self, tag: str) -> asyncio.Event:
        return self._in_force.setdefault(tag, asyncio.Event())

    async def _listen(self) -> None:
        """Connection after connection, for ever."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError, StoreUnreachable) as error:
                log.warning("news: %s; trying again", unreachable(error).cause)
            except Exception:  # whatever it was, who subscribed wants to go on hearing
                log.exception("news: trying again")
            if any(event.is_set() for event in self._in_force.values()):
                pause_s = _FIRST_PAUSE_S
            self._missed.update(self._hearers)
            for event in self._in_force.values():
                event.clear()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _listen_once(self) -> None:
        """The life of one connection; ends with the error that ends it."""
        pool = self._connection.redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        subscribing = asyncio.create_task(self._keep_subscribed(connection))
        asked = False
        try:
            while not subscribing.done():
                reply = await connection.read_response(timeout=_QUIET_S)
                if reply is not None:
                    asked = False
                    self._hear(reply)
                elif asked:
                    raise StoreUnreachable("no sign of life")
                else:
                    asked = True
                    await connection.send_command("PING", check_health=False)
            await subscribing
        finally:
            await end(subscribing)
            await connection.disconnect()
            await pool.release(connection)

    async def _keep_subscribed(self, connection: Any) -> None:
        """Tells the server what is wanted, whenever that changes."""
        self._asked, self._unconfirmed = set(), Counter()
        while True:
            self._changed.clear()
            wanted = set(self._hearers)
            new, old = wanted - self._asked, self._asked - wanted
            self._asked = wanted
            for tag in old:
                self._subscribed(tag).clear()
            self._unconfirmed.update(new)
            for verb, tags in (("SUBSCRIBE", new), ("UNSUBSCRIBE", old)):
                if tags:
                    channels = [_channel(tag) for tag in tags]
                    await connection.send_command(verb, *channels, check_health=False)
            await self._changed.wait()

    def _hear(self, reply: Any) -> None:
        match reply:
            case [b"message", channel, data]:
                kind, _, request_id = data.decode().partition(" ")
                self._tell(_tag(channel), Event(kind, request_id))
            case [b"subscribe", channel, _]:
                self._confirm(_tag(channel))
            case _:  # of other commands
                pass

    def _confirm(self, tag: str) -> None:
        self._unconfirmed[tag] -= 1
        # One who left and came again hears only from the last of the confirmations on.
        if self._unconfirmed[tag] > 0 or tag not in self._asked:
            return
        self._subscribed(tag).set()
        if tag in self._missed:
            self._missed.discard(tag)
            self._tell(tag, Event("reconnected"))

    def _tell(self, tag: str, event: Event) -> None:
        for hear in tuple(self._hearers.get(tag, ())):
            try:
                hear(event)
            except Exception:  # one that fails is no reason that others do not hear
                log.exception("news: a subscriber of %s failed", tag)


def _channel(tag: str) -> str:
    return f"{keys.prefix(tag)}news"


def _tag(channel: bytes) -> str:
    return channel.decode().partition("{")[2].partition("}")[0]
