"""Dispatcher as a Ray Serve application."""

from __future__ import annotations

from typing import Any

from ray import serve

from orchestrator.dispatcher.dispatcher import Dispatcher as Lanes
from orchestrator.lifecycle.permits import WorkClass
from orchestrator.queues.client import PermitClient

GRACE_S = 20.0
"""How long runs may take to end when a dispatcher is stopped, if its arguments do not say."""


class Dispatcher:
    """Runs asynchronous requests. Nobody calls it; Serve keeps it alive.

    Its table is the deployment's `user_config`, the same as the routers'.
    """

    async def __init__(self, grace_s: float) -> None:  # type: ignore[misc] # Serve awaits it
        self._grace_s = grace_s
        self._lanes = Lanes(_permits)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve's call with the table, at the start and after every change."""
        self._lanes.configure(user_config)

    async def check_health(self) -> None:
        """Serve's question; a store that is away is no reason to be replaced."""
        self._lanes.check()

    async def __del__(self) -> None:
        await self._lanes.close(self._grace_s)


def build_app(args: dict[str, Any]) -> serve.Application:
    """The application, from `args`: `{"grace_s": <seconds that runs get to end>}`.

    The deployment's `graceful_shutdown_timeout_s` must be 10 s more: what has not
    ended by then is put back.
    """
    deployment = serve.deployment(name="Dispatcher")(Dispatcher)
    application: serve.Application = deployment.bind(float(args.get("grace_s", GRACE_S)))
    return application


def _permits(application: str, queue: dict[str, Any]) -> PermitClient:
    return PermitClient(application, queue, work=WorkClass.ASYNC)
