"""What an environment's queue knows of its replicas, from what they report."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.lifecycle.chronicle import Chronicle, Missing, Start
from orchestrator.lifecycle.permits import Unhealthy, Usable
from orchestrator.lifecycle.replica import STARTUP_STAGES, ReplicaReport, Stage, may_follow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.lifecycle.settings import StartupSettings

SUSPECT_AFTER_S = 5.0
"""A ready replica that is silent for this long gets no new permits (heartbeats come every 1 s)."""

GONE_AFTER_S = 15.0
"""A replica that is silent for this long is gone; one that starts up may block longer."""

GONE_IN_STARTUP_AFTER_S = 30.0

SETTLE_S = 1.0
"""A replica that is first heard of when it is ready already may have permits out that this
queue does not know yet (it was restarted): it gets no new ones until holders had time to
report theirs. This is the rebuild window."""

HISTORY = 200
"""Starts, and ends, that are remembered."""


@dataclass(slots=True)
class Known:
    """A replica that has reported; `settles_at` is None once it has settled.

    Its `stages` are those that it reported, with PROVISIONING where that is known.
    """

    report: ReplicaReport
    first_heard: float
    heard: float
    settles_at: float | None
    born: float
    provisioning_s: float | None = None
    suspect: bool = False

    @property
    def stages(self) -> dict[Stage, float]:
        """Seconds spent in each stage that has ended."""
        if self.provisioning_s is None:
            return dict(self.report.stages)
        return {Stage.PROVISIONING: self.provisioning_s, **self.report.stages}


class ReplicaPool:
    """The replicas of one environment. Times are readings of the queue's clock, in seconds.

    Attributes:
        history: seconds spent in each stage, for the last starts that became ready.
        startup_s: seconds within which 95 % of these became ready; None: there are none.
    """

    def __init__(self, startup: StartupSettings, chronicle: Chronicle | None = None) -> None:
        self.startup = startup
        self.chronicle = chronicle if chronicle is not None else Chronicle()
        self.missing = Missing()
        self.known: dict[str, Known] = {}
        self.version = 0
        self.history: deque[dict[Stage, float]] = deque(maxlen=HISTORY)
        self.startup_s: float | None = None
        self._ended: deque[str] = deque(maxlen=HISTORY)
        self._failures = 0
        self._failure: ReplicaReport | None = None
        self._unhealthy_until: float | None = None

    def report(self, report: ReplicaReport, now: float) -> float:
        """Take in a report; one that is late, or comes again after its end, changes nothing.

        Returns:
            After a failed start, seconds to wait before the next; else 0.
        """
        name, stage = report.replica_id, report.stage
        known = self.known.get(name)
        if name in self._ended or (known and not may_follow(known.report.stage, stage)):
            return self.startup.backoff_s(self._failures) if stage is Stage.FAILED else 0.0
        if stage in (Stage.FAILED, Stage.STOPPED):
            self._ended.append(name)
            if self.known.pop(name, None) is not None:
                self.version += 1
            return self._failed(report, known, now) if stage is Stage.FAILED else 0.0
        was = known.report.stage if known else None
        if known is None:
            settles_at = now + SETTLE_S if stage in (Stage.READY, Stage.DRAINING) else None
            known = Known(report, now, now, settles_at, born=now - report.age_s)
            since = self.missing.arrived() if stage is not Stage.DRAINING else None
            if stage in STARTUP_STAGES and since is not None:
                known.provisioning_s = max(now - since, 0.0)
            self.known[name] = known
            self.version += 1
        elif stage is not was or known.suspect:
            self.version += 1
        known.report, known.heard, known.suspect = report, now, False
        # A report that was long on its way makes a replica look younger, never older.
        known.born = min(known.born, now - report.age_s)
        if stage is Stage.READY and was is not Stage.READY:
            self._started(known, now, seen=was is not None)
        return 0.0

    def suspect(self, replica_ids: Iterable[str]) -> None:
        """Somebody could not reach these: no new permits until they report again."""
        for replica_id in replica_ids:
            known = self.known.get(replica_id)
            if known is not None and not known.suspect:
                known.suspect = True
                self.version += 1

    def tick(self, now: float, desired: int) -> None:
        """Notice those that fell silent, and those that have settled.

        A start that falls silent has failed, unless it was not wanted any more:
        a replica that is called off while it starts gets no time to say so.
        """
        for replica_id, known in list(self.known.items()):
            silent = now - known.heard
            starting = known.report.stage in STARTUP_STAGES
            if silent >= (GONE_IN_STARTUP_AFTER_S if starting else GONE_AFTER_S):
                del self.known[replica_id]
                self.version += 1
                if starting and self.live < desired:
                    self._failed(_silenced(known.report), known, now)
            elif silent >= SUSPECT_AFTER_S and not starting and not known.suspect:
                known.suspect = True
                self.version += 1
            if known.settles_at is not None and known.settles_at <= now:
                known.settles_at = None
                self.version += 1

    def usable(self, bound: int) -> list[Usable]:
        """Replicas that may get permits, oldest first.

        Args:
            bound: the most permits that a replica may have out, whatever its slots.
        """
        ready = [
            known
            for known in self.known.values()
            if known.report.stage is Stage.READY
            and known.report.address
            and not known.suspect
            and known.settles_at is None
        ]
        ready.sort(key=lambda known: known.first_heard)
        return [
            Usable(k.report.replica_id, k.report.address or "", min(k.report.slots, bound))
            for k in ready
        ]

    @property
    def any_ready(self) -> bool:
        """Whether a replica has started and not begun to drain."""
        return any(known.report.stage is Stage.READY for known in self.known.values())

    @property
    def live(self) -> int:
        """Replicas that run or start up, those that drain left out."""
        return sum(known.report.stage is not Stage.DRAINING for known in self.known.values())

    def unhealthy(self, now: float) -> Unhealthy | None:
        """Why nobody can be served; None while starts are still tried or a replica is there."""
        if self._unhealthy_until is None or self._failure is None:
            return None
        return Unhealthy(
            reason=self._failure.reason or "the replica failed to start",
            log_tail=self._failure.log_tail,
            retry_after_s=max(self._unhealthy_until - now, 0.0),
        )

    @property
    def last_failure(self) -> ReplicaReport | None:
        """The last failure since a replica became ready."""
        return self._failure

    def probe(self, now: float) -> None:
        """Somebody asks again: allow one more start, if the time for it has come."""
        if self._unhealthy_until is not None and now >= self._unhealthy_until:
            self._unhealthy_until = None
            self._failures = self.startup.attempts - 1

    def forgive(self) -> None:
        """Another deployment is to be run: earlier failures say nothing about it."""
        self._failures, self._failure, self._unhealthy_until = 0, None, None

    def _started(self, known: Known, now: float, *, seen: bool) -> None:
        """It is ready; `seen`: this queue saw it start, else it may have been ready for long."""
        report, stages = known.report, known.stages
        self.history.append(stages)
        self.startup_s = _quantile([sum(spent.values()) for spent in self.history], 0.95)
        ended = now if seen else min(known.born + sum(report.stages.values()), now)
        start = Start(report.replica_id, report.deployment, ended, stages)
        self.chronicle.started(start, now_known=seen)
        self.forgive()

    def _failed(self, report: ReplicaReport, known: Known | None, now: float) -> float:
        self._failures += 1
        self._failure = report
        last = known.report.stage if known is not None else None
        if last in (*STARTUP_STAGES, None) and Stage.READY not in report.stages:
            stages = replace(known, report=report).stages if known is not None else report.stages
            reason = report.reason or "the replica failed to start"
            start = Start(report.replica_id, report.deployment, now, dict(stages), reason)
            self.chronicle.started(start)
        backoff = self.startup.backoff_s(self._failures)
        ready = self.any_ready
        if self._failures >= self.startup.attempts and not ready:
            self._unhealthy_until = now + self.startup.backoff_max_s
        return backoff

    def percentiles(self, share: float) -> dict[Stage, float]:
        """Per stage, the seconds within which `share` (0..1) of the remembered starts ended."""
        found: dict[Stage, float] = {}
        for stage in STARTUP_STAGES:
            spent = [start[stage] for start in self.history if stage in start]
            if spent:
                found[stage] = _quantile(spent, share)
        return found

    def has(self, *stages: Stage) -> bool:
        """Whether a replica is in one of these stages."""
        return any(known.report.stage in stages for known in self.known.values())


def _quantile(values: list[float], share: float) -> float:
    """The least of the values that `share` (0..1) of them do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def _silenced(report: ReplicaReport) -> ReplicaReport:
    return ReplicaReport(
        replica_id=report.replica_id,
        deployment=report.deployment,
        stage=Stage.FAILED,
        slots=report.slots,
        reason=f"the replica's process fell silent while {report.stage.value}",
        stages=report.stages,
        log_tail=report.log_tail,
    )
