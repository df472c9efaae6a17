"""What a machine must have for a node of a cluster: ports, an address of its own, open files.

Ports that a cluster chooses lie below those that the system hands out by itself, which
could be somebody's outgoing connection by the time that they are listened on.
"""

import contextlib
import ipaddress
import itertools
import os
import random
import resource
import socket
from collections.abc import Container, Iterator

import psutil

from orchestrator.cluster.records import ClusterError
from orchestrator.config.cluster import is_loopback

_BLOCKS = range(20_000, 32_000)
_SINGLE = range(32_000, 32_768)

_OTHER_FILES = 250
"""What HAProxy opens beside its connections: listeners, checks, a few for each thread."""


def require_free_port(host: str, port: int) -> None:
    """Raise ClusterError, naming the holder where it can be seen, if the port is taken."""
    with _listener(host, port) as taken:
        if taken is None:
            return
    raise ClusterError(
        f"cannot listen on {host}:{port}: {taken.strerror or taken}{_holder(port)}; "
        "stop what uses it or set another `cluster.port`"
    )


def require_node_ip(node_ip: str) -> None:
    """Raise ClusterError if this is no address of this machine that other nodes can reach."""
    if is_loopback(node_ip):
        raise ClusterError(
            f"--node-ip {node_ip}: must be an address of this machine that other nodes reach, "
            "not loopback"
        )
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    if node_ip not in own:
        raise ClusterError(
            f"--node-ip: {node_ip} is no address of this machine; it has "
            f"{', '.join(sorted(filter(_is_address, own)))}"
        )


def require_open_files(max_connections: int) -> None:
    """Raise ClusterError if HAProxy, which opens two files a connection, may not open so many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * max_connections + _OTHER_FILES
    if os.geteuid() == 0 or most == resource.RLIM_INFINITY or most >= needed:
        return  # root raises the limit
    fitting = (most - _OTHER_FILES) // 2
    raise ClusterError(
        f"cluster.max_connections: {max_connections} needs {needed} open files, and this user may "
        f"have {most}: raise the hard limit (`ulimit -Hn`; LimitNOFILE of a systemd unit)"
        + (f", or set it to {fitting} at most" if fitting > 0 else "")
    )


def free_block(size: int, claimed: Container[int]) -> int:
    """First of `size` ports in a row that nothing listens on.

    Args:
        size: how many.
        claimed: first ports of blocks that somebody else has.

    Raises:
        ClusterError: there are none.
    """
    for first in range(_BLOCKS.start, _BLOCKS.stop, size):
        if first not in claimed and all(_is_free("", port) for port in range(first, first + size)):
            return first
    raise ClusterError(f"no {size} free ports in a row between {_BLOCKS.start} and {_BLOCKS.stop}")


def free_ports(count: int) -> list[int]:
    """Distinct ports that nothing listens on, on any interface.

    Raises:
        ClusterError: there are not enough.
    """
    shuffled = random.SystemRandom().sample(_SINGLE, len(_SINGLE))
    free = list(itertools.islice((port for port in shuffled if _is_free("", port)), count))
    if len(free) < count:
        raise ClusterError(f"no {count} free ports between {_SINGLE.start} and {_SINGLE.stop - 1}")
    return free


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


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_loopback
    except ValueError:  # of a network card itself, or with a zone
        return False
