"""Questions on their way to sources, and the answers that are waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from orchestrator.observatory.protocol import WATCH_S, Query

UNASKED: Final = 64
"""Questions that wait for one source to listen, at most; the oldest is given up."""

UNANSWERED: Final = 10_000
"""Questions that wait for answers, at most."""


class Inquiries:
    """See the module; used on one event loop."""

    def __init__(self) -> None:
        self._unasked: dict[str, deque[Query]] = {}
        self._listening: dict[str, asyncio.Future[None]] = {}
        self._answers: dict[int, tuple[str, asyncio.Future[bytes | None]]] = {}
        self._number = 0

    def ask(self, source_id: str, name: str, argument: bytes) -> asyncio.Future[bytes | None]:
        """Asks a source as soon as it listens; its answer, None where it has none.

        `forget` must be called when the answer is not waited for any more.
        """
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        if len(self._answers) >= UNANSWERED:
            future.set_result(None)
            return future
        self._number += 1
        self._answers[self._number] = (source_id, future)
        unasked = self._unasked.setdefault(source_id, deque(maxlen=UNASKED))
        unasked.append(Query(self._number, name, argument))
        listening = self._listening.get(source_id)
        if listening is not None and not listening.done():
            listening.set_result(None)
        return future

    def forget(self, *futures: asyncio.Future[bytes | None]) -> None:
        """These answers are not waited for any more."""
        ids = set(map(id, futures))
        for number in [n for n, (_, future) in self._answers.items() if id(future) in ids]:
            del self._answers[number]

    async def watch(self, source_id: str) -> list[Query]:
        """Questions to a source; held while there is none. A newer watch ends an older one."""
        before = self._listening.get(source_id)
        if before is not None and not before.done():
            before.set_result(None)
        if not self._unasked.get(source_id):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._listening[source_id] = future
            try:
                async with asyncio.timeout(WATCH_S):
                    await future
            except TimeoutError:
                pass
            finally:
                if self._listening.get(source_id) is future:
                    del self._listening[source_id]
        queries = self._unasked.pop(source_id, ())
        # What nobody waits for any more need not be asked.
        return [query for query in queries if query.id in self._answers]

    def answer(self, source_id: str, query_id: int, payload: bytes | None) -> None:
        """A source's answer; one that nobody waits for is dropped."""
        asked, future = self._answers.get(query_id, ("", None))
        if future is not None and asked == source_id and not future.done():
            future.set_result(payload)

    def drop(self, source_id: str) -> None:
        """A source has gone: it will not answer."""
        self._unasked.pop(source_id, None)
        for asked, future in self._answers.values():
            if asked == source_id and not future.done():
                future.set_result(None)
