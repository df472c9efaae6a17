"""The runs of a lane: each a task of its own, from its claim to the report of its end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from orchestrator.dispatcher.leases import Leases, Run
from orchestrator.dispatcher.run import Failed, Limits, NotRun, Outcome, attempt
from orchestrator.lifecycle.async_request import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.dispatcher.permits import Permit, Permits
    from orchestrator.dispatcher.settling import Settler
    from orchestrator.dispatcher.trails import Trails
    from orchestrator.router.upstream import UpstreamPool
    from orchestrator.store.records import Claim

logger: Final = logging.getLogger("ray.serve")

NO_ROOM_PAUSE_S: Final = 0.01
"""Pause after a replica turned a request away for being full; doubles up to the longest."""
LONGEST_NO_ROOM_PAUSE_S: Final = 0.25


class Runs:
    """Carries out claimed requests. The slot is free again before the end is reported.

    Attributes:
        path: where predictions go on a replica.
        limits: of the attempts that begin from now on.
        holding: runs that hold a permit.
    """

    def __init__(
        self,
        leases: Leases,
        settler: Settler,
        permits: Permits,
        pool: UpstreamPool,
        trails: Trails,
        *,
        changed: Callable[[], None],
        no_room: Callable[[float], None],
    ) -> None:
        """No runs.

        Args:
            leases: of the lane.
            settler: reports their ends.
            permits: where their permits go back to.
            pool: connections to replicas.
            trails: what tells of them.
            changed: called when a slot is free again, and when a run is over.
            no_room: called with a pause, when a replica had no room for a request.
        """
        self.path = "/"
        self.limits = Limits(0.0, 0)
        self.holding = 0
        self._leases = leases
        self._settler = settler
        self._permits = permits
        self._pool = pool
        self._trails = trails
        self._changed = changed
        self._no_room = no_room
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusals = 0
        self._stopping = False

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def unreported(self) -> int:
        """Runs whose attempt is over and whose end the store does not know yet."""
        return len(self._tasks) - self.holding

    def begin(self, claim: Claim, permit: Permit) -> None:
        """Runs a request."""
        run = Run(claim, permit, self._trails.begin(claim, permit))
        run.stopped = self._stopping
        self.holding += 1
        self._leases.add(run)
        run.task = task = self._loop.create_task(self._carry_out(run))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def stop(self) -> None:
        """Ends all attempts, also of those that begin from now on; their requests are put back."""
        self._stopping = True
        self._leases.stop()

    async def close(self) -> None:
        """Ends what is left without a report: its leases are left to lapse."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed()

    async def _carry_out(self, run: Run) -> None:
        try:
            outcome = await self._attempt(run)
            if outcome is not None:
                # The claim for the slot that has come free is to go with this report.
                await asyncio.sleep(0)
                await self._settler.settle(run.claim, outcome, run.trail.run)
            self._trails.reported(run.trail, outcome)
        except Exception:
            # Its lease lapses, and then it is put back.
            logger.exception("the run of request %s failed", run.claim.request_id)
        finally:
            self._leases.remove(run)

    async def _attempt(self, run: Run) -> Outcome | None:
        """Runs it on its replica, and lets go of the slot; None: it was dropped."""
        outcome: Outcome | None = None
        try:
            if not run.ended:
                outcome = await self._ask_replica(run)
        finally:
            self.holding -= 1
            lost = isinstance(outcome, Failed) and outcome.unreachable
            self._permits.release(run.permit, failed=lost)
            self._trails.attempted(run.trail, outcome)
            if isinstance(outcome, NotRun):
                outcome = self._refuse()
            elif outcome is not None:
                self._refusals = 0
            self._changed()
        if run.dropped:
            return None
        return outcome or NotRun()

    async def _ask_replica(self, run: Run) -> Outcome | None:
        """None: it was dropped or stopped."""
        run.attempting = True
        try:
            return await attempt(self._pool, self.path, self.limits, run.trail)
        except asyncio.CancelledError:
            if not run.ended:
                raise
            run.task.uncancel()
            return None
        except Exception:
            logger.exception("an attempt of request %s failed", run.claim.request_id)
            sentence = "Something went wrong in the dispatcher itself."
            return Failed(ErrorCode.INTERNAL_SERVER_ERROR, sentence)
        finally:
            run.attempting = False

    def _refuse(self) -> NotRun:
        """A replica had no room: asks for nothing for a moment."""
        pause_s = min(NO_ROOM_PAUSE_S * 2**self._refusals, LONGEST_NO_ROOM_PAUSE_S)
        self._refusals = min(self._refusals + 1, 10)
        self._no_room(pause_s)
        return NotRun(pause_s)
