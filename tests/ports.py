"""Ports of this machine's loopback interface that are free now.

Below those that the system hands out by itself: one of these could be somebody's
outgoing connection by the time that a server, seconds later, listens there.
"""

import itertools
import random
import socket
from contextlib import closing

_PORTS = range(2_000, 6_000)  # Ray's workers have 10,002 to 19,999, and clusters what follows

# Not the generator that tests are given a seed for: processes beside each other would agree.
_next = itertools.cycle(random.SystemRandom().sample(_PORTS, len(_PORTS)))
"""Each comes once in a process, so that two that were asked for differ."""


def free_port() -> int:
    """A port that was not given before; raises ``OSError`` when none was found."""
    return free_range(1)


def free_ports(count: int) -> list[int]:
    """``count`` different ports."""
    return [free_port() for _ in range(count)]


def free_range(length: int, attempts: int = 1_000) -> int:
    """First of ``length`` consecutive free ports; raises ``OSError`` when none was found."""
    for first in itertools.islice(_next, attempts):
        if all(_is_free(port) for port in range(first, first + length)):
            return first
    raise OSError(f"no {length} consecutive free ports were found on 127.0.0.1")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
