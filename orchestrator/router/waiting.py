"""Callers that wait for asynchronous requests to end.

However many wait, an environment's news are subscribed to once, and an event
costs one look into a dictionary.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.errors import CallerGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.router.body import Receive
    from orchestrator.store.news import Event, News
    from orchestrator.store.records import Record
    from orchestrator.store.requests import Requests

_ENDS: Final = frozenset({"ended", "canceled"})


class _Watch:
    """One caller's watch over one request: `stirred` once there may be something new."""

    __slots__ = ("gone", "stirred")

    def __init__(self) -> None:
        self.stirred = asyncio.Event()
        self.gone = False

    async def listen(self, receive: Receive) -> None:
        """Notices that the caller goes; the request has no body that matters."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.stirred.set()


class _Environment:
    """The watches over the requests of one environment, by their ids."""

    __slots__ = ("unsubscribe", "watches")

    unsubscribe: Callable[[], None]

    def __init__(self) -> None:
        self.watches: defaultdict[str, set[_Watch]] = defaultdict(set)

    def hear(self, event: Event) -> None:
        if event.kind in _ENDS:
            for watch in self.watches.get(event.request_id, ()):
                watch.stirred.set()
        elif event.kind == "reconnected":
            self.stir()

    def stir(self) -> None:
        for watches in self.watches.values():
            for watch in watches:
                watch.stirred.set()


class Waiting:
    """Those who wait at this router."""

    def __init__(self, requests: Requests, news: News) -> None:
        self._requests = requests
        self._news = news
        self._environments: dict[str, _Environment] = {}
        self._over = False

    async def until_ended(
        self, tag: str, request_id: str, deadline: float, receive: Receive
    ) -> Record | None:
        """Waits until a request has ended, and reads it.

        Args:
            tag: of its environment.
            request_id: its id.
            deadline: `time.monotonic()` value at which it is read as it is.
            receive: ASGI's, of the caller that waits.

        Returns:
            The request, ended or not; None: it is no longer kept.

        Raises:
            CallerGone: nobody waits any more.
            StoreUnreachable: the store does not answer.
        """
        with self._watch(tag, request_id) as watch:
            await self._news.ready(tag)
            listening = asyncio.get_running_loop().create_task(watch.listen(receive))
            try:
                while True:
                    # Cleared before it is read: what happens meanwhile is noticed.
                    watch.stirred.clear()
                    record = await self._requests.get(request_id)
                    left = deadline - time.monotonic()
                    if record is None or record.state.final or left <= 0 or self._over:
                        return record
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(left):
                            await watch.stirred.wait()
                    if watch.gone:
                        raise CallerGone
            finally:
                listening.cancel()

    def end(self) -> None:
        """Nobody is to wait any more: all get what there is."""
        self._over = True
        for environment in self._environments.values():
            environment.stir()

    @contextlib.contextmanager
    def _watch(self, tag: str, request_id: str) -> Iterator[_Watch]:
        environment = self._environments.get(tag)
        if environment is None:
            environment = self._environments[tag] = _Environment()
            environment.unsubscribe = self._news.subscribe(tag, environment.hear)
        watch = _Watch()
        environment.watches[request_id].add(watch)
        try:
            yield watch
        finally:
            watches = environment.watches[request_id]
            watches.discard(watch)
            if not watches:
                del environment.watches[request_id]
            if not environment.watches:
                del self._environments[tag]
                environment.unsubscribe()
