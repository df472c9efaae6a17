"""One simulated replica: its stages, and what runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lifecycle.replica import ReplicaReport, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.simulator.execution import Shared
    from orchestrator.simulator.gpus import Claim
    from orchestrator.simulator.request import Request


class Replica:
    """A replica from when it is wanted until it is gone. Times are the clock's.

    Attributes:
        name: unique.
        number: in the order in which they were wanted.
        plan: seconds for each stage of its start, as drawn.
        fails: whether its start fails.
        claim: its GPUs.
        stage: where it is.
        since: when it came there.
        born: when its process began.
        stages: seconds spent in each stage that its process has left.
        due: when what is planned for it happens.
        running: requests that run in it, those that began first, first.
        shared: how they slow each other down; None: they do not.
        when_empty: called with the replica when the last of them has left; None: nobody asks.
    """

    __slots__ = (
        "born",
        "claim",
        "due",
        "fails",
        "name",
        "number",
        "plan",
        "running",
        "shared",
        "since",
        "stage",
        "stages",
        "when_empty",
    )

    claim: Claim

    def __init__(
        self, name: str, number: int, plan: Mapping[Stage, float], *, fails: bool, now: float
    ) -> None:
        self.name = name
        self.number = number
        self.plan = plan
        self.fails = fails
        self.stage = Stage.PROVISIONING
        self.since = now
        self.born = now
        self.stages: dict[Stage, float] = {}
        self.due = -1.0
        self.running: dict[Request, None] = {}
        self.shared: Shared | None = None
        self.when_empty: Callable[[Replica], None] | None = None

    def report(self, deployment: str, slots: int, now: float) -> ReplicaReport:
        """What it tells the queue."""
        stage = self.stage
        has_address = stage in (Stage.READY, Stage.DRAINING)
        return ReplicaReport(
            replica_id=self.name,
            deployment=deployment,
            stage=stage,
            slots=slots,
            address=f"simulated://{self.name}" if has_address else None,
            in_flight=len(self.running),
            stages=dict(self.stages),
            age_s=now - self.born,
            reason="the simulated replica failed" if stage is Stage.FAILED else None,
        )
