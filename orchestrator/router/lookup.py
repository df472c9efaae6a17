"""Where a request is, or was: put together from routers, dispatchers and the store."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.async_request import shown_status
from orchestrator.lifecycle.errors import (
    NoStore,
    ObservatoryUnreachable,
    StoreUnreachable,
    UnknownRequest,
)
from orchestrator.observatory.protocol import Found, ObservatoryUnavailable, Sighted
from orchestrator.store.decoding import host_of
from orchestrator.store.keys import tag_of_id
from orchestrator.telemetry.timeline import WaitReason
from orchestrator.telemetry.trace_context import read
from orchestrator.telemetry.waterfall import AsyncFacts, async_view, call_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.observatory.protocol import Live, Observatory
    from orchestrator.router.auth import Reach
    from orchestrator.router.durable import DurablePlane
    from orchestrator.store.records import Record, Try
    from orchestrator.telemetry.timeline import Timeline

RUN = "run"
"""Kind of the timeline of an asynchronous request that a dispatcher runs."""

SUBMIT = "submit"

STARTS_TOLD_S: Final = 2.0
"""A queue tells of the starts of its replicas each second: what they served may be known before."""

STARTS_PAUSE_S: Final = 0.1


class _InStore:
    """What the store knows of an id; nothing, where it cannot be asked."""

    def __init__(self) -> None:
        self.kept: list[Timeline] = []
        self.record: Record | None = None
        self.tries: list[Try] = []
        self.error: StoreUnreachable | None = None


async def look_up(
    request_id: str,
    reach: Reach,
    plane: DurablePlane,
    observatory: Observatory | None,
) -> dict[str, Any]:
    """The waterfall of a request (see `orchestrator.telemetry.waterfall`).

    Args:
        request_id: of an HTTP request, or of an asynchronous one.
        reach: what the asking key reaches; others' requests are unknown to it.
        plane: has the store.
        observatory: asks all routers and dispatchers.

    Raises:
        UnknownRequest: nobody knows it, or not any more.
        ObservatoryUnreachable, StoreUnreachable: it was not found, where it could be looked for.
    """
    sighted = await _ask(observatory, request_id)
    stored = await _read(plane, request_id)
    found = Found() if sighted is None else sighted.found
    live = [each for each in found.live if sees(reach, each.timeline)]
    ended = _newest_of_each([*found.ended, *stored.kept], reach)
    record = stored.record
    if record is not None and not (
        reach.sees_model(record.model) and reach.sees_environment(record.environment)
    ):
        record = None
    if record is not None:
        return await _asynchronous(record, stored.tries, live, ended, observatory)
    calls = [each for each in live if each.timeline.kind != RUN]
    if calls:
        return await _call(calls, ended, observatory)
    ended = [timeline for timeline in ended if timeline.request_id == request_id] or ended
    if ended:
        starts = await _starts(observatory, ended[0])
        return call_view(ended[0], starts=starts, now=time.time(), others=len(ended) - 1)
    if sighted is None or sighted.missing:
        raise ObservatoryUnreachable
    if stored.error is not None and not isinstance(stored.error, NoStore):
        raise stored.error
    raise UnknownRequest("request", request_id)


async def _call(
    calls: Sequence[Live], ended: Sequence[Timeline], observatory: Observatory | None
) -> dict[str, Any]:
    """The newest of those that are under way."""
    newest = max(calls, key=lambda each: each.timeline.began)
    timeline = newest.timeline
    waits = timeline.waits
    where = {
        "state": timeline.outcome,
        "since": newest.since,
        "replica": newest.replica,
        "ahead": newest.ahead,
        "reason": waits[-1].reason if waits else "",
    }
    starts = await _starts(observatory, timeline, always=True)
    others = len(calls) - 1 + len(ended)
    return call_view(timeline, starts=starts, live=where, now=time.time(), others=others)


async def _asynchronous(
    record: Record,
    tries: Sequence[Try],
    live: Sequence[Live],
    ended: Sequence[Timeline],
    observatory: Observatory | None,
) -> dict[str, Any]:
    """An asynchronous request."""
    running = next((each for each in live if each.timeline.kind == RUN), None)
    submit = next((timeline for timeline in ended if timeline.async_id == record.request_id), None)
    where: dict[str, Any] | None = None
    if running is not None:
        attempts = running.timeline.attempts
        where = {
            "state": running.timeline.outcome,
            "since": running.since,
            "replica": running.replica,
            "attempt": attempts[-1].number if attempts else None,
        }
    error = record.error
    context = read(record.traceparent.encode() or None, None)
    facts = AsyncFacts(
        request_id=record.request_id,
        status=shown_status(record.state, record.webhook_status),
        created_at=record.created_at,
        status_at=record.status_at,
        model=record.model,
        environment=record.environment,
        deployment=record.deployment,
        webhook_status=record.webhook_status,
        webhook_host=host_of(record.webhook) if record.webhook else "",
        priority=record.priority,
        attempts=record.attempts,
        queue_position=record.queue_position,
        error_code="" if error is None else error.code,
        error_message="" if error is None else error.message,
        trace_id="" if context is None else context.trace_id.decode("ascii"),
    )
    return async_view(
        facts,
        runs=record.runs,
        deliveries=[
            {
                "at": line.at,
                "attempt": line.attempt,
                "status": line.status,
                "seconds": line.seconds,
                "answer": line.answer,
                "error": line.error,
            }
            for line in tries
        ],
        submit=submit,
        starts=await _starts_of(observatory, record.model, record.environment),
        live=where,
        now=time.time(),
    )


async def _ask(observatory: Observatory | None, request_id: str) -> Sighted | None:
    if observatory is None:
        return None
    try:
        return await observatory.request(request_id)
    except ObservatoryUnavailable:
        return None


async def _read(plane: DurablePlane, request_id: str) -> _InStore:
    stored = _InStore()
    try:
        with plane.open() as durable:
            store = durable.store
            if tag_of_id(request_id) is not None:
                stored.record = await store.requests.get(request_id)
                if stored.record is not None and stored.record.webhook is not None:
                    stored.tries = await store.deliveries.log(request_id)
            stored.kept = await store.timelines.get(request_id)
    except StoreUnreachable as error:
        stored.error = error
    return stored


async def _starts(
    observatory: Observatory | None, timeline: Timeline, *, always: bool = False
) -> list[dict[str, Any]]:
    """Starts of replicas that a request may have waited for."""
    waited = any(wait.cold or wait.reason == WaitReason.NO_REPLICA for wait in timeline.waits)
    if not timeline.environment or not (always or waited):
        return []
    awaited = {wait.replica for wait in timeline.waits if wait.cold and wait.replica}
    while True:
        starts = await _starts_of(observatory, timeline.model, timeline.environment)
        ended = {start.get("replica") for start in starts if start.get("result") != "starting"}
        if awaited <= ended or time.time() > timeline.began + timeline.seconds + STARTS_TOLD_S:
            return starts
        await asyncio.sleep(STARTS_PAUSE_S)


async def _starts_of(
    observatory: Observatory | None, model: str, environment: str
) -> list[dict[str, Any]]:
    if observatory is None:
        return []
    try:
        return await observatory.starts(model, environment)
    except ObservatoryUnavailable:
        return []  # the waterfall does without


def _newest_of_each(timelines: Sequence[Timeline], reach: Reach) -> list[Timeline]:
    """Each once, by its span; newest first."""
    found = {timeline.span_id: timeline for timeline in timelines if sees(reach, timeline)}
    return sorted(found.values(), key=lambda timeline: timeline.began, reverse=True)


def sees(reach: Reach, timeline: Timeline) -> bool:
    """Whether it may be told of; what never found its environment is for those who see all."""
    if not timeline.environment:
        return not reach.limited_to_places
    return reach.sees_model(timeline.model) and reach.sees_environment(timeline.environment)
