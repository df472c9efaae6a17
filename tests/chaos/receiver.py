"""The webhook receiver of the chaos run: verifies, remembers, and fails as told."""

import asyncio
import json
from collections import defaultdict
from typing import Any, Self

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

GONE = 410


class Receiver:
    """Listens on `host`, by default on loopback.

    `/ok` takes every delivery, `/flaky` turns the first try of each away, `/gone`
    wants none.

    Attributes:
        bodies: bodies of the deliveries that it took, by request id.
        refused: tries that it turned away.
        forged: tries whose signature did not verify; it took none of them.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self.bodies: dict[str, list[bytes]] = defaultdict(list)
        self.refused = 0
        self.forged = 0
        self.url = ""
        self.changed = asyncio.Event()
        self._verifier: Webhook | None = None
        self._tried: set[str] = set()
        app = web.Application()
        app.router.add_post("/{manner}", self._take)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        _, port = self._runner.addresses[0][:2]
        self.url = f"http://{self._host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def expect(self, secret: str) -> None:
        """Verify with this signing key from now on."""
        self._verifier = Webhook(secret)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert self._verifier is not None
        try:
            self._verifier.verify(body, headers)
        except WebhookVerificationError:
            self.forged += 1
            return web.Response(status=401)
        payload: dict[str, Any] = json.loads(body)
        request_id = str(payload["request_id"])
        manner = request.match_info["manner"]
        first = request_id not in self._tried
        self._tried.add(request_id)
        if manner == "gone" or (manner == "flaky" and first):
            self.refused += 1
            return web.Response(status=GONE if manner == "gone" else 500)
        self.bodies[request_id].append(body)
        self.changed.set()
        return web.Response(status=204)
