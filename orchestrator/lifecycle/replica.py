"""The life of a replica, as a table, and what a replica tells its queue.

    PROVISIONING ─▶ STARTING ─▶ LOADING ─▶ WARMING ─▶ READY ─▶ DRAINING ─▶ STOPPED
          │             │           │          │        │          │
          └─────────────┴───────────┴──────────┴────────┴──────────┴─────▶ FAILED

PROVISIONING is known to the queue alone: a replica was asked for and no process
has reported yet (no free GPU, a node on its way). Every other stage is reported
by the replica itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """Where a replica is in its life."""

    PROVISIONING = "PROVISIONING"
    STARTING = "STARTING"
    LOADING = "LOADING"
    WARMING = "WARMING"
    READY = "READY"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.PROVISIONING: frozenset({Stage.STARTING, Stage.FAILED}),
    Stage.STARTING: frozenset({Stage.LOADING, Stage.DRAINING, Stage.FAILED}),
    Stage.LOADING: frozenset({Stage.WARMING, Stage.DRAINING, Stage.FAILED}),
    Stage.WARMING: frozenset({Stage.READY, Stage.DRAINING, Stage.FAILED}),
    Stage.READY: frozenset({Stage.DRAINING, Stage.FAILED}),
    Stage.DRAINING: frozenset({Stage.STOPPED, Stage.FAILED}),
    Stage.STOPPED: frozenset(),
    Stage.FAILED: frozenset(),
}


def _reachable(stage: Stage) -> frozenset[Stage]:
    further = (_reachable(following) for following in TRANSITIONS[stage])
    return TRANSITIONS[stage].union(*further)


_REACHABLE = {stage: _reachable(stage) for stage in Stage}

STARTUP_STAGES = (Stage.PROVISIONING, Stage.STARTING, Stage.LOADING, Stage.WARMING)


def may_follow(old: Stage, new: Stage) -> bool:
    """Whether a replica last heard of in `old` may be in `new` now.

    Reports can be lost, so stages may be skipped; none may be gone back to, and
    nothing follows the end, not even itself.
    """
    return new in _REACHABLE[old] or (new is old and bool(TRANSITIONS[old]))


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One report of a replica to its queue: a change of stage, or a heartbeat.

    Attributes:
        replica_id: unique for the life of the process; never used again.
        deployment: name of the deployment (version) it runs.
        stage: the stage it is in now.
        slots: how many requests it runs at once.
        address: base URL where it answers requests, from READY on.
        in_flight: requests running in it now; None where the runner cannot tell.
        stages: seconds spent in each stage that has ended.
        age_s: seconds since its process started.
        reason: why it failed, one sentence; None otherwise.
        log_tail: its last log lines, oldest first, when it failed.
    """

    replica_id: str
    deployment: str
    stage: Stage
    slots: int
    address: str | None = None
    in_flight: int | None = None
    stages: dict[Stage, float] = field(default_factory=dict)
    age_s: float = 0.0
    reason: str | None = None
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportReply:
    """The queue's answer to a report.

    Attributes:
        permits_out: permits granted on this replica that have not come back.
        retry_in_s: after FAILED: seconds to wait before the next start is tried.
    """

    permits_out: int = 0
    retry_in_s: float = 0.0
