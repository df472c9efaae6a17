"""How a model is run: in this process (`python`) or as a child (`command`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from orchestrator.lifecycle.replica import Stage


class Runner(Protocol):
    """Brings one model up, answers for its health, and ends it.

    `start` is called once; when it has returned, requests are answered at
    `address`. `stop` may be called at any time after `start` was begun, also when
    it failed, and leaves nothing behind.
    """

    ended: asyncio.Future[str]
    """Resolves to a sentence when a model that was ready has died by itself."""

    @property
    def address(self) -> str:
        """Base URL; only after `start`."""

    @property
    def in_flight(self) -> int | None:
        """Requests running now; None where this cannot be told."""

    @property
    def progress(self) -> str:
        """What `start` is waiting for, for when it takes too long."""

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines that help to understand a failure, oldest first."""

    async def start(self, enter: Callable[[Stage], None]) -> None:
        """Brings the model up, calling `enter` with LOADING and WARMING on the way.

        Raises:
            StartFailed: with the reason.
        """

    async def check(self) -> None:
        """One health check, without a time limit of its own.

        Raises:
            Unhealthy: with the reason.
        """

    async def stop(self, grace_s: float) -> None:
        """Ends the model; a child process has `grace_s` seconds to do so by itself."""


def base_url(host: str, port: int) -> str:
    """`http://host:port`, with brackets around an IPv6 address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
