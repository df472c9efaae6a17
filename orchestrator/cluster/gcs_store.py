"""The server in which Ray keeps its tables, where a cluster outlives its control service.

Ray's keys begin with `RAY<namespace>@` (see `ray._private.gcs_utils.cleanup_redis_storage`).
The namespace is the cluster's token, which no other start has: so nothing of an earlier
cluster is ever taken up again, and clusters can share a server.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.cluster.records import ClusterError
from orchestrator.config.store_address import resolved, variable_of, without_password

_ANSWER_SECONDS = 5.0
_BATCH = 1000


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One Redis or Valkey, as Ray is told of it."""

    address: str  # as redis-py takes it
    place: str  # without a password

    def variables(self, namespace: str) -> dict[str, str]:
        """Environment variables of a process that starts a head node."""
        parts = urlsplit(self.address)
        scheme = "rediss://" if parts.scheme == "rediss" else ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return {
            "RAY_REDIS_ADDRESS": f"{scheme}{host}:{parts.port}",
            "RAY_external_storage_namespace": namespace,
        }

    def credentials(self) -> dict[str, str]:
        """Arguments of `ray.init`. Ray hands a password on in a command line."""
        parts = urlsplit(self.address)
        given = {"_redis_username": parts.username, "_redis_password": parts.password}
        return {name: unquote(value) for name, value in given.items() if value}

    def client(self) -> Any:
        """A client of it that gives up soon; to be closed."""
        return redis.Redis.from_url(
            self.address,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )


def server_at(store: str, env: Mapping[str, str]) -> Server:
    """The server that `cluster.gcs_store` names.

    Raises:
        ClusterError: the environment variable that holds its address is not set.
    """
    try:
        address = resolved(store, env)
    except KeyError:
        raise ClusterError(
            f"cluster.gcs_store: environment variable {variable_of(store)} is not set"
        ) from None
    return Server(address=address, place=without_password(address))


def require(store: str | None, env: Mapping[str, str]) -> None:
    """Raise ClusterError if there is a server for Ray's tables and it does not answer."""
    if store is None:
        return
    server = server_at(store, env)
    try:
        with server.client() as client:
            client.ping()
    except redis.RedisError as error:
        raise ClusterError(
            f"cluster.gcs_store: the server at {server.place} does not answer: {error}; start it, "
            "correct the address, or set it to null for tables in memory only"
        ) from error


def forget(store: str, namespace: str, env: Mapping[str, str]) -> None:
    """Delete Ray's tables of a cluster that has ended.

    Raises:
        ClusterError: the environment variable that holds the address is not set.
        redis.RedisError: the server does not answer.
    """
    with server_at(store, env).client() as client:
        keys = list(client.scan_iter(f"RAY{namespace}@*", count=_BATCH))
        if keys:
            client.delete(*keys)
