"""A request's body: collected once, held once, refused while it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.lifecycle.errors import CallerGone, PayloadTooLarge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[Any]]


class Body:
    """The bytes of a request, in the pieces in which they came: joining would copy them.

    Attributes:
        pieces: in order, none of them empty.
        size: bytes in all.
    """

    __slots__ = ("pieces", "size")

    def __init__(self, pieces: list[bytes], size: int) -> None:
        self.pieces = pieces
        self.size = size

    def joined(self) -> bytes:
        """All of it in one piece, which replaces the others."""
        if len(self.pieces) > 1:
            self.pieces = [b"".join(self.pieces)]
        return self.pieces[0] if self.pieces else b""


async def collect(receive: Receive, declared: int | None, limit: int) -> Body:
    """Reads a body to its end.

    Args:
        receive: ASGI's.
        declared: its Content-Length, if there is one.
        limit: bytes that are allowed.

    Raises:
        PayloadTooLarge: at once where the length is declared, else as soon as more
            than `limit` bytes have arrived.
        CallerGone: it went away in the middle.
    """
    if declared is not None and declared > limit:
        raise PayloadTooLarge(limit, declared)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        piece = message.get("body", b"")
        if piece:
            size += len(piece)
            if size > limit:
                raise PayloadTooLarge(limit, size, declared=False)
            pieces.append(piece)
        if not message.get("more_body", False):
            return Body(pieces, size)
