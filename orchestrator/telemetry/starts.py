"""Starts of replicas, as an environment's history tells them, beside those who waited for them.

A start is an object with `replica`, `deployment`, `at` (Unix time: of its end, or now
while it goes on), `seconds`, `result` (`ready`, `failed`, `starting`), `reason`,
`stages` (seconds of those that have ended) and, while it goes on, `stage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.replica import STARTUP_STAGES
from orchestrator.telemetry.timeline import WaitReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.telemetry.timeline import Wait

MOST: Final = 3
"""Starts that are told of one stay in line that none of them ended."""


def waited_for(
    wait: Wait, starts: Sequence[Mapping[str, Any]], at: float, until: float
) -> list[Mapping[str, Any]]:
    """The starts that a stay in line, from `at` until `until` (Unix), waited for.

    The one of the replica that ended it; where none did and none was there, those
    that went on meanwhile, in vain or for longer.
    """
    if wait.replica:
        named = [start for start in starts if start.get("replica") == wait.replica]
        return named[:1] if wait.cold else []
    if wait.reason != WaitReason.NO_REPLICA:
        return []
    meanwhile = [
        start
        for start in starts
        if ended_at(start) > (until if start.get("result") == "ready" else at)
        and began_at(start) < until
    ]
    meanwhile.sort(key=ended_at)
    return meanwhile[-MOST:]


def total_s(start: Mapping[str, Any]) -> float:
    """Seconds that a start took, or has taken so far."""
    stages: Mapping[str, float] = start.get("stages") or {}
    return max(float(start.get("seconds") or 0.0), sum(stages.values()))


def ended_at(start: Mapping[str, Any]) -> float:
    """Unix time of its end; of one that goes on, now."""
    return float(start.get("at") or 0.0)


def began_at(start: Mapping[str, Any]) -> float:
    """Unix time of its beginning."""
    return ended_at(start) - total_s(start)


def longest_stage(start: Mapping[str, Any]) -> tuple[str, float] | None:
    """The stage that took longest, and its seconds; None: none has ended."""
    stages: Mapping[str, float] = start.get("stages") or {}
    if not stages:
        return None
    stage = max(stages, key=lambda name: stages[name])
    return stage, stages[stage]


def stage_at(start: Mapping[str, Any], at: float) -> str:
    """The stage that a start was in at a Unix time; empty: unknown."""
    stages: Mapping[str, float] = start.get("stages") or {}
    until = began_at(start)
    for stage in STARTUP_STAGES:
        until += stages.get(stage.value, 0.0)
        if at < until:
            return stage.value
    return str(start.get("stage") or "")
