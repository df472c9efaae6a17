"""What the router needs of the permit client: `orchestrator.queues.client` has it.

Stated here as protocols, so that the router is tested without Ray and a permit
client can be anything that keeps these promises.
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
        """Whether that replica started while the request waited."""

    @property
    def ticket(self) -> Any:
        """The request's place in line, for asking again at the same place."""


class PermitClient(Protocol):
    """One environment's permits, as one router sees them."""

    @property
    def has_replicas(self) -> bool:
        """Whether any replica is known to be there, as far as was heard last."""

    def try_acquire(self, size: int = 0) -> Permit | None:
        """A permit that is at hand, if nobody ranks before; never waits."""

    async def acquire(
        self,
        *,
        deadline: float,
        size: int = 0,
        avoid: frozenset[str] = frozenset(),
        prefer: str | None = None,
        ticket: Any = None,
        owner: object = None,
    ) -> Permit:
        """Waits in line for a permit; being cancelled leaves the line.

        Args:
            deadline: `time.monotonic()` value at which to give up.
            size: bytes of the request's body, for the bound on the line.
            avoid: replicas that failed the request.
            prefer: replica to choose if it has room.
            ticket: an earlier permit's place in line.
            owner: what `place` is to be asked with while it waits; None: nothing.

        Raises:
            QueueFull, NoFreeSlot, ParkTimeout, EnvironmentUnhealthy:
                see `orchestrator.lifecycle.errors`.
        """

    async def place(self, owner: object) -> int | None:
        """How many are served before the request of that owner; None: it is not in line."""

    def release(self, permit: Any, *, failed: bool = False) -> None:
        """Gives a permit back, once.

        Args:
            permit: one that came from here.
            failed: its replica could not be reached: nobody should use it until it
                reports again.
        """

    async def wake(self) -> None:
        """Asks for a replica if there is none; does not wait for it."""

    async def describe(self) -> dict[str, Any]:
        """The environment's state as its queue sees it."""

    def reconfigure(self, settings: dict[str, Any]) -> None:
        """Goes by new queue settings from now on."""

    async def close(self) -> None:
        """Gives everything back and stops; permits in use may still be released."""


MakePermitClient = Callable[[str, dict[str, Any]], PermitClient]
"""Makes the client of one environment: (its application's name, its queue settings)."""
