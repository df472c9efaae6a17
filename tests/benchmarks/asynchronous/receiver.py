"""The webhook receiver: counts deliveries and remembers when the last new one came.

``python -m tests.benchmarks.asynchronous.receiver PORT``: ``POST /<batch>`` is a delivery of a
batch, ``GET /<batch>`` tells ``{"requests", "deliveries", "last"}``.
"""

import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
ID_HEADER = b"x-baseten-request-id"


@dataclass(slots=True)
class Batch:
    """Deliveries to one path.

    Attributes:
        requests: ids of those that were delivered.
        deliveries: how many there were, repeated ones included.
        last: when the last request was delivered for the first time, seconds of the clock that
            all processes of a machine share.
    """

    requests: set[bytes] = field(default_factory=set)
    deliveries: int = 0
    last: float = 0.0

    def take(self, request_id: bytes) -> None:
        """Count one delivery."""
        self.deliveries += 1
        if request_id not in self.requests:
            self.requests.add(request_id)
            self.last = time.monotonic()


class Receiver:
    """A bare ASGI application, so that it takes little of the machine that is measured."""

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        batch = self.batches.setdefault(scope["path"], Batch())
        if scope["method"] == "POST":
            while (await receive()).get("more_body"):
                pass
            batch.take(dict(scope["headers"]).get(ID_HEADER, b""))
            status, body = 204, b""
        else:
            seen = {
                "requests": len(batch.requests),
                "deliveries": batch.deliveries,
                "last": batch.last,
            }
            status, body = 200, json.dumps(seen).encode()
        headers = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve on loopback until SIGTERM."""
    uvicorn.run(
        Receiver(),
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
