"""A receiver of webhooks that fails the first tries, and keeps the heads of all."""

import asyncio
from typing import Self

from aiohttp import web

PATIENCE_S = 30.0


class WebhookReceiver:
    """Listens while it is entered; `url` ends in how many tries of each it turns away."""

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []
        self._url = ""
        self._changed = asyncio.Condition()
        app = web.Application()
        app.router.add_post("/{failures}", self._take)
        self._runner = web.AppRunner(app, access_log=None)

    def url(self, failures: int = 0) -> str:
        return f"{self._url}/{failures}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def until_tried(self, count: int) -> None:
        """Waits for so many tries in all."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.heads) >= count)

    async def _take(self, request: web.Request) -> web.Response:
        await request.read()
        self.heads.append({name.lower(): value for name, value in request.headers.items()})
        failed = len(self.heads) <= int(request.match_info["failures"])
        async with self._changed:
            self._changed.notify_all()
        return web.Response(status=503 if failed else 204)
