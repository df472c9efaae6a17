"""A collector that throws away what it gets, so that it takes little of the measured machine.

``python -m tests.benchmarks.tracing.collector PORT``: ``POST`` is an export over HTTP,
``GET`` tells ``{"exports", "bytes"}``.
"""

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]


class Collector:
    """A bare ASGI application."""

    def __init__(self) -> None:
        self.exports = 0
        self.bytes = 0

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        body = b""
        if scope["method"] == "POST":
            more = True
            while more:
                message = await receive()
                self.bytes += len(message.get("body", b""))
                more = message.get("more_body", False)
            self.exports += 1
        else:
            body = json.dumps({"exports": self.exports, "bytes": self.bytes}).encode()
        headers = [
            (b"content-type", b"application/x-protobuf"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve on loopback until SIGTERM."""
    uvicorn.run(
        Collector(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
