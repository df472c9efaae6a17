"""Noticing that the machine at the other end is gone.

A link that is cut, or a machine that loses its power, says nothing: whoever waits for
an answer waits until its own time-out. The kernel can find out meanwhile, whatever the
program at the other end is busy with, as the other kernel answers for it:

* where nothing is on its way, keep-alive probes ask (`KEEP_ALIVE`);
* where something is, it has to be acknowledged within `SILENCE_S` (TCP_USER_TIMEOUT).

The second is no proof where a program leaves what it is sent unread: the kernel takes
some of it, says that there is no room, and TCP_USER_TIMEOUT ends the connection although
the machine is well (Linux does so since 5.11). For these, `Link` looks itself.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

SILENCE_S: Final = 10.0
"""How long a machine may leave packets unanswered before it counts as gone."""

_IDLE_S: Final = 4
_INTERVAL_S: Final = 2
_COUNT: Final = 3

_PROBES: Final[dict[int, int]] = {
    socket.TCP_KEEPIDLE: _IDLE_S,
    socket.TCP_KEEPINTVL: _INTERVAL_S,
    socket.TCP_KEEPCNT: _COUNT,
}
KEEP_ALIVE: Final = _PROBES | {socket.TCP_USER_TIMEOUT: int(SILENCE_S * 1000)}
"""Options of a TCP socket, beside SO_KEEPALIVE, whose other end reads what it is sent."""

GONE: Final = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""What a connection ends with whose other end is gone."""

_LOOK_S: Final = 5.0


def probe_callers(listener: socket.socket) -> None:
    """Has the kernel end connections that `listener` accepts when their callers' machines are gone.

    It asks while nothing is on its way to them. There is no TCP_USER_TIMEOUT: an answer that
    its caller leaves unread would look the same (see the module).
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES.items():
        listener.setsockopt(socket.IPPROTO_TCP, option, value)


class Progress(NamedTuple):
    """How far what was sent on a TCP connection has come (Linux's `struct tcp_info`).

    Attributes:
        probes: of those that ask for room or for life, how many in a row were unanswered.
        unacknowledged: packets that are on their way.
        silent_s: seconds since the other kernel acknowledged anything.
        unsent: bytes that wait for room at the other end.
    """

    probes: int
    unacknowledged: int
    silent_s: float
    unsent: int

    @property
    def stuck(self) -> bool:
        """Whether the other machine does not answer any more."""
        return self.silent_s >= SILENCE_S and (self.unacknowledged > 0 or self.probes > 1)

    @property
    def arrived(self) -> bool:
        """Whether the other machine has all that was sent."""
        return not self.unacknowledged and not self.unsent


_TCP_INFO: Final = struct.Struct("=3xB20xI28xI84xI")
"""tcpi_probes, tcpi_unacked, tcpi_last_ack_recv (ms), tcpi_notsent_bytes; include/uapi/linux/tcp.h."""


def progress(transport: asyncio.BaseTransport) -> Progress:
    """Of an open TCP connection."""
    info = transport.get_extra_info("socket").getsockopt(
        socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size
    )
    probes, unacknowledged, silent_ms, unsent = _TCP_INFO.unpack(info)
    return Progress(probes, unacknowledged, silent_ms / 1000, unsent)


@contextlib.contextmanager
def _socket_of(transport: asyncio.BaseTransport) -> Iterator[socket.socket]:
    """The transport's socket itself: uvloop's stand-in for it makes it anew for each call."""
    found = transport.get_extra_info("socket")
    sock = socket.socket(found.family, found.type, found.proto, found.fileno())
    try:
        yield sock
    finally:
        sock.detach()


class Link:
    """The way to another machine that one connection takes; of one event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Has the kernel end the connection when that machine is gone.

        Args:
            transport: of an open TCP connection.
            loop: its event loop.
        """
        self._transport = transport
        self._loop = loop
        self._looking: asyncio.TimerHandle | None = None
        with _socket_of(transport) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEP_ALIVE.items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def carries_much(self, gone: Callable[[], None]) -> None:
        """More is about to be sent than the other end may take before a program reads it.

        Until all of it has arrived, the connection is not ended for its being unread.

        Args:
            gone: called where the machine is found to be gone meanwhile.
        """
        if self._looking is None:
            self._end_after(0.0)
            self._looking = self._loop.call_later(_LOOK_S, self._look, gone)

    def _look(self, gone: Callable[[], None]) -> None:
        self._looking = None
        transport = self._transport
        if transport.is_closing():
            return
        found = progress(transport)
        if found.stuck:
            gone()
        elif found.arrived and not transport.get_write_buffer_size():
            self._end_after(SILENCE_S)
        else:
            self._looking = self._loop.call_later(_LOOK_S, self._look, gone)

    def _end_after(self, silence_s: float) -> None:
        """Sets TCP_USER_TIMEOUT; 0: the system's own, a quarter of an hour."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence_s * 1000))
