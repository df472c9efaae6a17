"""Ports of this machine's loopback interface that are free now."""

import socket
from contextlib import ExitStack, closing


def free_ports(count: int) -> list[int]:
    """``count`` different ports, chosen by the operating system."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def free_range(length: int, attempts: int = 200) -> int:
    """First of ``length`` consecutive free ports; raises ``OSError`` when none was found."""
    for _ in range(attempts):
        (first,) = free_ports(1)
        if first + length <= 65_536 and all(_is_free(first + step) for step in range(length)):
            return first
    raise OSError(f"no {length} consecutive free ports were found on 127.0.0.1")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
