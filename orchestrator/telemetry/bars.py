"""The bars of a request's waterfall: each a span of time that one process had it.

A bar is a plain object, as the API gives it: `name` (the span's), `process`, `depth`
(a parent comes before what is one deeper), `at` (Unix time), `seconds` (None: it is
still under way), `level` (`ok`, `warn`, `error`, `muted`), `detail` and `note`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.lifecycle.replica import STARTUP_STAGES
from orchestrator.lifecycle.request import Outcome
from orchestrator.lifecycle.webhook import Verdict, verdict_of
from orchestrator.telemetry import sentences
from orchestrator.telemetry.starts import began_at, total_s, waited_for
from orchestrator.telemetry.timeline import Wait, WaitReason, failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.telemetry.timeline import Attempt, Run, Timeline

Bar = dict[str, Any]

QUEUE: Final = "queue"

_NAME_CELLS: Final = 8
"""Of a process's name that are shown: they tell it from others well enough."""

_GONE: Final = (Outcome.EVICTED_CALLER_GONE, Outcome.FAILED_CALLER_GONE)


def bar(
    name: str,
    process: str,
    depth: int,
    at: float,
    seconds: float | None,
    *,
    level: str = "ok",
    note: str = "",
    **detail: Any,
) -> Bar:
    """One bar; what of `detail` is None or empty is left out."""
    return {
        "name": name,
        "process": process,
        "depth": depth,
        "at": round(at, 6),
        "seconds": None if seconds is None else round(seconds, 6),
        "level": level,
        "detail": {key: value for key, value in detail.items() if value not in (None, "")},
        "note": note,
    }


def process_of(part: str, source: str) -> str:
    """What a process is called here: its part, and the end of its name."""
    return f"{part} {source.rpartition('/')[2][:_NAME_CELLS]}".rstrip()


def as_object(record: Any) -> Any:
    """A record as a JSON object, by the names of its fields."""
    if isinstance(record, msgspec.Struct):
        return {name: as_object(getattr(record, name)) for name in record.__struct_fields__}
    if isinstance(record, list | tuple):
        return [as_object(each) for each in record]
    return record


def level_of(timeline: Timeline) -> str:
    """How an HTTP request that has ended is marked."""
    if timeline.outcome in _GONE:
        return "warn"
    if failed(timeline):
        return "error"
    if timeline.outcome != Outcome.ANSWERED:
        return "muted"
    return "warn" if len(timeline.attempts) > 1 or timeline.cold_start else "ok"


def end_of(each: Bar, now: float) -> float:
    """When a bar ends; one that is under way reaches to `now`."""
    return now if each["seconds"] is None else float(each["at"] + each["seconds"])


def wait_bars(
    wait: Wait,
    began: float,
    depth: int,
    starts: Sequence[Mapping[str, Any]],
    now: float,
    *,
    running: bool = False,
    note: str = "",
) -> list[Bar]:
    """A stay in line, with the starts of replicas that it waited for.

    Args:
        wait: what is known of it.
        began: Unix time that its `at_s` counts from.
        depth: of its bar.
        starts: all that are known of the environment.
        now: Unix time.
        running: whether it still waits.
        note: a sentence, instead of the reason's.
    """
    at = began + wait.at_s
    seconds = None if running else wait.seconds
    given_up = not wait.replica and not running
    why = sentences.why(wait, running=running)
    found = [
        bar(
            "queue.wait",
            QUEUE,
            depth,
            at,
            seconds,
            level="error" if given_up else "warn",
            note=note or (f"{why}; given up" if given_up else why),
            reason=wait.reason,
            replica=wait.replica,
            span_id=wait.span_id,
        )
    ]
    until = now if seconds is None else at + seconds
    for start in waited_for(wait, starts, at, until):
        found += start_bars(start, depth + 1, at, until)
    return found


def start_bars(start: Mapping[str, Any], depth: int, since: float, until: float) -> list[Bar]:
    """A replica's start with those of its stages that fall between two Unix times."""
    result = start.get("result", "ready")
    stages: Mapping[str, float] = start.get("stages") or {}
    replica = f"replica {start.get('replica', '')}"
    seconds = total_s(start)
    began = began_at(start)
    in_vain, starting = result == "failed", result == "starting"
    earlier = since - began
    note = str(start.get("reason") or "") if in_vain else ""
    if earlier > sentences.NOTABLE_S and not note:
        note = f"begun {sentences.took(earlier)} before"
    found = [
        bar(
            "replica.start",
            replica,
            depth,
            began,
            None if starting else seconds,
            level="error" if in_vain else "muted",
            note=note,
            deployment=start.get("deployment"),
            result=result,
        )
    ]
    at = began
    for stage in STARTUP_STAGES:
        spent = stages.get(stage.value)
        if spent is None:
            continue
        if since < at + spent and at < until:
            found.append(bar(stage.value, replica, depth + 1, at, spent, level="muted"))
        at += spent
    if starting and start.get("stage") and at < until:
        found.append(bar(str(start["stage"]), replica, depth + 1, at, None, level="muted"))
    return found


def attempt_bars(
    attempt: Attempt,
    began: float,
    depth: int,
    *,
    last: bool = True,
    running: bool = False,
    chunks: int = 0,
    longest_gap_s: float = 0.0,
) -> list[Bar]:
    """One time that a replica had the request; of a stream, what came before and after its head.

    Args:
        attempt: what is known of it.
        began: Unix time that its `at_s` counts from.
        depth: of its bar.
        last: whether no other followed.
        running: whether it is under way.
        chunks: pieces that came of its answer one by one.
        longest_gap_s: between two of them.
    """
    process = f"replica {attempt.replica}"
    at = began + attempt.at_s
    seconds = None if running else attempt.seconds
    found = [
        bar(
            "attempt",
            process,
            depth,
            at,
            seconds,
            level=_attempt_level(attempt, last=last),
            note=_attempt_note(attempt, last=last, running=running),
            number=attempt.number,
            replica=attempt.replica,
            address=attempt.address,
            status=attempt.status or None,
            failure=attempt.failure,
            span_id=attempt.span_id,
        )
    ]
    if chunks and attempt.head_s is not None:
        found.append(bar("first byte", process, depth + 1, at, attempt.head_s, level="muted"))
        rest = None if seconds is None else max(seconds - attempt.head_s, 0.0)
        note = f"{chunks} chunks"
        if longest_gap_s:
            note += f", longest gap {sentences.took(longest_gap_s)}"
        found.append(
            bar(
                "stream",
                process,
                depth + 1,
                at + attempt.head_s,
                rest,
                level="muted",
                note=note,
                chunks=chunks,
            )
        )
    return found


def _attempt_level(attempt: Attempt, *, last: bool) -> str:
    if attempt.failure:
        return "error" if last and attempt.failure != "gone" else "warn"
    return "error" if attempt.status >= 500 else "ok"


def _attempt_note(attempt: Attempt, *, last: bool, running: bool) -> str:
    if running:
        return "under way"
    said = attempt.detail or sentences.CAUSES.get(attempt.failure, "")
    if not said:
        said = f"answered {attempt.status}" if attempt.status else attempt.failure
    said = said.rstrip(".")
    return said if last or not attempt.failure else f"{said}; tried again"


def run_bars(
    run: Run, depth: int, starts: Sequence[Mapping[str, Any]], now: float, *, last: bool
) -> list[Bar]:
    """A run of an asynchronous request: in the queue, at the dispatcher, on the replica."""
    reason = WaitReason.NO_REPLICA if run.cold else ""
    wait = Wait(reason, 0.0, run.waited_s, run.wait_span_id, run.tried.replica, run.cold)
    turn = "" if run.cold else "its pause, then its turn" if run.attempt > 1 else "until its turn"
    found = wait_bars(wait, run.began - run.waited_s, depth, starts, now, note=turn)
    found.append(
        bar(
            "run",
            process_of("dispatcher", run.source),
            depth,
            run.began,
            run.seconds,
            level=("error" if last else "warn") if run.code else "ok",
            note=run.code if run.tried.detail else run.message.rstrip(".") or run.code,
            attempt=run.attempt,
            code=run.code,
            span_id=run.span_id,
        )
    )
    found += attempt_bars(run.tried, run.began, depth + 1, last=last)
    return found


def delivery_bars(deliveries: Iterable[Mapping[str, Any]], host: str, depth: int) -> list[Bar]:
    """The tries to deliver a webhook; `deliveries` as the delivery log has them."""
    receiver = f"receiver {host}".rstrip()
    return [
        bar(
            "webhook.deliver",
            receiver,
            depth,
            float(line["at"]),
            float(line.get("seconds") or 0.0),
            level="ok" if verdict_of(line.get("status")) is Verdict.DELIVERED else "error",
            note=sentences.said_by_receiver(line),
            number=line.get("attempt"),
            status=line.get("status"),
            answer=line.get("answer"),
        )
        for line in deliveries
    ]
