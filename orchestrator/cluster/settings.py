"""The settings of Ray Serve that a local cluster runs with, and its ports.

Ray Serve reads these from the environment when it is imported, in every process
of the cluster and in every driver that talks to it. Whatever two clusters on one
machine would share by default (ports, HAProxy's files and sockets) is given to
each cluster as its own.
"""

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from orchestrator.cluster.records import ClusterError, ClusterRecord

TOKEN_VARIABLE = "ORCHESTRATOR_CLUSTER_TOKEN"  # noqa: S105  # an identity, not a secret

# Each ingress replica listens on a port out of a range. A freed one rests for
# minutes before it is used again, hence more than the replicas that can exist.
_BLOCK_START = 20_000
_BLOCK_END = 32_000  # below the range that Linux gives to outgoing connections
_HTTP_PORTS = 250
_BLOCK_SIZE = 2 * _HTTP_PORTS

_NEVER_GIVE_UP = "1000000"


def require_free_port(host: str, port: int) -> None:
    """Raise ClusterError, naming the holder where it can be seen, if the port is taken."""
    with _listener(host, port) as taken:
        if taken is None:
            return
    raise ClusterError(
        f"cannot listen on {host}:{port}: {taken.strerror or taken}{_holder(port)}; "
        "stop what uses it or set another `cluster.port`"
    )


def serve_settings(
    *,
    run_directory: Path,
    token: str,
    loopback: bool,
    max_connections: int,
    drain_seconds: float,
    longest_request_seconds: float,
    others: Iterable[ClusterRecord],
) -> dict[str, str]:
    """The environment variables for one cluster.

    Args:
        run_directory: the cluster's own folder for sockets and HAProxy's files.
        token: the cluster's identity; every process of it inherits it.
        loopback: keep Ray's own addresses on loopback, as the cluster's is.
        max_connections: open client connections that HAProxy allows; parked
            requests count.
        drain_seconds: how long a router that goes away finishes its requests.
        longest_request_seconds: the longest that a request may be parked and run;
            HAProxy must not cut it when it reloads.
        others: the clusters recorded on this machine, whose ports are left alone.
    """
    block = _free_block(others)
    metrics, statistics, fallback_http, fallback_grpc = _free_ports(4)
    longest = int(longest_request_seconds) + 60
    return {
        TOKEN_VARIABLE: token,
        # Ray talks on ports of all interfaces; without this cluster's own token
        # nobody gets an answer there.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(run_directory / "ray_token"),
        # Off, Ray takes the loopback address for its node's, whatever it is told
        # otherwise: replicas then listen where the routers look for them.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0" if loopback else "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # See `orchestrator.router.doorway`; not imported, as that imports Ray.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "orchestrator.router.doorway:middlewares",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(run_directory / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(run_directory / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(run_directory / "m"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(run_directory),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(run_directory / "servers"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_HAPROXY_MAXCONN": str(max_connections),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(os.cpu_count() or 1, 4)),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(longest),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(max(3600, longest)),
        # A router that dies is to its callers what a replica that dies is to a router:
        # where no byte was sent, another one is asked.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(block),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(block + _HTTP_PORTS),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(block + _HTTP_PORTS),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(block + _BLOCK_SIZE),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(drain_seconds),
        # The rest after which a freed port is used again; its default follows the
        # hard stop above, which is long here, and a cluster redeploys often.
        "RAY_SERVE_PORT_QUARANTINE_S": "150",
        # Whether a cold start is tried again is the environment queue's decision.
        "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": _NEVER_GIVE_UP,
    }


def _free_block(others: Iterable[ClusterRecord]) -> int:
    """First port of a block that no recorded cluster has and nothing listens in."""
    claimed = {other.settings.get("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT") for other in others}
    for start in range(_BLOCK_START, _BLOCK_END, _BLOCK_SIZE):
        if str(start) not in claimed and all(
            _is_free("", port) for port in range(start, start + _BLOCK_SIZE)
        ):
            return start
    raise ClusterError(
        f"no {_BLOCK_SIZE} free ports in a row between {_BLOCK_START} and {_BLOCK_END}"
    )


def _free_ports(count: int) -> list[int]:
    """Distinct ports that the system says are free on all interfaces."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]


def _is_free(host: str, port: int) -> bool:
    with _listener(host, port) as taken:
        return taken is None


@contextlib.contextmanager
def _listener(host: str, port: int) -> Iterator[OSError | None]:
    """Listen for a moment, as HAProxy will; gives the error where that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError as error:
            yield error
        else:
            yield None


def _holder(port: int) -> str:
    """Who listens on `port`, as in " by NAME (pid N)"; empty where that cannot be seen."""
    for connection in psutil.net_connections("tcp"):
        if (
            connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
            and connection.pid is not None
        ):
            try:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return ""
