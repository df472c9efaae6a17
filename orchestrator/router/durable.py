"""What a router holds of the durable plane: the store, its results, its news.

It follows the routing table. Whatever is amiss with it concerns asynchronous
requests alone: a table with a store that cannot be opened is a table all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.errors import NoStore
from orchestrator.router.table import store_address
from orchestrator.router.waiting import Waiting
from orchestrator.store import Retention, Store
from orchestrator.store.results import ResultStore
from orchestrator.webhooks.receivers import ReceiverPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.router.table import Results, RoutingTable, Webhooks
    from orchestrator.telemetry.instruments import Registry

    _Settings = tuple[str, Results, Webhooks]

logger: Final = logging.getLogger("orchestrator.router")


class Durable:
    """The store as one routing table knows it, open until nobody uses it any more.

    Attributes:
        store: of asynchronous requests.
        results: where their larger results are.
        receivers: which webhooks may be asked for.
        waiting: callers that wait for requests to end.
    """

    def __init__(
        self, address: str, results: Results, webhooks: Webhooks, registry: Registry | None = None
    ) -> None:
        self.store = Store.open(
            address,
            retention=Retention(results.keep_s, webhooks.dead_letter_s),
            registry=registry,
            part="router",
        )
        self.results = ResultStore(results.url, results.inline_bytes)
        self.receivers = ReceiverPolicy(
            allow_http=webhooks.allow_http, allowed_networks=webhooks.allowed_networks
        )
        self.waiting = Waiting(self.store.requests, self.store.news)
        self._users = 0
        self._unused: asyncio.Event | None = None

    @contextlib.contextmanager
    def in_use(self) -> Iterator[Durable]:
        """Stays open while the block runs."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users and self._unused is not None:
                self._unused.set()

    async def retire(self) -> None:
        """Sends those home who only wait, lets the others end, and closes."""
        self.waiting.end()
        if self._users:
            self._unused = asyncio.Event()
            await self._unused.wait()
        self.results.close()
        await self.store.close()


class DurablePlane:
    """The durable plane of the newest routing table."""

    def __init__(self, registry: Registry | None = None) -> None:
        """One without a table yet; `registry` is where calls to the store are measured."""
        self._registry = registry
        self._durable: Durable | None = None
        self._settings: _Settings | None = None
        self._why_not = "this router has no routing table yet"
        self._retiring: set[asyncio.Task[None]] = set()

    def configure(self, table: RoutingTable) -> None:
        """Goes by another routing table; needs the running loop, and does no I/O."""
        try:
            address = store_address(table, os.environ)
        except ValueError as error:
            logger.error("asynchronous requests are refused: %s", error)  # noqa: TRY400
            self._replace(None, str(error))
            return
        if address is None:
            self._replace(None, "the cluster's config names no `store`")
            return
        settings = (address, table.results, table.webhooks)
        if settings == self._settings and self._durable is not None:
            self._durable.store.timelines.settings = table.telemetry
            return
        try:
            durable = Durable(*settings, self._registry)
        except ValueError:
            # Said without the error, which may have the address in it, and its password.
            why_not = "the config's `store` or `webhooks` is not valid"
            logger.error("asynchronous requests are refused: %s", why_not)  # noqa: TRY400
            self._replace(None, why_not)
            return
        durable.store.timelines.settings = table.telemetry
        self._replace(durable, "")
        self._settings = settings

    @property
    def has_store(self) -> bool:
        """Whether there is a store that could be opened; it may not answer."""
        return self._durable is not None

    @contextlib.contextmanager
    def open(self) -> Iterator[Durable]:
        """The durable plane, which stays open while the block runs; raises `NoStore`."""
        if self._durable is None:
            raise NoStore(self._why_not)
        with self._durable.in_use() as durable:
            yield durable

    def send_home(self) -> None:
        """Sends those home who only wait for a request to end."""
        if self._durable is not None:
            self._durable.waiting.end()

    async def close(self) -> None:
        """Closes, when those have ended who use it."""
        self._replace(None, "this router is shutting down")
        await asyncio.gather(*self._retiring)

    def _replace(self, durable: Durable | None, why_not: str) -> None:
        old, self._durable = self._durable, durable
        self._why_not = why_not
        self._settings = None
        if old is not None:
            task = asyncio.get_running_loop().create_task(old.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
