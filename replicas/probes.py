"""What a replica asks of the servers that it started, over connections of their own."""

from __future__ import annotations

import asyncio


async def listens(host: str, port: int) -> bool:
    """Whether a connection is accepted there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def status_of(host: str, port: int, path: str) -> int:
    """The status of one GET.

    Raises:
        OSError: no connection, or no HTTP on it.
        ValueError: a line too long to be HTTP.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        status_line = await reader.readline()
        protocol, _, rest = status_line.partition(b" ")
        if not protocol.startswith(b"HTTP/") or not rest[:3].isdigit():
            raise ConnectionError(f"not an HTTP answer: {status_line[:80]!r}")
        return int(rest[:3])
    finally:
        writer.close()
