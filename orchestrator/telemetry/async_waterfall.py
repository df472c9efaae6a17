"""The waterfall of an asynchronous request; `waterfall` has that of others, and the shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.async_request import AsyncState, WebhookStatus
from orchestrator.lifecycle.request import State
from orchestrator.telemetry import sentences
from orchestrator.telemetry.bars import (
    Bar,
    as_object,
    attempt_bars,
    bar,
    delivery_bars,
    end_of,
    level_of,
    process_of,
    run_bars,
    wait_bars,
)
from orchestrator.telemetry.timeline import Attempt, Timeline, Wait, WaitReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.telemetry.timeline import Run

FOLD_S: Final = 1.0
"""Pauses in which nothing happens are folded from this length on, and only where they are"""
FOLD_SHARE: Final = 0.5
"""longer than this share of the time in which something does."""

_ENDED_BY_AN_ERROR: Final = (AsyncState.FAILED, AsyncState.EXPIRED)
_UNRUN: Final = (AsyncState.EXPIRED, AsyncState.CANCELED)


class AsyncFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the store tells of an asynchronous request. Times are Unix.

    Attributes:
        request_id: its id.
        status: as callers see it (`shown_status`).
        created_at: when it was accepted.
        status_at: since when it has its state.
        webhook_status: a `WebhookStatus`.
        webhook_host: the receiver's; empty: none.
        queue_position: how many rank before it; None: unknown, or not in the queue.
        error_code, error_message: of the last attempt that failed.
    """

    request_id: str
    status: str
    created_at: float
    status_at: float = 0.0
    model: str = ""
    environment: str = ""
    deployment: str = ""
    webhook_status: str = WebhookStatus.NOT_PROVIDED
    webhook_host: str = ""
    priority: int = 0
    attempts: int = 0
    queue_position: int | None = None
    error_code: str = ""
    error_message: str = ""
    trace_id: str = ""


def async_view(
    facts: AsyncFacts,
    *,
    runs: Sequence[Run] = (),
    deliveries: Sequence[Mapping[str, Any]] = (),
    submit: Timeline | None = None,
    starts: Sequence[Mapping[str, Any]] = (),
    live: Mapping[str, Any] | None = None,
    now: float,
    others: int = 0,
) -> dict[str, Any]:
    """An asynchronous request, from its submission to its webhook.

    Args:
        facts: what the store tells of it.
        runs: its runs that have ended.
        deliveries: tries to deliver its webhook; `at` is Unix time, when one began.
        submit: the HTTP request that handed it over, where that is still known.
        starts: as for `call_view`.
        live: where it is while it is run: `state` ("parked" or "running"), `since`
            (Unix), `replica`, `attempt`.
        now: Unix time.
        others: how many other requests had the same id.
    """
    runs = sorted(runs, key=lambda run: run.began)
    deliveries = sorted(deliveries, key=lambda line: float(line["at"]))
    queued = facts.status == AsyncState.QUEUED
    under_way = queued or facts.status == AsyncState.IN_PROGRESS
    began = facts.created_at if submit is None else min(submit.began, facts.created_at)
    seconds = (now if under_way else max(facts.status_at, facts.created_at)) - began
    level = "muted" if under_way else _async_level(facts, runs, deliveries)
    whole_s = None if under_way else seconds
    found = [bar("request", "store", 0, began, whole_s, level=level, note=facts.status)]
    if submit is not None:
        found.append(_submit_bar(submit))
    for run in runs:
        found += run_bars(run, 1, starts, now, last=run is runs[-1] and not under_way)
    if under_way:
        found += _now_bars(facts, runs, live, starts, now)
        since = _wait_since(facts, runs) if queued else (live or {}).get("since")
        for_s = max(now - float(since or facts.status_at), 0.0)
        summary = sentences.live_async_summary(
            facts.queue_position, for_s, runs, live, queued=queued
        )
    else:
        summary = sentences.async_summary(facts.status, seconds, runs, deliveries)
        summary += _still_owed(facts, deliveries)
        found += _left_bars(facts, runs, now)
    found += delivery_bars(deliveries, facts.webhook_host, 1)
    told = facts.error_code and facts.status in _ENDED_BY_AN_ERROR
    error = f"{facts.error_code}: {facts.error_message}" if told else ""
    return {
        "request_id": facts.request_id,
        "trace_id": facts.trace_id or (submit.trace_id if submit is not None else ""),
        "kind": "async",
        "state": _async_state(facts, live),
        "status": None,
        "outcome": "" if under_way else facts.status,
        "level": level,
        "model": facts.model,
        "environment": facts.environment,
        "deployment": facts.deployment,
        "began": began,
        "seconds": seconds,
        "summary": summary,
        "error": error,
        "place": None if facts.queue_position is None else {"ahead": facts.queue_position},
        "others": others,
        "async_id": facts.request_id,
        "axis": _axis(found, now),
        "bars": found,
        "facts": _async_facts(facts, submit),
        "raw": {
            "request": as_object(facts),
            "runs": [as_object(run) for run in runs],
            "deliveries": [dict(line) for line in deliveries],
            "submit": None if submit is None else as_object(submit),
        },
    }


def _submit_bar(submit: Timeline) -> Bar:
    return bar(
        "submit",
        process_of("router", submit.source),
        1,
        submit.began,
        submit.seconds,
        level=level_of(submit),
        note=f"answered {submit.status}",
        request_id=submit.request_id,
        span_id=submit.span_id,
    )


def _wait_since(facts: AsyncFacts, runs: Sequence[Run]) -> float:
    """Since when an asynchronous request waits, or waited, after its last known run."""
    return runs[-1].began + runs[-1].seconds if runs else facts.created_at


def _now_bars(
    facts: AsyncFacts,
    runs: Sequence[Run],
    live: Mapping[str, Any] | None,
    starts: Sequence[Mapping[str, Any]],
    now: float,
) -> list[Bar]:
    """Where an asynchronous request is that has not ended."""
    since = _wait_since(facts, runs)
    if facts.status == AsyncState.QUEUED:
        ahead = facts.queue_position
        note = "" if ahead is None else f"{ahead or 'nobody'} before it"
        starting = any(each.get("result") == "starting" for each in starts)
        wait = Wait(WaitReason.NO_REPLICA if starting else "", 0.0, 0.0, "")
        return wait_bars(wait, since, 1, starts, now, running=True, note=note)
    claimed_at = max(facts.status_at, since)
    replica = str((live or {}).get("replica") or "")
    number = int((live or {}).get("attempt") or max(facts.attempts, len(runs) + 1))
    wait = Wait("", 0.0, claimed_at - since, "", replica or "?")
    found = wait_bars(wait, since, 1, (), now, note="until its turn")
    found.append(bar("run", "dispatcher", 1, claimed_at, None, note="under way", attempt=number))
    if replica:
        at = max(float((live or {}).get("since") or claimed_at), claimed_at)
        found += attempt_bars(Attempt(number, replica, "", 0.0, ""), at, 2, running=True)
    return found


def _left_bars(facts: AsyncFacts, runs: Sequence[Run], now: float) -> list[Bar]:
    """The stay in the queue that an expiry, or a cancellation, ended."""
    since = _wait_since(facts, runs)
    if facts.status not in _UNRUN or facts.attempts > len(runs) or facts.status_at <= since:
        return []
    wait = Wait("", 0.0, facts.status_at - since, "")
    return wait_bars(wait, since, 1, (), now, note=facts.status.lower())


def _async_level(
    facts: AsyncFacts, runs: Sequence[Run], deliveries: Sequence[Mapping[str, Any]]
) -> str:
    if facts.status == AsyncState.CANCELED:
        return "muted"
    if facts.status != AsyncState.SUCCEEDED:
        return "error"
    return "warn" if any(run.code for run in runs) or len(deliveries) > 1 else "ok"


def _async_state(facts: AsyncFacts, live: Mapping[str, Any] | None) -> str:
    if facts.status == AsyncState.QUEUED:
        return "queued"
    if facts.status == AsyncState.IN_PROGRESS:
        return str((live or {}).get("state") or State.RUNNING.value)
    return State.ENDED.value


def _still_owed(facts: AsyncFacts, deliveries: Sequence[Mapping[str, Any]]) -> str:
    if facts.webhook_status != WebhookStatus.PENDING:
        return ""
    return "; it is to be tried again" if deliveries else "; its webhook is still to be sent"


def _axis(found: Sequence[Bar], now: float) -> list[list[float]]:
    """The times to draw to scale, in order; long pauses between two of them are left out."""
    busy = sorted((each["at"], end_of(each, now)) for each in found if each["depth"] == 1)
    whole = found[0]
    parts = [[float(whole["at"]), float(whole["at"])]]
    total = sum(end - at for at, end in busy)
    least = max(FOLD_S, FOLD_SHARE * total)
    for at, end in busy:
        if at - parts[-1][1] > least:
            parts.append([at, end])
        else:
            parts[-1][1] = max(parts[-1][1], end)
    parts[-1][1] = max(parts[-1][1], end_of(whole, now))
    return parts


def _async_facts(facts: AsyncFacts, submit: Timeline | None) -> list[list[str]]:
    webhook = "" if facts.webhook_status == WebhookStatus.NOT_PROVIDED else facts.webhook_status
    found = {
        "priority": str(facts.priority),
        "attempts": str(facts.attempts),
        "webhook": f"{webhook} {facts.webhook_host}".strip() if webhook else "",
        "handed over by": submit.request_id if submit is not None else "",
        "key": submit.key if submit is not None else "",
    }
    return [[label, text] for label, text in found.items() if text]
