"""Observatory as a Ray Serve application."""

from __future__ import annotations

from typing import Any

from ray import serve

from orchestrator.observatory.handle import DEPLOYMENT
from orchestrator.observatory.hub import ObservatoryHub


class Observatory(ObservatoryHub):
    """One for the cluster; Serve keeps it alive, and it begins anew where it died."""

    async def __init__(self, version: str) -> None:  # type: ignore[misc] # Serve awaits it
        super().__init__(version)
        self.start()

    async def __del__(self) -> None:
        await self.close()


def build_app(args: dict[str, Any]) -> serve.Application:
    """The application, from `args`: `{"version": <of this software>}`."""
    deployment = serve.deployment(name=DEPLOYMENT)(Observatory)
    application: serve.Application = deployment.bind(str(args["version"]))
    return application
