"""Dispatcher as a Ray Serve application."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from ray import serve

from orchestrator.dispatcher.dispatcher import Dispatcher as Lanes
from orchestrator.dispatcher.telling import Telling
from orchestrator.lifecycle.permits import WorkClass
from orchestrator.observatory.handle import ObservatoryHandle
from orchestrator.observatory.protocol import REQUEST, Part, Source
from orchestrator.observatory.reporter import Reporter
from orchestrator.queues.client import PermitClient
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.logs import join_serve
from orchestrator.telemetry.tracing import Tracing

GRACE_S = 20.0
"""How long runs may take to end when a dispatcher is stopped, if its arguments do not say."""


class Dispatcher:
    """Runs asynchronous requests. Nobody calls it; Serve keeps it alive.

    Its table is the deployment's `user_config`, the same as the routers'.
    """

    async def __init__(self, grace_s: float, version: str) -> None:  # type: ignore[misc] # Serve awaits it
        join_serve()
        self._grace_s = grace_s
        name, registry = os.urandom(4).hex(), Registry()
        telling = Telling(name, registry, partial(Tracing.from_environment, Part.DISPATCHER))
        self._lanes = Lanes(_permits, telling=telling)
        self._reporter = Reporter(
            ObservatoryHandle(),
            Source(id=f"{name}-{os.urandom(6).hex()}", part=Part.DISPATCHER, version=version),
            registry,
            answers={REQUEST: self._lanes.sight},
        )
        self._reporter.start()

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve's call with the table, at the start and after every change."""
        self._lanes.configure(user_config)

    async def check_health(self) -> None:
        """Serve's question; a store that is away is no reason to be replaced."""
        self._lanes.check()

    async def __del__(self) -> None:
        await self._lanes.close(self._grace_s)
        await self._reporter.close()


def build_app(args: dict[str, Any]) -> serve.Application:
    """The application, from `args`.

    `{"grace_s": <seconds that runs get to end>, "version": <of this software>}`

    The deployment's `graceful_shutdown_timeout_s` must be 10 s more: what has not
    ended by then is put back.
    """
    deployment = serve.deployment(name="Dispatcher")(Dispatcher)
    application: serve.Application = deployment.bind(
        float(args.get("grace_s", GRACE_S)), str(args.get("version", ""))
    )
    return application


def _permits(application: str, queue: dict[str, Any]) -> PermitClient:
    return PermitClient(application, queue, work=WorkClass.ASYNC)
