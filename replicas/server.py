"""The HTTP server of a Python model: uvicorn in a thread with its own event loop.

Its own loop keeps a busy model from delaying the replica's heartbeats and health
checks, which run in the loop of the actor.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import uvicorn
import uvloop

from orchestrator.lost_links import probe_callers
from replicas.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from replicas.application import ModelApp

T = TypeVar("T")

# Longer than any caller keeps a connection that it does not use, so that a server
# never closes one that a request is just being written to.
KEEP_ALIVE_SECONDS = 600

_END_SECONDS = 5.0


class _Server(uvicorn.Server):
    """Says when it listens, or why it does not."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set_result(None)


class ModelServer:
    """One thread with one event loop, in which a model lives and is served.

    `start` → any number of `call`s → `serve` → `stop`; all but `call`s once. Its
    methods are called from another loop than its own.
    """

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the server answers requests, as far as its thread can tell."""
        serving = self._serving
        return self._thread.is_alive() and serving is not None and not serving.done()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` in the server's loop; cancelling this cancels it there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def serve(self, app: ModelApp, host: str) -> int:
        """Starts to listen on `host`; the port, chosen by the system.

        Raises:
            StartFailed: the start-up of the model's own ASGI application failed.
            OSError: no socket can be had on `host`.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.bind((host, 0))
            probe_callers(listener)
            await self.call(self._serve(app, listener))
        except BaseException:
            listener.close()
            raise
        port: int = listener.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stops listening, cancels what still runs, ends the thread."""
        if self._thread.ident is None:  # never started
            self._loop.close()
            return
        if self._thread.is_alive():
            await self.call(self._stop_serving())
            self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, _END_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _serve(self, app: ModelApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="auto" if app.routes is not None else "off",
            log_config=None,
            # The application answers for its own errors; what uvicorn would add
            # is the same traceback again.
            log_level=logging.CRITICAL,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        self._server = server = _Server(config)
        self._serving = asyncio.create_task(_until_exit(server, listener))
        await asyncio.wait({self._serving, server.listening}, return_when="FIRST_COMPLETED")
        if not server.listening.done():
            server.listening.cancel()
            failure = self._serving.exception()
            reason = "the start-up of the model's ASGI application failed"
            raise StartFailed(reason, app.lifespan_failure) from failure

    async def _stop_serving(self) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait({self._serving})
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=1)


async def _until_exit(server: _Server, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit as exit_:  # how uvicorn ends when it cannot start
        raise RuntimeError(f"uvicorn ended with status {exit_.code}") from None
