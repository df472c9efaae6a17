"""What became of a request, in words for the one who has to find out why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.request import Outcome, State
from orchestrator.telemetry.starts import longest_stage, stage_at, waited_for
from orchestrator.telemetry.timeline import WaitReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.telemetry.timeline import Attempt, Run, Timeline, Wait

NOTABLE_S: Final = 0.001
"""Stays in line below this are not worth a word."""

NOTABLE_SHARE: Final = 0.1
"""Share of a request's time from which what nothing accounts for is worth a word."""

_WAITED_FOR: Final[dict[str, str]] = {
    WaitReason.NO_REPLICA: "for a replica",
    WaitReason.NO_SLOT: "for a slot",
    WaitReason.RECALLED: "in line again",
}

_WHY: Final[dict[str, str]] = {
    WaitReason.NO_REPLICA: "no replica was there",
    WaitReason.NO_SLOT: "every slot was taken",
    WaitReason.RECALLED: "back in line, at its old place",
}
"""What a stay in line was for."""

_WHY_NOW: Final[dict[str, str]] = {
    WaitReason.NO_REPLICA: "no replica is there",
    WaitReason.NO_SLOT: "every slot is taken",
    WaitReason.RECALLED: "it is back at its old place",
}

_BROKEN: Final = {
    "connection": "{replica} was lost after {after}",
    "status": "{replica} answered {status} after {after}",
    "capacity": "{replica} had no room",
    "stale": "{replica} had closed an idle connection",
    "cut": "{replica} broke off",
    "timeout": "{replica} took longer than it may ({after})",
    "deadline": "ran {after} on {replica}, until the caller's deadline",
    "gone": "ran {after} on {replica}, until the caller left",
    "drained": "ran {after} on {replica}, until the router was shut down",
}
"""Clauses on attempts that failed, by `Attempt.failure`."""

CAUSES: Final = {
    "connection": "the connection failed",
    "capacity": "it had no room",
    "stale": "it had closed an idle connection",
    "cut": "the answer broke off",
    "timeout": "it took longer than it may",
    "deadline": "the caller's deadline came",
    "gone": "the caller left",
    "drained": "the router was shut down",
}
"""What was wrong with an attempt, by `Attempt.failure`, where its `detail` says nothing."""

_ENDINGS: Final = {
    Outcome.EVICTED_PARK_TIMEOUT: "gave up {after} in line, with {status}",
    Outcome.EVICTED_CALLER_GONE: "cancelled by the caller {after} in line",
    "evicted": "turned away with {status} {after} in line",
    "rejected": "refused with {status} {after}, nothing was run",
}
"""By what an outcome begins with; the first that fits."""

_SUBMITTED: Final = "accepted to be run later"


AT_ONCE_S: Final = 0.1
"""A stay in line for a slot that is shorter may just have been the question for one."""


def why(wait: Wait, *, running: bool = False) -> str:
    """What a stay in line was, or is, for."""
    if running:
        return _WHY_NOW.get(wait.reason, "")
    if wait.reason == WaitReason.NO_SLOT and wait.seconds < AT_ONCE_S:
        return "no slot was at hand"
    return _WHY.get(wait.reason, "")


def took(seconds: float) -> str:
    """A duration for people: `0.8 ms`, `41 ms`, `3.21 s`, `4 min 10 s`, `2 h 05 min`."""
    if seconds < 0.00995:
        return f"{max(seconds, 0.0) * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Bytes for people: `812 B`, `3.4 KB`, `1.2 MB`, in powers of 1,000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def call_summary(timeline: Timeline, starts: Sequence[Mapping[str, Any]]) -> str:
    """One sentence on an HTTP request that has ended."""
    clauses = [
        (wait.at_s, 0, _waited(wait, timeline, starts))
        for wait in timeline.waits
        if wait.seconds >= NOTABLE_S
    ]
    clauses += [
        (attempt.at_s, 1, _tried(attempt, timeline, last=attempt is timeline.attempts[-1]))
        for attempt in timeline.attempts
    ]
    said = [clause for _, _, clause in sorted(clauses)]
    upload_s, download_s = outside(timeline)
    if upload_s:
        said.insert(0, f"its body took {took(upload_s)} to arrive")
    if download_s:
        said.append(f"the caller took {took(download_s)} to read the answer")
    ending = _ending(timeline)
    return f"{ending}: {', '.join(said)}" if said else ending


def _ending(timeline: Timeline) -> str:
    """How a request ended, and after what time."""
    outcome, status = timeline.outcome, timeline.status
    after = f"after {took(timeline.seconds)}"
    middle = ", in the middle of the answer" if timeline.first_byte_s is not None else ""
    if outcome == Outcome.ANSWERED:
        tries = len(timeline.attempts)
        what = f"answered {status} in {took(timeline.seconds)}"
        what += f" at attempt {tries}" if tries > 1 else ""
        if timeline.kind == "submit" and status < 300:
            return f"{_SUBMITTED}: {what}"
        return f"the model {what}" if timeline.attempts and status >= 400 else what
    if outcome == Outcome.FAILED_CALLER_GONE:
        return f"cancelled by the caller {after}{middle}"
    if middle:
        return f"broke off {after}{middle}"
    for beginning, what in _ENDINGS.items():
        if outcome.startswith(beginning):
            return what.format(status=status, after=after)
    return f"failed with {status} {after}" if status else f"failed {after}"


def _waited(wait: Wait, timeline: Timeline, starts: Sequence[Mapping[str, Any]]) -> str:
    """A clause on one stay in line."""
    at = timeline.began + wait.at_s
    found = waited_for(wait, starts, at, at + wait.seconds)
    if wait.cold and wait.replica:
        longest = longest_stage(found[0]) if found else None
        mostly = f" ({longest[0]} {took(longest[1])})" if longest else ""
        return f"waited {took(wait.seconds)} for replica {wait.replica} to start{mostly}"
    if wait.replica or timeline.attempts:
        return f"waited {took(wait.seconds)} {_WAITED_FOR.get(wait.reason, 'in line')}"
    # It ended there: how long it waited has been said.
    if not found:
        return why(wait) or "in line"
    last = found[-1]
    if last.get("result") == "failed":
        return f"replica {last.get('replica')} did not start ({last.get('reason')})"
    stage = stage_at(last, at + wait.seconds)
    return f"replica {last.get('replica')} was not ready yet{f' ({stage})' if stage else ''}"


def _tried(attempt: Attempt, timeline: Timeline, *, last: bool) -> str:
    """A clause on one attempt."""
    if attempt.failure and (not last or timeline.outcome != Outcome.ANSWERED):
        said = broken(attempt)
        return f"{said}, {timeline.chunks} chunks were out" if last and timeline.chunks else said
    said = f"ran {took(attempt.seconds)} on {attempt.replica}"
    return f"{said}, {timeline.chunks} chunks" if timeline.chunks else said


def broken(attempt: Attempt) -> str:
    """A clause on an attempt that failed."""
    clause = _BROKEN.get(attempt.failure, "{replica} failed after {after}")
    return clause.format(
        replica=attempt.replica, status=attempt.status, after=took(attempt.seconds)
    )


def outside(timeline: Timeline) -> tuple[float, float]:
    """Seconds before a request could stand in line, and after its replica was done.

    Each is 0 where it is small beside the whole: the first is mostly the caller's body
    on its way, the second the caller that reads slowly.
    """
    steps: list[Wait | Attempt] = [*timeline.waits, *timeline.attempts]
    if not steps or timeline.outcome not in (Outcome.ANSWERED, Outcome.FAILED_CALLER_GONE):
        return 0.0, 0.0
    before = min(step.at_s for step in steps)
    after = timeline.seconds - max(step.at_s + step.seconds for step in steps)
    least = max(5 * NOTABLE_S, NOTABLE_SHARE * timeline.seconds)
    return (before if before >= least else 0.0, after if after >= least else 0.0)


def live_summary(
    timeline: Timeline, live: Mapping[str, Any], starting: Sequence[Mapping[str, Any]], now: float
) -> str:
    """One sentence on an HTTP request that is under way."""
    state, for_s = live.get("state", ""), took(max(now - live.get("since", now), 0.0))
    earlier = [broken(attempt) for attempt in timeline.attempts if attempt.failure]
    before = f"; before that, {', '.join(earlier)}" if earlier else ""
    replica = live.get("replica") or "a replica"
    if state == State.PARKED.value:
        return f"in line for {for_s}{place_words(live, starting)}{before}"
    if state == State.RUNNING.value:
        return f"running on {replica} for {for_s}{before}"
    if state == State.ANSWERING.value:
        chunks = f", {timeline.chunks} chunks so far" if timeline.chunks else ""
        return f"being answered by {replica} for {for_s}{chunks}{before}"
    return f"{state or 'under way'} for {for_s}"


def place_words(live: Mapping[str, Any], starting: Sequence[Mapping[str, Any]]) -> str:
    """Why something is in line, what is being done about it, and how many are before it."""
    said = []
    reason = live.get("reason") or ""
    if reason in _WHY_NOW:
        said.append(_WHY_NOW[reason])
    if starting:
        stages = ", ".join(f"{each.get('replica')} is {each.get('stage')}" for each in starting[:3])
        said.append(stages)
    if live.get("ahead") is not None:
        said.append(f"{live['ahead'] or 'nobody'} before it")
    return f": {'; '.join(said)}" if said else ""


def async_summary(
    status: str, seconds: float, runs: Sequence[Run], tries: Sequence[Mapping[str, Any]]
) -> str:
    """One sentence on an asynchronous request that has ended."""
    clauses = []
    waited_s = sum(run.waited_s for run in runs)
    if waited_s >= NOTABLE_S:
        clauses.append(_waited_in_all(runs, waited_s))
    clauses += [f"attempt {run.attempt} failed ({run.code})" for run in runs if run.code]
    if runs and not runs[-1].code:
        clauses.append(f"ran {took(runs[-1].tried.seconds)} on {runs[-1].tried.replica}")
    if tries:
        clauses.append(_delivered(tries))
    ending = f"{status} after {took(seconds)}"
    return f"{ending}: {', '.join(clauses)}" if clauses else ending


def _waited_in_all(runs: Sequence[Run], waited_s: float) -> str:
    """A clause on all stays in the queue together."""
    cold_s = sum(run.waited_s for run in runs if run.cold)
    if cold_s == waited_s:
        return f"waited {took(cold_s)} for a replica to start"
    of = f" ({took(cold_s)} for a replica to start)" if cold_s else ""
    return f"waited {took(waited_s)}{' in all' if len(runs) > 1 else ''}{of}"


def _delivered(tries: Sequence[Mapping[str, Any]]) -> str:
    """A clause on the tries to deliver a webhook."""
    last = tries[-1]
    status = last.get("status")
    times = "1 try" if len(tries) == 1 else f"{len(tries)} tries"
    if status is not None and 200 <= status < 300:
        return f"webhook delivered in {times}"
    return f"webhook not delivered in {times} ({said_by_receiver(last)})"


def said_by_receiver(line: Mapping[str, Any]) -> str:
    """What came of one try to deliver a webhook."""
    status = line.get("status")
    return f"answered {status}" if status is not None else str(line.get("error") or "no answer")


def live_async_summary(
    position: int | None,
    for_s: float,
    runs: Sequence[Run],
    live: Mapping[str, Any] | None,
    *,
    queued: bool,
) -> str:
    """One sentence on an asynchronous request that has not ended."""
    failed = [f"attempt {run.attempt} failed ({run.code})" for run in runs if run.code]
    before = f"; before that, {', '.join(failed)}" if failed else ""
    if queued:
        place = "" if position is None else f": {position or 'nobody'} before it"
        return f"queued for {took(for_s)}{place}{before}"
    replica = (live or {}).get("replica")
    where = f" on {replica}" if replica else ""
    return f"running{where} for {took(for_s)}{before}"
