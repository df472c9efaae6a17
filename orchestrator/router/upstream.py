"""HTTP/1.1 to the replicas: kept-alive connections, parsed by httptools.

A client of our own and not a library's, for two reasons. It costs a quarter
(40 us of processor time per request against 160 us with aiohttp's), which is
most of what a router adds. And it passes headers as the bytes that they are.

`UpstreamPool` hands out connections; a `Connection` does one exchange at a time:

    connection = pool.take(address) or await pool.connect(address, timeout_s)
    connection.send(head, body, head_only=False)
    await connection.head_received()      # .status, .headers
    while chunk := await connection.read(): ...
    pool.give_back(connection)            # or connection.abort()

`connection.proof`, a header line, is part of every head: it shows a replica that other
machines can reach that its caller is of the cluster.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.cluster_secret import is_guarded
from orchestrator.router.connection import Connection, ConnectionFailed

if TYPE_CHECKING:
    from orchestrator.cluster_secret import ClusterSecret

IDLE_S: Final = 4.0
"""Idle connections older than this are not used: uvicorn, as many servers, closes at 5 s."""

SWEEP_S: Final = 2.0


class _Replica:
    """The idle connections to one address, newest last."""

    __slots__ = ("host", "hostname", "idle", "port", "secret")

    def __init__(self, address: str, secret: ClusterSecret | None) -> None:
        parts = urlsplit(address)
        if parts.scheme != "http" or parts.hostname is None or parts.port is None:
            raise ValueError(f"not http://host:port: {address!r}")
        self.hostname = parts.hostname
        self.port = parts.port
        self.host = parts.netloc.encode("ascii")
        self.idle: list[Connection] = []
        self.secret = secret if is_guarded(parts.hostname) else None


class UpstreamPool:
    """Connections to all replicas, used again while they are fresh.

    Not bounded: permits bound what is in flight.
    """

    def __init__(self, secret: ClusterSecret | None = None) -> None:
        """No connections yet.

        Args:
            secret: the cluster's, for replicas that other machines can reach; None: there
                is none, and none of them would answer.
        """
        self._secret = secret
        self._replicas: dict[str, _Replica] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, address: str) -> Connection | None:
        """A fresh idle connection, if there is one."""
        replica = self._replicas.get(address)
        if replica is None:
            return None
        idle = replica.idle
        while idle:
            connection = idle.pop()
            if connection.reusable and time.monotonic() - connection.idle_since < IDLE_S:
                return connection
            connection.abort()
        return None

    async def connect(self, address: str, timeout_s: float) -> Connection:
        """A new connection.

        Raises:
            ConnectionFailed: refused, unreachable, or not within `timeout_s`.
        """
        replica = self._replica(address)
        loop = asyncio.get_running_loop()
        host, secret = replica.host, replica.secret
        if secret is not None:
            secret.watch()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(address, host, secret, loop), replica.hostname, replica.port
                )
        except TimeoutError:
            raise ConnectionFailed(f"no connection within {timeout_s:.3g} s") from None
        except OSError as error:
            raise ConnectionFailed(f"it cannot be reached ({error.strerror or error})") from None
        if is_guarded(replica.hostname):
            connection.watch_link()
        return connection

    def give_back(self, connection: Connection) -> None:
        """Takes a connection back after its exchange; closes it if it cannot go on."""
        if self._closed or not connection.reusable:
            connection.abort()
            return
        replica = self._replica(connection.address)
        connection.idle_since = time.monotonic()
        replica.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Closes all idle connections; those in use close when they come back."""
        self._closed = True
        if self._secret is not None:
            self._secret.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for replica in self._replicas.values():
            for connection in replica.idle:
                connection.abort()
        self._replicas.clear()

    def _replica(self, address: str) -> _Replica:
        replica = self._replicas.get(address)
        if replica is None:
            replica = self._replicas[address] = _Replica(address, self._secret)
        return replica

    def _sweep(self) -> None:
        self._sweeper = None
        now = time.monotonic()
        for address, replica in list(self._replicas.items()):
            kept = []
            for connection in replica.idle:
                if connection.reusable and now - connection.idle_since < IDLE_S:
                    kept.append(connection)
                else:
                    connection.abort()
            replica.idle = kept
            if not kept:
                # Replicas come and go; their addresses must not pile up.
                del self._replicas[address]
        if self._replicas:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
