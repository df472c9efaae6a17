"""An environment's state as plain data, for operators.

Times are readings of the queue's clock, in seconds; `describe` tells them as ages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.lifecycle.permits import WorkClass
from orchestrator.lifecycle.replica import Stage

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.lifecycle.chronicle import Change, Start
    from orchestrator.lifecycle.environment_queue import EnvironmentQueue
    from orchestrator.lifecycle.registered import RegisteredHolder
    from orchestrator.lifecycle.replica_pool import Known, ReplicaPool


def describe(queue: EnvironmentQueue, now: float) -> dict[str, Any]:
    """All that there is to say about a queue.

    Args:
        queue: the queue; nothing in it changes.
        now: its clock.
    """
    return {
        **describe_present(queue, now),
        "decisions": [_change(change, now) for change in queue.chronicle.changes],
        "starts": [_start(start, now) for start in queue.chronicle.starts],
    }


def describe_present(queue: EnvironmentQueue, now: float) -> dict[str, Any]:
    """What is now, without what was."""
    unhealthy = queue.pool.unhealthy(now)
    failure = queue.pool.last_failure
    holders = queue.holders
    return {
        "status": _status(queue, now),
        "reason": failure.reason if failure else None,
        "log_tail": list(failure.log_tail) if failure else [],
        "retry_after_s": unhealthy.retry_after_s if unhealthy else None,
        "desired": queue.decision.desired,
        "decision": queue.decision.reason,
        "decided": _decided(queue, now),
        **_work(holders, now),
        "kept": sum(sum(h.message.held.values()) - h.message.in_use for h in holders),
        "slots": sum(usable.slots for usable in queue.usable()),
        "holders": len(holders),
        "classes": {
            work.name.lower(): _work([h for h in holders if h.message.work is work], now)
            for work in WorkClass
        },
        "replicas": [
            _replica(known, queue.out(name), now) for name, known in queue.pool.known.items()
        ],
        "provisioning": _provisioning(queue, now),
        "startup": _startup(queue.pool),
    }


def _work(holders: Collection[RegisteredHolder], now: float) -> dict[str, Any]:
    """How many wait and run, and how long the oldest waiter has been in line."""
    # For asynchronous work a rank lies after the arrival, maybe in the future.
    ages = [max(now - holder.ranks[0], 0.0) for holder in holders if holder.ranks]
    return {
        "waiting": sum(holder.unmet for holder in holders),
        "oldest_wait_s": max(ages, default=0.0),
        # What was granted and not yet heard of counts as running: it waits no more.
        "in_use": sum(h.message.in_use + h.message.waiting - h.unmet for h in holders),
    }


def _decided(queue: EnvironmentQueue, now: float) -> dict[str, Any]:
    """The last change of what is wanted; before the first, what the queue began with."""
    if queue.chronicle.changes:
        return _change(queue.chronicle.changes[-1], now)
    desired = queue.decision.desired
    return {
        "age_s": now - queue.born,
        "before": desired,
        "desired": desired,
        "reason": "no change since the queue was started",
    }


def _change(change: Change, now: float) -> dict[str, Any]:
    return {
        "age_s": now - change.at,
        "before": change.before,
        "desired": change.desired,
        "reason": change.reason,
    }


def _start(start: Start, now: float) -> dict[str, Any]:
    return {
        "age_s": now - start.ended,
        "replica": start.replica_id,
        "deployment": start.deployment,
        "seconds": start.seconds,
        "result": "ready" if start.reason is None else "failed",
        "reason": start.reason,
        "stages": _seconds(start.stages),
    }


def _replica(known: Known, permits: int, now: float) -> dict[str, Any]:
    report = known.report
    return {
        "id": report.replica_id,
        "deployment": report.deployment,
        "stage": report.stage.value,
        "address": report.address,
        "slots": report.slots,
        "permits": permits,
        "in_flight": report.in_flight,
        "stages": _seconds(known.stages),
        "age_s": max(now - known.born, 0.0),
        "suspect": known.suspect,
    }


def _startup(pool: ReplicaPool) -> dict[str, Any]:
    """What the remembered starts took, per stage, in seconds."""
    return {
        "count": len(pool.history),
        "p50": _seconds(pool.percentiles(0.5)),
        "p95": _seconds(pool.percentiles(0.95)),
    }


def _seconds(stages: dict[Stage, float]) -> dict[str, float]:
    return {stage.value: seconds for stage, seconds in stages.items()}


def _provisioning(queue: EnvironmentQueue, now: float) -> dict[str, Any]:
    since = queue.pool.missing.since
    return {
        "count": max(queue.decision.desired - queue.pool.live, 0),
        "for_s": 0.0 if since is None else now - since,
        "needs": dict(queue.settings.resources),
    }


def _status(queue: EnvironmentQueue, now: float) -> str:
    """Status of the deployment that runs here, in the contract's words."""
    if queue.pool.unhealthy(now) is not None:
        return "UNHEALTHY"
    if queue.pool.has(Stage.READY):
        return "ACTIVE"
    if queue.pool.has(Stage.LOADING, Stage.WARMING):
        return "LOADING_MODEL"
    if queue.decision.desired > 0:
        return "WAKING_UP"
    return "SCALED_TO_ZERO"
