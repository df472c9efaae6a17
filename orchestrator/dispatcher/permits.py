"""What the dispatcher needs of the permit client: `orchestrator.queues.client` has it.

Stated here as protocols, so that lanes are tested without Ray.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Permit(Protocol):
    """The right to run one request on one slot of one replica, until released."""

    @property
    def replica_id(self) -> str:
        """Which replica."""

    @property
    def address(self) -> str:
        """Its base URL, `http://host:port`."""

    @property
    def cold_start(self) -> bool:
        """Whether that replica started while it was waited for."""


class Permits(Protocol):
    """One environment's permits, as one dispatcher sees them."""

    def try_acquire(self) -> Permit | None:
        """A permit that is at hand, if nobody is in line here; never waits."""

    async def acquire(self, *, deadline: float, ticket: float | None, level: int) -> Permit:
        """Waits in line for a permit; being cancelled leaves the line.

        Args:
            deadline: `time.monotonic()` value at which to give up.
            ticket: when the request came, on the same scale.
            level: level of priority, 0 first.

        Raises:
            QueueFull, NoFreeSlot, ParkTimeout, EnvironmentUnhealthy, Draining:
                see `orchestrator.lifecycle.errors`.
        """

    def release(self, permit: Any, *, failed: bool = False) -> None:
        """Gives a permit back, once; `failed`: its replica could not be reached."""

    def reconfigure(self, settings: dict[str, Any]) -> None:
        """Goes by new queue settings from now on."""

    async def close(self) -> None:
        """Gives everything back and stops; permits in use may still be released."""


MakePermits = Callable[[str, dict[str, Any]], Permits]
"""Makes the client of one environment: (its application's name, its queue settings)."""
