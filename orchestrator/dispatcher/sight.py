"""Where a dispatcher's requests are now, for whoever looks for one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from orchestrator.lifecycle.request import State
from orchestrator.observatory.protocol import Found, Live
from orchestrator.telemetry.timeline import Timeline, Wait, WaitReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.dispatcher.leases import Run

KIND = "run"
"""Of a timeline: a run of an asynchronous request."""


def sight(runs: Sequence[Run]) -> bytes:
    """Runs that are under way, as the answer to the observatory's `request`."""
    now = time.monotonic()
    return msgspec.msgpack.encode(Found(live=[_live(run, now) for run in runs]))


def _live(run: Run, now: float) -> Live:
    claim, trail = run.claim, run.trail
    record, tried = trail.run, trail.run.tried
    seconds = now - trail.began
    if not trail.over:
        tried = msgspec.structs.replace(tried, seconds=seconds)
    wait = Wait(
        WaitReason.NO_REPLICA if record.cold else WaitReason.NO_SLOT,
        -record.waited_s,
        record.waited_s,
        record.wait_span_id,
        tried.replica,
        record.cold,
    )
    timeline = Timeline(
        request_id=claim.request_id,
        kind=KIND,
        source=record.source,
        trace_id=trail.trace.trace_id.decode(),
        span_id=record.span_id,
        parent_id=trail.trace.parent_id.decode(),
        sampled=trail.trace.sampled,
        began=record.began,
        seconds=seconds,
        outcome=State.RUNNING.value,
        model=claim.model,
        environment=claim.environment,
        deployment=claim.deployment,
        bytes_in=len(claim.input),
        cold_start=record.cold,
        waits=[wait],
        attempts=[tried],
        async_id=claim.request_id,
    )
    return Live(timeline=timeline, since=record.began, replica=tried.replica)
