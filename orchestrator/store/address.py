"""From an address to the redis-py client that connects there; nothing is said or sent yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Unconnected

from orchestrator.lost_links import KEEP_ALIVE

if TYPE_CHECKING:
    from urllib.parse import SplitResult

CONNECT_S: Final = 1.0
REPLY_S: Final = 5.0
_CONNECTIONS: Final = 8
_SENTINEL: Final = "redis+sentinel"
_SENTINEL_TLS: Final = "rediss+sentinel"
# What may follow the `?` of an address: how the server is trusted and who asks.
_TRUST: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"})
_QUERY: Final = _TRUST | {"db", "username", "password"}
_SENTINEL_PORT: Final = 26379

# A server that vanished is noticed by idle connections too, such as those that hear news.
_KEPT_ALIVE: Final[dict[str, Any]] = {
    "socket_keepalive": True,
    "socket_keepalive_options": KEEP_ALIVE,
}

_RULE: Final = (
    "the store's address must be redis://, rediss://, unix://, redis+sentinel:// or "
    f"rediss+sentinel://, with no other settings than {', '.join(sorted(_QUERY))}; with Sentinel, "
    f"than {', '.join(sorted(_TRUST))}, and these with TLS"
)


def client_of(url: str) -> Redis:
    """A client of the server at `url`, with bounded time and a bounded number of connections.

    Raises:
        ValueError: that is no address of a store; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in (_SENTINEL, _SENTINEL_TLS):
            return _master(parts)
        place: dict[str, Any] = {**parse_url(url)}
    except ValueError:
        raise ValueError(_RULE) from None
    if not parse_qs(parts.query).keys() <= _QUERY:
        raise ValueError(_RULE)
    if parts.scheme != "unix":
        place |= _KEPT_ALIVE
    return Redis.from_pool(
        BlockingConnectionPool(
            max_connections=_CONNECTIONS, timeout=CONNECT_S, **place, **_bounds()
        )
    )


async def close_client(client: Redis) -> None:
    """Ends all connections of a client, those to Sentinels too."""
    pool = client.connection_pool
    await client.aclose()
    await pool.disconnect()
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _bounds() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": REPLY_S,
        # A connection that was idle while the server was restarted fails at its first
        # use; scripts bear being asked twice. A server that is silent is not asked again.
        "retry": Retry(NoBackoff(), 1, supported_errors=(Unconnected,)),
        "protocol": 2,
        "decode_responses": False,
        "driver_info": None,
    }


def _master(parts: SplitResult) -> Redis:
    """`redis+sentinel://user:password@host:port,host:port/master/db`; the user is the master's.

    With `rediss+sentinel`, Sentinels and master are asked with TLS, and trusted alike.
    """
    encrypted = parts.scheme == _SENTINEL_TLS
    trust = {name: said[-1] for name, said in parse_qs(parts.query, keep_blank_values=True).items()}
    if not trust.keys() <= (_TRUST if encrypted else set()):
        raise ValueError
    tls: dict[str, Any] = {"ssl": True, **trust} if encrypted else {}
    user, _, places = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not places:
        raise ValueError
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_host_and_port(place) for place in places.split(",")],
        sentinel_kwargs=_bounds() | _KEPT_ALIVE | tls,
        **_bounds(),
        **_KEPT_ALIVE,
        **tls,
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=int(database or 0),
    )
    master: Redis = sentinel.master_for(service, redis_class=Redis)
    return master


def _host_and_port(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or _SENTINEL_PORT
