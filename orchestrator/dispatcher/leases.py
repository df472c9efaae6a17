"""The runs of a lane, and the leases under which they may end their requests."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from orchestrator.dispatcher.permits import Permit
    from orchestrator.dispatcher.trails import Trail
    from orchestrator.store.records import Claim
    from orchestrator.store.requests import Requests

logger: Final = logging.getLogger("ray.serve")

RENEWALS: Final = 3
"""Times that a lease is renewed within its length."""


class Run:
    """A claimed request that is run here.

    Attributes:
        claim: the request.
        permit: the slot that it runs on.
        trail: what is told of it.
        task: what carries it out.
        attempting: a replica has it now.
        dropped: the request is not ours any more; nothing is to be reported.
        stopped: this process is to end; the request goes back.
    """

    __slots__ = ("attempting", "claim", "dropped", "permit", "stopped", "task", "trail")

    task: asyncio.Task[None]

    def __init__(self, claim: Claim, permit: Permit, trail: Trail) -> None:
        self.claim = claim
        self.permit = permit
        self.trail = trail
        self.attempting = False
        self.dropped = False
        self.stopped = False

    @property
    def ended(self) -> bool:
        """Whether it is not to be attempted (any more)."""
        return self.dropped or self.stopped

    def drop(self) -> None:
        """Ends it without a report. One that is being reported goes on: the store will say no."""
        self.dropped = True
        if self.attempting:
            self.task.cancel()

    def stop(self) -> None:
        """Ends the attempt, so that the request can be put back."""
        self.stopped = True
        if self.attempting:
            self.task.cancel()


class Leases:
    """All runs of a lane, whose leases are renewed in one call."""

    def __init__(self, requests: Requests, tag: str, lease_s: float) -> None:
        """No runs.

        Args:
            requests: of the store.
            tag: of the environment.
            lease_s: length of a lease; what is set here later counts from the next renewal.
        """
        self.lease_s = lease_s
        self._requests = requests
        self._tag = tag
        self._runs: dict[str, Run] = {}
        self._due_at = 0.0

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def due_in_s(self) -> float | None:
        """Seconds until a renewal is due; None: nothing runs."""
        return self._due_at - time.monotonic() if self._runs else None

    def get(self, request_id: str) -> Run | None:
        """The run of a request; None: it does not run here."""
        return self._runs.get(request_id)

    def add(self, run: Run) -> None:
        """A run begins, under a new lease."""
        identity = run.claim.request_id
        if not self._runs:
            self._due_at = time.monotonic() + self.lease_s / RENEWALS
        earlier = self._runs.get(identity)
        if earlier is not None:
            # Claimed anew: somebody has noticed the loss of its lease before this lane did.
            earlier.drop()
        self._runs[identity] = run

    def remove(self, run: Run) -> None:
        """A run has ended; its lease with it, or it is left to lapse."""
        identity = run.claim.request_id
        if self._runs.get(identity) is run:
            del self._runs[identity]

    def drop(self, request_id: str) -> bool:
        """The request is not ours any more: its run ends without a report; False: it was not."""
        run = self._runs.pop(request_id, None)
        if run is not None:
            run.drop()
        return run is not None

    def stop(self) -> None:
        """Ends all attempts, so that their requests can be put back."""
        for run in list(self._runs.values()):
            run.stop()

    async def renew(self) -> None:
        """Renews all leases, and drops the runs whose lease is lost.

        Raises:
            StoreUnreachable: nothing is known of the leases.
        """
        began = time.monotonic()
        asked = {identity: run.claim.attempt for identity, run in self._runs.items()}
        lost = await self._requests.renew(self._tag, list(asked.items()), self.lease_s)
        self._due_at = began + self.lease_s / RENEWALS
        for identity in lost:
            run = self._runs.get(identity)
            if run is not None and run.claim.attempt == asked.get(identity) and run.attempting:
                logger.warning("request %s is not ours any more: its run is dropped", identity)
                self.drop(identity)
