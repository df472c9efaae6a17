"""What must survive: asynchronous requests, their results and webhooks, signing keys.

`Store` is the way in; `records` says what goes in and comes out. Behind it is one
Redis (6.2 or newer) or Valkey server, or the private one of `embedded`.
"""

from __future__ import annotations

from orchestrator.store.connection import Connection
from orchestrator.store.deliveries import Deliveries
from orchestrator.store.news import Event, News
from orchestrator.store.records import Retention
from orchestrator.store.requests import Requests
from orchestrator.store.signing_keys import SigningKeys
from orchestrator.store.suitability import concerns

__all__ = ["Deliveries", "Event", "News", "Requests", "Retention", "SigningKeys", "Store"]


class Store:
    """One process's way to the store. Belongs to the event loop that it is first used in.

    Attributes:
        requests: asynchronous requests.
        deliveries: their webhooks, delivery logs and dead letters.
        signing_keys: what webhooks are signed with.
        news: what has just changed.
    """

    def __init__(self, connection: Connection, retention: Retention) -> None:
        self._connection = connection
        self.requests = Requests(connection, retention)
        self.deliveries = Deliveries(connection, retention)
        self.signing_keys = SigningKeys(connection)
        self.news = News(connection)

    @classmethod
    def open(cls, url: str, *, retention: Retention | None = None) -> Store:
        """A store that connects when it is first used, and again whenever it has to.

        Args:
            url: `redis://`, `rediss://`, `unix:///path` or
                `redis+sentinel://user:password@host:port,host:port/master/db`.
            retention: how long what has ended is kept.

        Raises:
            ValueError: the address is none of these.
        """
        return cls(Connection(url), retention or Retention())

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
