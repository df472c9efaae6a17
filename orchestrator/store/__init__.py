"""What must survive: asynchronous requests, their results and webhooks, signing keys, timelines.

`Store` is the way in; `records` says what goes in and comes out. Behind it is one
Redis (6.2 or newer) or Valkey server, or the private one of `embedded`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.store.connection import Connection
from orchestrator.store.deliveries import Deliveries
from orchestrator.store.news import Event, News
from orchestrator.store.records import Retention
from orchestrator.store.requests import Requests
from orchestrator.store.signing_keys import SigningKeys
from orchestrator.store.suitability import concerns
from orchestrator.store.timelines import Timelines

if TYPE_CHECKING:
    from orchestrator.telemetry.instruments import Registry
    from orchestrator.telemetry.settings import TelemetrySettings

__all__ = [
    "Deliveries",
    "Event",
    "News",
    "Requests",
    "Retention",
    "SigningKeys",
    "Store",
    "Timelines",
]


class Store:
    """One process's way to the store. Belongs to the event loop that it is first used in.

    Attributes:
        requests: asynchronous requests.
        deliveries: their webhooks, delivery logs and dead letters.
        signing_keys: what webhooks are signed with.
        timelines: of requests that are worth a look later.
        news: what has just changed.
    """

    def __init__(
        self,
        connection: Connection,
        retention: Retention,
        telemetry: TelemetrySettings | None = None,
    ) -> None:
        self._connection = connection
        self.requests = Requests(connection, retention)
        self.deliveries = Deliveries(connection, retention)
        self.signing_keys = SigningKeys(connection)
        self.timelines = Timelines(connection, telemetry)
        self.news = News(connection)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        retention: Retention | None = None,
        telemetry: TelemetrySettings | None = None,
        registry: Registry | None = None,
        part: str = "",
    ) -> Store:
        """A store that connects when it is first used, and again whenever it has to.

        Args:
            url: `redis://`, `rediss://`, `unix:///path` or
                `redis+sentinel://user:password@host:port,host:port/master/db`.
            retention: how long what has ended is kept.
            telemetry: how many timelines are kept, and for how long.
            registry: where calls are measured; None: nowhere that is told.
            part: of the system, as metrics name it.

        Raises:
            ValueError: the address is none of these.
        """
        return cls(Connection(url, registry, part), retention or Retention(), telemetry)

    async def ping(self) -> None:
        """Asks the server for an answer.

        Raises:
            StoreUnreachable: there was none.
        """
        await self._connection.command("PING")

    async def concerns(self) -> list[str]:
        """What about the server would lose accepted requests, in sentences; empty: nothing shows.

        Raises:
            StoreUnreachable: it did not answer.
        """
        return concerns((await self._connection.command("INFO")).decode(errors="replace"))

    async def close(self) -> None:
        """Ends all connections; calls that are under way fail."""
        await self.news.close()
        await self._connection.close()
