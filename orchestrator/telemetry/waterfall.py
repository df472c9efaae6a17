"""A request as its waterfall: what is known of it from all processes, ready to be drawn.

Both views have the same shape, which is that of the API's
`/api/v1/requests/{id}/timeline`: who and what, one sentence that says what happened,
the bars (see `bars`), and the records that all of it was made from (`raw`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.request import State
from orchestrator.telemetry import sentences
from orchestrator.telemetry.async_waterfall import AsyncFacts, async_view
from orchestrator.telemetry.bars import (
    Bar,
    as_object,
    attempt_bars,
    bar,
    level_of,
    process_of,
    wait_bars,
)
from orchestrator.telemetry.sentences import size, took
from orchestrator.telemetry.timeline import Attempt, Timeline, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AsyncFacts", "as_object", "async_view", "call_view"]

_ON_A_REPLICA: Final = (State.RUNNING.value, State.ANSWERING.value)


def call_view(
    timeline: Timeline,
    *,
    starts: Sequence[Mapping[str, Any]] = (),
    live: Mapping[str, Any] | None = None,
    now: float,
    others: int = 0,
) -> dict[str, Any]:
    """An HTTP request.

    Args:
        timeline: its record, so far where it is under way.
        starts: of replicas of its environment, all that are known (`history`'s, and
            those under way with `result` "starting", their present `stage`, `at` now).
        live: where it is now: `state`, `since` (Unix), `ahead`, `replica`, `reason`.
        now: Unix time.
        others: how many other requests had the same id.
    """
    state = State.ENDED.value if live is None else str(live.get("state") or "running")
    seconds = timeline.seconds if live is None else max(now - timeline.began, 0.0)
    waits, attempts = (
        (timeline.waits, timeline.attempts) if live is None else _so_far(timeline, live)
    )
    level = level_of(timeline) if live is None else "muted"
    whole = _request_bar(timeline, None if live is not None else seconds, level)
    steps = _steps(timeline, waits, attempts, starts, now=now, state=state)
    before, after = _outside(timeline) if live is None else ([], [])
    if live is None:
        summary = sentences.call_summary(timeline, starts)
    else:
        starting = [each for each in starts if each.get("result") == "starting"]
        live = {"reason": waits[-1].reason if waits else "", **live}
        summary = sentences.live_summary(timeline, live, starting, now)
    ahead = live.get("ahead") if live is not None and state == State.PARKED.value else None
    return {
        "request_id": timeline.request_id,
        "trace_id": timeline.trace_id,
        "kind": timeline.kind,
        "state": state,
        "status": timeline.status or None,
        "outcome": timeline.outcome if live is None else "",
        "level": level,
        "model": timeline.model,
        "environment": timeline.environment,
        "deployment": timeline.deployment,
        "began": timeline.began,
        "seconds": seconds,
        "summary": summary,
        "error": timeline.error,
        "place": None if ahead is None else {"ahead": ahead},
        "others": others,
        "async_id": timeline.async_id,
        "axis": [[timeline.began, timeline.began + seconds]],
        "bars": [whole, *before, *steps, *after],
        "facts": _call_facts(timeline),
        "raw": {"timeline": as_object(timeline)},
    }


def _so_far(timeline: Timeline, live: Mapping[str, Any]) -> tuple[list[Wait], list[Attempt]]:
    """Waits and attempts of a request under way, the present one last."""
    waits, attempts = list(timeline.waits), list(timeline.attempts)
    at_s = max(float(live.get("since") or timeline.began) - timeline.began, 0.0)
    state, replica = live.get("state"), str(live.get("replica") or "")
    if state == State.PARKED.value:
        tried_s = attempts[-1].at_s if attempts else 0.0
        if not (waits and not waits[-1].replica and waits[-1].at_s >= tried_s):
            waits.append(Wait(str(live.get("reason") or ""), at_s, 0.0, ""))
    elif state in _ON_A_REPLICA and replica and not (attempts and not attempts[-1].failure):
        attempts.append(Attempt(len(attempts) + 1, replica, "", at_s, ""))
    return waits, attempts


def _request_bar(timeline: Timeline, seconds: float | None, level: str) -> Bar:
    return bar(
        "request",
        process_of("router", timeline.source),
        0,
        timeline.began,
        seconds,
        level=level,
        note="" if seconds is None else timeline.outcome,
        method=timeline.method,
        path=timeline.path,
        status=timeline.status or None,
        span_id=timeline.span_id,
    )


def _steps(
    timeline: Timeline,
    waits: Sequence[Wait],
    attempts: Sequence[Attempt],
    starts: Sequence[Mapping[str, Any]],
    *,
    now: float,
    state: str,
) -> list[Bar]:
    """Stays in line and attempts, in the order of time."""
    drawn: list[tuple[float, int, list[Bar]]] = []
    for wait in waits:
        running = state == State.PARKED.value and wait is waits[-1]
        drawn.append(
            (wait.at_s, 0, wait_bars(wait, timeline.began, 1, starts, now, running=running))
        )
    for attempt in attempts:
        last = attempt is attempts[-1]
        running = last and state in _ON_A_REPLICA
        found = attempt_bars(
            attempt,
            timeline.began,
            1,
            last=last and state != State.PARKED.value,
            running=running,
            chunks=timeline.chunks if last else 0,
            longest_gap_s=timeline.longest_gap_s,
        )
        drawn.append((attempt.at_s, 1, found))
    drawn.sort(key=lambda each: each[:2])
    return [each for _, _, group in drawn for each in group]


def _outside(timeline: Timeline) -> tuple[list[Bar], list[Bar]]:
    """What nothing else accounts for, where it is long: the caller's body, its reading."""
    upload_s, download_s = sentences.outside(timeline)
    process = process_of("router", timeline.source)
    ends_at = timeline.began + timeline.seconds
    upload = bar("body", process, 1, timeline.began, upload_s, level="muted", note="on its way in")
    download = bar(
        "answer", process, 1, ends_at - download_s, download_s, level="muted", note="on its way out"
    )
    return [upload] if upload_s else [], [download] if download_s else []


def _call_facts(timeline: Timeline) -> list[list[str]]:
    """What else a person may want to know, by label."""
    where = f"{timeline.method} {timeline.path}".strip()
    sizes = f"{size(timeline.bytes_in)} in, {size(timeline.bytes_out)} out"
    first = timeline.first_byte_s
    replicas = [each.replica for each in timeline.attempts]
    tokens = (timeline.input_tokens, timeline.output_tokens)
    facts = {
        "address": where,
        "attempts": " → ".join(replicas) if len(replicas) > 1 else "",
        "sizes": sizes if timeline.bytes_in or timeline.bytes_out else "",
        "first byte": f"after {took(first)}" if first is not None else "",
        "stream": f"{timeline.chunks} chunks, longest gap {took(timeline.longest_gap_s)}"
        if timeline.chunks
        else "",
        "tokens": "" if None in tokens else f"{tokens[0]} in, {tokens[1]} out",
        "key": timeline.key,
        "kept": timeline.kept.replace("_", " "),
        "async": timeline.async_id,
    }
    return [[label, text] for label, text in facts.items() if text]
