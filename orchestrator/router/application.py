"""Router as a Ray Serve application."""

from __future__ import annotations

from functools import partial
from typing import Any

from ray import serve

from orchestrator.lifecycle.errors import QueueUnreachable
from orchestrator.observatory.handle import ObservatoryHandle
from orchestrator.observatory.protocol import Part
from orchestrator.queues.client import PermitClient
from orchestrator.queues.handle import QueueUnavailable
from orchestrator.router.app import RouterApp
from orchestrator.telemetry.logs import join_serve
from orchestrator.telemetry.tracing import Tracing


class Router:
    """The front door: an ASGI application in a Serve deployment of its own.

    Its routing table is the deployment's `user_config`: another one is swapped in
    whole, without a restart, and requests under way end by the one they began with.
    """

    async def __init__(self, version: str) -> None:  # type: ignore[misc] # Serve awaits it
        join_serve()
        self._app = RouterApp(
            make_permits=_Permits,
            version=version,
            says_request_id=False,
            make_observatory=ObservatoryHandle,
            make_tracing=partial(Tracing.from_environment, Part.ROUTER),
        )

    def __serve_build_asgi_app__(self) -> RouterApp:
        """What Serve calls to get the ASGI application."""
        return self._app

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve's call with the routing table, at the start and after every change."""
        self._app.configure(user_config)

    async def __del__(self) -> None:
        await self._app.close()


def build_app(args: dict[str, Any]) -> serve.Application:
    """The application, from `args`: `{"version": <of this software>}`."""
    deployment = serve.deployment(name="Router")(serve.ingress()(Router))
    application: serve.Application = deployment.bind(str(args["version"]))
    return application


class _Permits(PermitClient):
    """The permit client, with failures as facts that a caller can be told."""

    async def wake(self) -> None:
        try:
            await super().wake()
        except QueueUnavailable:
            raise QueueUnreachable(self.application) from None

    async def describe(self) -> dict[str, Any]:
        try:
            return await super().describe()
        except QueueUnavailable:
            raise QueueUnreachable(self.application) from None
